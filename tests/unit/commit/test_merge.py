"""The MERGE of an upsert: what it matches by, what it replaces, and by what it is pruned."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.commit.merge import Bounds, merge_statement
from etl_runner.convert.fields import BqField
from etl_runner.execution.bounds import column_bounds
from etl_runner.execution.manifest import Shard
from etl_runner.planning.plan import PlanHeader
from etl_runner.state.memory import MemoryObjectStore
from tests.unit.commit.test_steps import header_of

ID, AT, DAY = BqField("id", "INT64"), BqField("at", "TIMESTAMP"), BqField("day", "DATE")


def _merge(**changes: object) -> PlanHeader:
    header = header_of(ID, AT, DAY, disposition="merge", merge_keys=("id",), merge_order="at")
    return replace(header, **changes)  # type: ignore[arg-type]


def test_only_a_version_that_is_not_older_replaces_a_row() -> None:
    statement = merge_statement(_merge(), "SELECT 1", [ID, AT, DAY])
    assert "WHEN MATCHED AND (T.`at` IS NULL OR S.`at` >= T.`at`) THEN UPDATE SET `at` = S.`at`" in statement
    without = merge_statement(_merge(merge_order=None), "SELECT 1", [ID, AT, DAY])
    assert "WHEN MATCHED THEN UPDATE" in without


@pytest.mark.parametrize(
    ("column", "bounds", "condition"),
    [
        (
            "day",
            Bounds(dt.date(2026, 1, 2), dt.date(2026, 3, 4), False),
            "ON T.`day` BETWEEN DATE '2026-01-02' AND DATE '2026-03-04' AND (",
        ),
        ("day", Bounds(None, None, True), "ON T.`day` IS NULL AND ("),
        (
            "at",
            Bounds(dt.datetime(1, 1, 1), dt.datetime(2026, 1, 1, 1, 2, 3, 4), True),
            "ON (T.`at` BETWEEN TIMESTAMP '0001-01-01 00:00:00.000000+00:00' AND "
            "TIMESTAMP '2026-01-01 01:02:03.000004+00:00' OR T.`at` IS NULL) AND (",
        ),
    ],
)
def test_a_merge_is_pruned_by_constants(column: str, bounds: Bounds, condition: str) -> None:
    header = _merge(merge_prune=column)
    assert condition in merge_statement(header, "SELECT 1", [ID, AT, DAY], bounds)
    assert "BETWEEN" not in merge_statement(_merge(), "SELECT 1", [ID, AT, DAY], bounds)


days = st.lists(st.none() | st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)), min_size=1, max_size=20)


@given(st.lists(days, min_size=1, max_size=4), st.integers(1, 5))
def test_bounds_hold_every_value_of_every_shard(shards: list[list[dt.date | None]], group: int) -> None:
    store = MemoryObjectStore("staging")
    named = []
    for number, values in enumerate(shards):
        buffer = io.BytesIO()
        table = pa.table({"nested": [{"day": 1}] * len(values), "day": pa.array(values, pa.date32())})
        pq.write_table(table, buffer, row_group_size=group)
        store.create(f"s{number}", buffer.getvalue())
        named.append(Shard(f"s{number}", len(values), buffer.tell()))
    found = column_bounds(store, named, "day")
    every = [value for values in shards for value in values]
    known = [value for value in every if value is not None]
    assert found == Bounds(min(known, default=None), max(known, default=None), len(known) < len(every))


def test_a_column_without_statistics_prunes_nothing() -> None:
    store = MemoryObjectStore("staging")
    buffer = io.BytesIO()
    pq.write_table(pa.table({"day": pa.array([None, dt.date(2026, 1, 1)])}), buffer, write_statistics=False)
    store.create("s", buffer.getvalue())
    assert column_bounds(store, [Shard("s", 2, buffer.tell())], "day") is None
