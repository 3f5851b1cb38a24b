"""A number's text becomes that number or is refused, however many digits it has."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl_runner.convert.decimals import parse_decimals, rescale_decimals

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


@st.composite
def _near_words(draw: st.DrawFn) -> int:
    """Whole numbers, often next to a multiple of a power of 2 ** 32."""
    word = 32 * draw(st.integers(0, 5))
    number = (draw(st.integers(0, 2**64)) << word) + draw(st.integers(-2, 2))
    return number if draw(st.booleans()) else -number


@given(
    numbers=st.lists(_near_words(), min_size=1, max_size=8),
    scales=st.tuples(st.integers(0, 38), st.integers(0, 38)),
)
@example(numbers=[2**65 - 1], scales=(38, 18))
@example(numbers=[2**65 - 1], scales=(29, 9))
def test_a_decimal_that_fits_another_scale_is_the_same_number(
    numbers: list[int], scales: tuple[int, int]
) -> None:
    most, least = max(scales), min(scales)
    with localcontext(prec=100):
        room = Decimal(10) ** (76 - most)
        values = [Decimal(number) % room * Decimal(10) ** -least for number in numbers]
    array = pa.array([*values, None], pa.decimal256(76, most))
    target = pa.decimal256(76, least)
    assert rescale_decimals(array, target).to_pylist() == [*values, None]


def test_a_decimal_with_further_digits_is_refused_at_any_scale() -> None:
    for scale in (9, 18, 37):
        array = pa.array([Decimal(1).scaleb(-scale - 1)], pa.decimal256(76, 38))
        with pytest.raises(pa.ArrowInvalid):
            rescale_decimals(array, pa.decimal256(76, scale))
    with pytest.raises(pa.ArrowInvalid):
        rescale_decimals(pa.array([Decimal(10**21)], pa.decimal256(76, 38)), pa.decimal128(38, 18))
