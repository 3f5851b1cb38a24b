"""A preview reads rows itself, whatever a run would leave to BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner.planning.plan import WorkUnit
from etl_runner.planning.planner import Planner
from etl_runner.planning.preview import preview
from etl_runner.sources.bigquery.access import DryRun
from etl_runner.sources.bigquery.reading import BigQueryReader
from tests.faults.files_world import SETTINGS, FilesProcess, FilesWorld


@pytest.mark.parametrize("engine", ["auto", "bigquery", "dataflow"])
def test_files_that_bigquery_would_load_by_itself_are_shown(engine: str) -> None:
    world = FilesWorld(
        engine=engine, exact_generation=False, metadata_columns=False, file_pattern="*.parquet"
    )
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [1, 2, 3]}), out)
    world.bucket.put("a.parquet", out.getvalue().to_pybytes())
    process = FilesProcess(world, lambda _, call: call())
    tables: Any = world.bigquery
    planner = Planner(SETTINGS, tables, process.open_source, lambda *_: set(), lambda: "there is none")
    shown = preview(world.resolved(), planner, process.open_source, 2)
    assert [row["id"] for row in shown.rows] == [1, 2]
    assert world.rows == []


class FirstRows:
    """A warehouse of which only the first rows may be wanted."""

    billing_project = runner_project = "p"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], int]] = []

    def first(self, table: str, fields: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        self.asked.append((table, list(fields), rows))
        yield pa.record_batch({"id": pa.array([1, 2], pa.int64())})

    def run(self, sql: str, location: str | None) -> str:
        assert location == "EU"
        return f"result.of.{sql}"

    def read(
        self, table: str, fields: Sequence[str], restriction: str | None, at: datetime | None
    ) -> Iterator[pa.RecordBatch]:
        raise AssertionError("the Storage API is asked, which functions are deployed without")

    def get_table(self, path: str) -> dict[str, Any] | None:
        raise NotImplementedError(path)

    def dry_run(self, sql: str, location: str | None) -> DryRun:
        raise NotImplementedError(sql)

    def rows(self, sql: str, location: str | None) -> list[tuple[Any, ...]]:
        raise NotImplementedError(sql)


@pytest.mark.parametrize(
    ("read", "table"),
    [
        ({"table": "p.d.t", "where": None, "as_of": "2026-01-01T00:00:00+00:00"}, "p.d.t"),
        ({"query": "q", "location": "EU", "where": None}, "result.of.q"),
    ],
)
def test_the_first_rows_of_bigquery_need_no_storage_api(read: dict[str, Any], table: str) -> None:
    warehouse = FirstRows()
    reader = BigQueryReader(warehouse, {**read, "items": [["id", "ident", "INT64"]]})
    (rows,) = reader.read(WorkUnit("u00000", "whole", {"where": None, "limit": 2}, ""))
    assert rows.batch.to_pydict() == {"ident": [1, 2]}
    assert warehouse.asked == [(table, ["id"], 2)]
