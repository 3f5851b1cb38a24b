"""A number's text becomes that number or is refused, however many digits it has."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl_runner.convert.decimals import parse_decimals

TYPES = [
    pa.decimal128(38, 9),
    pa.decimal256(76, 38),
    pa.decimal128(38, 0),
    pa.decimal128(10, 2),
    pa.decimal256(60, 30),
]
DIGITS = st.integers(1, 90).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n))


@pytest.mark.parametrize("target", TYPES, ids=str)
@given(sign=st.sampled_from(["", "-"]), whole=DIGITS, fraction=st.just("") | DIGITS)
@example(sign="", whole="419208724511693236957525060832", fraction="")
@example(sign="-", whole="5793846268014997969128395842095044808484", fraction="8")
@example(sign="", whole="60563434160129884501315427333273358017", fraction="2")
@example(sign="", whole="1" + "0" * 38, fraction="")
def test_the_number_or_a_refusal(target: pa.DataType, sign: str, whole: str, fraction: str) -> None:
    text = f"{sign}{whole}.{fraction}" if fraction else sign + whole
    with localcontext(prec=400):
        number = Decimal(text)
        room = target.precision - target.scale
        fits = abs(number) < Decimal(10) ** room and number == round(number, target.scale)
        try:
            found = parse_decimals(pa.array([text]), target)[0].as_py()
        except pa.ArrowInvalid:
            assert not fits
        else:
            assert fits
            assert found == number
