"""``numeric`` in binary: a head of four 16-bit numbers (digits, weight, sign, scale), then the digits, to the
base 10,000 (numeric_send in src/backend/utils/adt/numeric.c).

Numbers become decimals by whole columns, in one or two machine words. Where a column has a special value or a
number with more digits than that, all of it becomes text.
"""

from __future__ import annotations

from decimal import Context, Decimal
from struct import unpack_from

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl_runner.sources.gather import bitmap
from etl_runner.sources.postgres.diagnose import Garbled

_BASE_DIGITS = 4
_DIGITS_A_WORD = 4
_HEAD_BYTES = 8
_NEGATIVE, _SPECIAL = 0x4000, 0xC000
_NAMES = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_SCALE_BITS = 0x3FFF
_WORD_DIGITS = 18
"""Digits that a signed 64-bit number always holds."""
_LEAST_CUT = _WORD_DIGITS - _BASE_DIGITS + 1
_MOST_DIGITS = _LEAST_CUT + _WORD_DIGITS
_MOST_SCALE = 38
_HALF, _LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
_TEN = np.array([10**power for power in range(_WORD_DIGITS + 1)], np.int64)
_EXACT = Context(prec=200_000)
"""numeric has at most 131,072 digits before and 16,383 after the point."""

Integers = NDArray[np.int64]


def numeric(
    data: bytearray, begin: Integers, length: Integers, valid: NDArray[np.bool_] | None, modifier: int
) -> pa.Array:
    """The values as ``decimal128(38, scale)``, or all of them as text when one does not fit that.

    ``scale`` is the declared one (``modifier`` is the column's type modifier, -1 for none), or the largest
    that a value shows.

    Raises:
        Garbled: the bytes are no numeric.
    """
    rows = len(begin)
    present = None
    if valid is not None:
        present = np.flatnonzero(valid)
        begin, length = begin[present], length[present]
    words = np.ndarray((len(data) - 7,), ">i8", data, strides=(1,))
    head = words[begin].astype(np.int64)
    digits = head >> 48 & 0xFFFF
    # To the left and back: the weight has a sign.
    weight = head << 16 >> 48
    sign = head >> 16 & 0xFFFF
    shown = head & _SCALE_BITS
    if not np.array_equal(length, _HEAD_BYTES + 2 * digits):
        raise Garbled("a numeric is longer or shorter than its digits")
    scale = max(int(shown.max(initial=0)), _declared(modifier))
    power = _BASE_DIGITS * weight + scale
    most = int(power.max(initial=0)) + _BASE_DIGITS
    special = int(sign.max(initial=0)) >= _SPECIAL
    if special or scale > _MOST_SCALE or most > _MOST_DIGITS:
        return _texts(data, begin, rows, present)
    if ((power - _BASE_DIGITS * (digits - 1) <= -_BASE_DIGITS) & (digits > 0)).any():
        raise Garbled("a numeric has digits beyond its scale")
    low, high = _words(words, begin, digits, power, most)
    negative = np.flatnonzero(sign == _NEGATIVE)
    if len(negative):
        turned = ~low[negative] + np.uint64(1)
        high[negative] = ~high[negative] + (turned == 0)
        low[negative] = turned
    pairs = np.zeros((rows, 2), np.uint64)
    into = slice(None) if present is None else present
    pairs[into, 0], pairs[into, 1] = low, high
    return pa.Array.from_buffers(pa.decimal128(38, scale), rows, [bitmap(valid), pa.py_buffer(pairs)])


def _declared(modifier: int) -> int:
    """The scale of ``numeric(p, s)``; 0 where it is negative or not declared."""
    return max(((modifier - 4 & 0x7FF) ^ 0x400) - 0x400, 0) if modifier >= 4 else 0


def _words(
    words: Integers, begin: Integers, digits: Integers, power: Integers, most: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The numbers without sign, as the lower and the upper word; digit ``i`` counts ``10**(power - 4i)``."""
    if most <= _WORD_DIGITS:
        return _sum(words, begin, digits, power).view(np.uint64), np.zeros(len(begin), np.uint64)
    # The powers of all digits are alike modulo four: at such a power no digit is cut in two.
    cut = _LEAST_CUT + (int(power[0]) - _LEAST_CUT) % _BASE_DIGITS
    upper = _sum(words, begin, digits, power - cut, least=0).view(np.uint64)
    lower = _sum(words, begin, digits, power, below=cut).view(np.uint64)
    low, high = _product(upper, 10**cut)
    low += lower
    high += low < lower
    return low, high


def _sum(
    words: Integers,
    begin: Integers,
    digits: Integers,
    power: Integers,
    *,
    least: int = -_BASE_DIGITS,
    below: int = _MOST_DIGITS,
) -> Integers:
    """The sum of the digits whose power is at least ``least`` and below ``below``. A digit at a negative
    power ends in zeros behind the scale, which are cut off."""
    total = np.zeros(len(begin), np.int64)
    four = total
    for place in range(int(digits.max(initial=0))):
        if place % _DIGITS_A_WORD == 0:
            # Of a value near the buffer's end, what lies behind it is read too, and not used.
            four = words[np.minimum(begin + (_HEAD_BYTES + 2 * place), len(words) - 1)].astype(np.int64)
        digit = four >> (48 - 16 * (place % _DIGITS_A_WORD)) & 0xFFFF
        exponent = power - _BASE_DIGITS * place
        digit *= (digits > place) & (exponent >= least) & (exponent < below)
        digit *= _TEN[np.clip(exponent, 0, _WORD_DIGITS)]
        if int(exponent.min()) < 0:
            digit //= _TEN[np.clip(-exponent, 0, _WORD_DIGITS)]
        total += digit
    return total


def _product(number: NDArray[np.uint64], factor: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """``number * factor`` as lower and upper word, by halves as one learns it at school."""
    a, b = number >> _HALF, number & _LOW_HALF
    c, d = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    low, middle = b * d, a * d
    middle += low >> _HALF
    other = b * c + (middle & _LOW_HALF)
    return (other << _HALF) | (low & _LOW_HALF), a * c + (middle >> _HALF) + (other >> _HALF)


def _texts(data: bytearray, begin: Integers, rows: int, present: Integers | None) -> pa.Array:
    texts = [_text(data, int(at)) for at in begin]
    if present is None:
        return pa.array(texts, pa.string())
    spread: list[str | None] = [None] * rows
    for row, text in zip(present.tolist(), texts, strict=True):
        spread[row] = text
    return pa.array(spread, pa.string())


def _text(data: bytearray, at: int) -> str:
    """One value as the server writes it."""
    count, weight, sign, scale = unpack_from(">HhHH", data, at)
    if sign >= _SPECIAL:
        return _NAMES[sign]
    number = 0
    for digit in unpack_from(f">{count}H", data, at + _HEAD_BYTES):
        number = number * 10_000 + digit
    value = Decimal(number).scaleb(_BASE_DIGITS * (weight + 1 - count), _EXACT)
    text = format(value.quantize(Decimal(1).scaleb(-(scale & _SCALE_BITS)), context=_EXACT), "f")
    return f"-{text}" if sign == _NEGATIVE else text
