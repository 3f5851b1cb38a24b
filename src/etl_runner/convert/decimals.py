"""Text to decimals, exactly.

Arrow parses plain digits fast and right as long as the number fits into the 38 or 76 digits that a decimal
is stored in, the target's scale included. What does not fit it may turn into another number without a word
(30 digits before the point, or ``1234e33``, as ``decimal128(38, 9)``; a one and 300 zeros becomes 0), so such
texts, which are few, go through Python's decimals.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.joined import any_of

_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])
_ONE_WORD = 9
"""10 to this power is the greatest that 32 bits hold."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?", re.ASCII)


def parse_decimals(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The texts as decimals of type ``target``.

    Raises:
        pyarrow.ArrowInvalid: a text is not a number, or has more digits than ``target`` holds.
    """
    longest = pc.max(pc.binary_length(array)).as_py() or 0
    width = 38 if pa.types.is_decimal128(target) else 76
    room = width - target.scale
    if longest <= room and not any_of(array, b"eE"):
        return pc.cast(array, target)
    odd = pc.match_substring(array, "e", ignore_case=True)
    if longest > room:
        odd = pc.or_(odd, pc.greater(pc.binary_length(array), width))
        odd = pc.or_(odd, pc.match_substring_regex(array, f"[0-9]{{{room + 1}}}"))
    if pc.any(odd).as_py():
        plain = [_plain(text, target) for text in pc.filter(array, odd).to_pylist()]
        array = pc.replace_with_mask(array, pc.fill_null(odd, False), pa.array(plain, pa.string()))
    return pc.cast(array, target)


def rescale_decimals(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Decimals as decimals of type ``target``.

    Arrow (25 and 26) refuses some that fit where the scale falls by 10 or more digits: its long division goes
    by words of 32 bits and finds a rest where there is none, for 2 ** 65 - 1 among others. What it refuses
    then is looked at by Python's decimals.

    Raises:
        pyarrow.ArrowInvalid: a number has more digits, before or after the point, than ``target`` holds.
    """
    try:
        return pc.cast(array, target)
    except pa.ArrowInvalid:
        if array.type.scale - target.scale <= _ONE_WORD:
            raise
    unit = Decimal(1).scaleb(-target.scale)
    try:
        exact = [
            None if value is None else value.quantize(unit, context=_EXACT) for value in array.to_pylist()
        ]
    except Inexact as error:
        raise pa.ArrowInvalid("digits beyond the scale") from error
    return pa.array(exact, target)


def _plain(text: str, target: pa.DataType) -> str:
    """The same number without an exponent and without zeros that say nothing."""
    if _NUMBER.fullmatch(text) is None:
        raise pa.ArrowInvalid("not a number")
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - the pattern lets no NaN and no infinity through
    significant = list(digits)
    while significant and significant[-1] == 0:
        significant.pop()
        exponent += 1
    if not any(significant):
        return "0"
    number = Decimal((sign, tuple(significant), exponent))
    if exponent < -target.scale or number.adjusted() >= target.precision - target.scale:
        raise pa.ArrowInvalid("too many digits")
    return format(number, "f")
