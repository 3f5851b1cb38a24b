"""Numbers that BigQuery's JSON cannot hold: rejected, rounded by BigQuery, or kept as text."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.json_numbers import fits
from tests.unit.convert.test_cast import column

WIDE = "123456789012345678901234567890"
LONG = "0.1000000000000000055511151231257827"


def _convert(texts: list[str | None], mode: Any, **parts: Any) -> tuple[list[Any], list[str]]:
    converter = Converter([column("j", "JSON", source_type="jsonb", **parts)], unit="u", json_numbers=mode)
    converted = converter.convert(pa.record_batch({"j": pa.array(texts, pa.string())}))
    return converted.batch.column(0).to_pylist(), [reject.reason for reject in converted.rejects]


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-0.0",
        "1.10",
        "1e2",
        "1E+300",
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775808",
    ],
)
def test_numbers_that_fit(number: str) -> None:
    assert fits(number)
    assert _convert([number], "fail") == ([number], [])
    assert _convert([f"[{number}]"], "string") == ([f"[{number}]"], [])


@pytest.mark.parametrize(
    "number",
    ["18446744073709551616", "-9223372036854775809", WIDE, LONG, "1e400", "9007199254740993.5", "5e-400"],
)
def test_numbers_that_do_not_fit(number: str) -> None:
    assert not fits(number)
    _, reasons = _convert([f'{{"a": [1, {number}]}}', "{}"], "fail")
    assert reasons == ["holds a number that 64 bits cannot hold exactly (json_numbers)"]
    kept, reasons = _convert([f'{{"a": [1, {number}]}}', "{}"], "string")
    assert (kept, reasons) == ([f'{{"a": [1, "{number}"]}}', "{}"], [])


def test_only_numbers_change_and_nothing_in_texts() -> None:
    text = f'{{"{WIDE}": "a \\" {WIDE} \\\\", "b": {WIDE}, "c": null, "d": 1.5}}'
    ((kept,), _) = _convert([text], "string")
    assert json.loads(kept) == {WIDE: f'a " {WIDE} \\', "b": WIDE, "c": None, "d": 1.5}


def test_rounding_is_left_to_bigquery_but_for_what_no_double_holds() -> None:
    kept, reasons = _convert([f"[{WIDE}]", "[-1e400]", LONG], "round")
    assert kept == [f"[{WIDE}]", LONG]
    assert reasons == ["holds a number beyond every FLOAT64"]


def test_elements_of_arrays_are_looked_at_too() -> None:
    converter = Converter([column("j", "JSON", mode="REPEATED", source_type="json[]")], unit="u")
    values = pa.array([["1", WIDE], ["2"]], pa.list_(pa.string()))
    converted = converter.convert(pa.record_batch({"j": values}))
    assert converted.batch.column(0).to_pylist() == [["2"]]
    assert converted.rejects[0].reason.startswith("holds an element that holds a number")


@given(st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.floats(allow_nan=False).map(repr))
def test_what_fits_is_what_a_double_denotes(number: str) -> None:
    number = number.replace("E+", "e").replace("inf", "1e999")
    exact, value = Decimal(number), float(number)
    if "e" not in number.lower() and "." not in number:
        assert fits(number) == (-(2**63) <= int(number) < 2**64)
    else:
        # Its shortest decimal denotes the number; nothing else reads back as the same.
        assert fits(number) == (math.isfinite(value) and Fraction(repr(value)) == Fraction(exact))
