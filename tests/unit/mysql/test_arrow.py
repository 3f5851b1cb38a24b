"""Texts of the server as Arrow arrays, and those that no calendar has."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.sources.mysql.arrow import typed


def _views(values: list[str | None]) -> pa.Array:
    return pa.array([None if value is None else value.encode() for value in values], pa.binary())


_BAD = ["0000-00-00", "2021-00-10", "2021-10-00", "2021-02-30", "2023-02-29", "2021-04-31"]


@given(st.lists(st.none() | st.dates(dt.date(1, 1, 1)).map(str) | st.sampled_from(_BAD), max_size=60))
def test_only_impossible_dates_are_taken_out(values: list[str | None]) -> None:
    array, failed = typed(_views(values), "date")
    assert failed == {row: value for row, value in enumerate(values) if value in _BAD}
    assert [None if day is None else str(day) for day in array.to_pylist()] == [
        None if value in _BAD else value for value in values
    ]


@given(st.lists(st.none() | st.datetimes(dt.datetime(1, 1, 1)), max_size=60))
def test_moments_keep_their_microseconds(values: list[dt.datetime | None]) -> None:
    texts = [None if value is None else value.isoformat(" ", "microseconds") for value in values]
    walls, failed = typed(_views(texts), "datetime")
    assert (walls.to_pylist(), walls.type, failed) == (values, pa.timestamp("us"), {})
    instants, _ = typed(_views(texts), "timestamp")
    assert instants.type == pa.timestamp("us", "UTC")
    assert instants.cast(pa.int64()).equals(walls.cast(pa.int64()))


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=60))
def test_whole_numbers(values: list[int | None]) -> None:
    array, failed = typed(_views([None if value is None else str(value) for value in values]), "int")
    assert (array.to_pylist(), failed) == (values, {})


def test_a_value_that_does_not_parse_is_kept_as_text() -> None:
    array, failed = typed(_views(["2024-01-01 10:00:00", "2021-02-30 10:00:00.5", None]), "datetime")
    assert array.to_pylist() == [dt.datetime(2024, 1, 1, 10), None, None]
    assert failed == {1: "2021-02-30 10:00:00.5"}
