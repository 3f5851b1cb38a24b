"""Each cell of the conversion matrix, by values that go through the real converter.

What is expected is worked out by Python's own types, never by the project's converters.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import uuid
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.convert.matrix import OUTCOMES, kind_of, outcome
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlannedColumn
from tools import conversion

TYPES = (
    *("INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "BOOL", "STRING", "BYTES", "DATE", "DATETIME", "TIME"),
    *("TIMESTAMP", "JSON", "GEOGRAPHY", "INTERVAL", "RANGE"),
)
ARROW: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "uint64": pa.uint64(),
    "float": pa.float64(),
    "decimal": pa.decimal128(38, 12),
    "text": pa.string(),
    "bytes": pa.binary(),
    "uuid": pa.binary(16),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "datetime": pa.timestamp("us"),
    "interval": pa.month_day_nano_interval(),
    "list": pa.list_(pa.float64()),
    "struct": pa.struct([("a", pa.float64())]),
    "map": pa.map_(pa.string(), pa.float64()),
}
REJECTED, EITHER = object(), object()
_WORDS = {"true": True, "t": True, "yes": True, "y": True, "1": True}
_WORDS |= {"false": False, "f": False, "no": False, "n": False, "0": False}


def convert(kind: str, destination: str, values: pa.Array) -> list[Any]:
    """What becomes of each value; REJECTED where its row is."""
    field = BqField("c", destination, range_element_type="DATE" if destination == "RANGE" else None)
    converter = Converter([PlannedColumn("c", "uuid" if kind == "uuid" else "text", field)], unit="u")
    converted = converter.convert(pa.record_batch({"c": values}))
    good = iter(converted.batch.column(0).to_pylist())
    bad = {reject.row for reject in converted.rejects}
    return [REJECTED if row in bad else next(good) for row in range(1, len(values) + 1)]


def _decimal(value: Decimal, whole: int, scale: int) -> Any:
    # By fractions: Python's decimals round to their context's 28 digits.
    if not value.is_finite() or (value and not -99 < value.adjusted() < 99):
        return REJECTED
    exact = Fraction(value)
    return value if abs(exact) < 10**whole and (exact * 10**scale).denominator == 1 else REJECTED


def _number(kind: str, value: Any, destination: str) -> Any:
    finite = not isinstance(value, float) or math.isfinite(value)
    exact = Decimal(repr(value) if isinstance(value, float) else int(value) if kind == "bool" else value)
    if destination == "INT64":
        # What the double is, which is not always what its shortest decimal says.
        whole = Fraction(value) if finite else Fraction(1, 2)
        return int(whole) if whole.denominator == 1 and -(2**63) <= whole < 2**63 else REJECTED
    if destination == "FLOAT64":
        return REJECTED if kind in ("int", "uint64") and abs(exact) > 2**53 else float(exact)
    if destination == "NUMERIC":
        return _decimal(exact, 29, 9)
    if destination == "BIGNUMERIC":
        return _decimal(exact, 38, 38)
    if destination == "BOOL":
        return bool(value) if value in (0, 1) else REJECTED
    return EITHER


def _text(value: str, destination: str) -> Any:
    if destination == "STRING":
        return value
    if destination == "BYTES":
        return value.encode()
    if destination == "INT64":
        whole = re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII)
        return int(value) if whole and -(2**63) <= int(value) < 2**63 else REJECTED
    if destination in ("NUMERIC", "BIGNUMERIC"):
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value, re.ASCII):
            return REJECTED
        try:
            number = Decimal(value)
            return _decimal(number, *((29, 9) if destination == "NUMERIC" else (38, 38)))
        except InvalidOperation:
            return REJECTED
    if destination == "BOOL":
        return _WORDS.get(value.lower(), REJECTED) if value.isascii() else REJECTED
    if destination == "DATE" and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            return REJECTED
    return EITHER


def wanted(kind: str, value: Any, destination: str) -> Any:
    """The value that has to arrive, REJECTED, or EITHER: the value as :func:`same` sees it, or rejected."""
    if value is None:
        return None
    if kind in ("bool", "int", "uint64", "float", "decimal"):
        return _number(kind, value, destination)
    if kind == "text":
        return _text(value, destination)
    if kind == "bytes" and destination == "STRING":
        try:
            return value.decode()
        except UnicodeDecodeError:
            return REJECTED
    if kind in ("bytes", "uuid"):
        return str(uuid.UUID(bytes=value)) if destination == "STRING" else value
    if destination in ("DATETIME", "TIMESTAMP"):
        moment = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time())
        return moment.replace(tzinfo=dt.UTC)
    if destination == "DATE" and isinstance(value, dt.datetime):
        return value.date() if value.time() == dt.time() else REJECTED
    return value if destination in ("DATE", "TIME") else EITHER


def same(kind: str, value: Any, arrived: Any, destination: str) -> bool:
    """Whether text that arrived denotes the value."""
    if kind == "float" and destination == "STRING":
        return math.isnan(value) if arrived == "nan" else float(arrived) == value
    if kind in ("int", "uint64", "decimal") or (kind == "float" and destination == "JSON"):
        return Decimal(arrived) == Decimal(repr(value) if kind == "float" else value)
    if kind == "bool":
        return bool(json.loads(arrived) is value)
    if kind == "date":
        return bool(dt.date.fromisoformat(arrived) == value)
    if kind == "time":
        return bool(dt.time.fromisoformat(arrived) == value)
    if kind in ("timestamp", "datetime"):
        return bool(dt.datetime.fromisoformat(arrived).replace(tzinfo=dt.UTC) == value.replace(tzinfo=dt.UTC))
    if kind in ("list", "struct", "map"):
        return bool(json.loads(arrived) == (dict(value) if kind == "map" else value))
    return True  # text that the destination parses in ways of its own: held by the tests of the casts


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2, 2**53, 2**53 + 1, -(2**63)]),
    "uint64": st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63 - 1, 2**63]),
    "float": st.floats() | st.sampled_from([-0.0, 1.0, 2.0**63, -(2.0**63), 1e-9, 1e-10, 1e28, 1e38]),
    "decimal": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-12"))
    | st.integers(-(10**6), 10**6).map(Decimal),
    "text": st.text(max_size=12)
    | st.integers().map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.dates().map(str)
    | st.sampled_from(
        ["", " 1", "+7", "0x10", "1e400", "-0", "YES", "f", "2026-02-30", "NaN", "[1]", "{", "٣"]
    ),
    "bytes": st.binary(max_size=8),
    "uuid": st.binary(min_size=16, max_size=16),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes() | st.dates().map(lambda day: dt.datetime.combine(day, dt.time())),
    "datetime": st.datetimes() | st.dates().map(lambda day: dt.datetime.combine(day, dt.time())),
    "list": st.lists(FLOATS, max_size=3),
    "struct": st.fixed_dictionaries({"a": st.none() | FLOATS}),
    "map": st.dictionaries(st.text(max_size=3), FLOATS, max_size=3).map(lambda items: list(items.items())),
}
CELLS = [(kind, to) for kind, row in OUTCOMES.items() for to in row if kind in VALUES]


@pytest.mark.parametrize(("kind", "destination"), CELLS)
@settings(max_examples=15)
@given(data=st.data())
def test_values_arrive_as_they_are_or_are_rejected(kind: str, destination: str, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.none() | VALUES[kind], max_size=12))
    values = pa.array(drawn, ARROW[kind])
    for value, arrived in zip(drawn, convert(kind, destination, values), strict=True):
        expected = wanted(kind, value, destination)
        if outcome(kind, destination) == "exact":
            assert arrived is not REJECTED, value
        if expected is EITHER:
            assert arrived is REJECTED or same(kind, value, arrived, destination), (value, arrived)
        elif isinstance(expected, float) and math.isnan(expected):
            assert math.isnan(arrived)
        elif kind == "text" and destination == "DATE" and expected is REJECTED:
            assert arrived is REJECTED, value
        else:
            assert (arrived is REJECTED) == (expected is REJECTED), (value, arrived)
            assert arrived == expected or arrived is REJECTED, (value, arrived)


@pytest.mark.parametrize("kind", list(OUTCOMES))
@pytest.mark.parametrize("destination", TYPES)
def test_what_is_not_in_the_matrix_is_refused(kind: str, destination: str) -> None:
    if outcome(kind, destination) is not None:
        return
    with pytest.raises(PermanentError, match=r"column 'c' arrives as .* and cannot become .*: change"):
        convert(kind, destination, pa.array([], ARROW[kind]))


BAD: dict[str, pa.Array] = {
    "int": pa.array([2, 2**53 + 1]),
    "uint64": pa.array([2**64 - 1], pa.uint64()),
    "float": pa.array([math.inf, 1e300, 0.5]),
    "decimal": pa.array([Decimal("0.1234567890123"[:14])], pa.decimal128(38, 12)),
    "text": pa.array(["?"]),
    "bytes": pa.array([b"\xff"]),
    "date": pa.array([2_932_897], pa.int32()).view(pa.date32()),
    "time": pa.array([86_400_000_000], pa.int64()).view(pa.time64("us")),
    "timestamp": pa.array([2**62, 1], pa.int64()).view(pa.timestamp("us", tz="UTC")),
    "datetime": pa.array([2**62, 1], pa.int64()).view(pa.timestamp("us")),
    "interval": pa.array([(0, 0, 1)], pa.month_day_nano_interval()),
    "list": pa.array([[math.nan]]),
    "struct": pa.array([{"a": math.inf}]),
    "map": pa.array([[("a", math.nan)]], ARROW["map"]),
}
NEVER = {("decimal", "BIGNUMERIC"), ("decimal", "JSON"), ("text", "STRING")}
"""Checked for other precisions and encodings than those of this test's values."""


@pytest.mark.parametrize(
    ("kind", "destination"),
    [(kind, to) for kind, row in OUTCOMES.items() for to, how in row.items() if how == "checked"],
)
def test_a_checked_cell_rejects(kind: str, destination: str) -> None:
    if (kind, destination) in NEVER:
        return
    assert REJECTED in convert(kind, destination, BAD[kind])


@pytest.mark.parametrize(("kind", "type_"), ARROW.items())
def test_kinds_are_told_by_their_arrow_types(kind: str, type_: pa.DataType) -> None:
    assert kind_of(type_, "uuid" if kind == "uuid" else "") == kind


def test_the_page_is_what_the_code_does() -> None:
    assert conversion.PAGE.read_text() == conversion.page()
    assert conversion.DATA.read_text() == conversion.data()
