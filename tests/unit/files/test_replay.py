"""A replay of a file source's rejects is planned from the destination; its files may be gone by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from etl_runner.commit.close import RunKey
from etl_runner.convert.rejects import Reject
from etl_runner.execution.unit import execute_unit
from etl_runner.planning.plan import Plan
from etl_runner.rejects.corrections import Corrections
from etl_runner.rejects.reader import StagedRejects
from etl_runner.rejects.replay import ReplayPlanner, superseded
from etl_runner.rejects.table import RejectedRow, RejectedRun
from etl_runner.state.document import State
from etl_runner.state.ledger import LedgerEntry
from tests.faults.files_world import SETTINGS, SOURCE, FilesWorld

FIELDS = [("id", "INTEGER"), ("n", "INTEGER"), ("seen_at", "TIMESTAMP"), ("_etl_source_file", "STRING")]


A, B = "gs://inbox/a.csv", "gs://inbox/b.csv"


def _row(run: str, file: str | None, line: int | None, row: int, **more: Any) -> RejectedRow:
    record = {"id": "7", "n": "x", "seen_at": "2026-01-01"}
    given = {
        "from_byte": 0,
        "column": "n",
        "reason": "is no number",
        "value": "x",
        "record": record,
        "types": dict.fromkeys(record, "string"),
    }
    return RejectedRow(run, "u00000", file, line, row, **{**given, **more})


class Table:
    """A rejects table with these rows."""

    def __init__(self, *rows: RejectedRow) -> None:
        self._rows = rows

    def runs(self, path: str, source_id: str) -> list[RejectedRun]:
        raise NotImplementedError(path, source_id)

    def rows(
        self, path: str, source_id: str, run_ids: Sequence[str], limit: int | None = None
    ) -> Iterator[RejectedRow]:
        del path, source_id, limit
        yield from (row for row in self._rows if row.run_id in run_ids)


class Tables:
    """The destination's metadata."""

    def get_table(self, path: str) -> dict[str, Any]:
        partitioned = {"type": "DAY", "field": "seen_at"}
        fields = [{"name": name, "type": kind} for name, kind in FIELDS]
        return {"schema": {"fields": fields}, "timePartitioning": partitioned}

    def dataset_location(self, path: str) -> str:
        return "EU"


def _no_files(_: object) -> NoReturn:
    raise AssertionError("the bucket is asked")


def _plan(world: FilesWorld, *rows: RejectedRow) -> Plan:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    planner = ReplayPlanner(
        SETTINGS, Tables(), Table(*rows), world.staging, world.state, _no_files, lambda: now
    )
    runs = list(dict.fromkeys(row.run_id for row in rows))
    return planner.make_plan(world.resolved(), RunKey(SOURCE, "replay", 1), State(), runs, Corrections.none())


def test_an_upsert_is_merged_by_the_destinations_columns_and_asks_no_bucket() -> None:
    world = FilesWorld(
        load_type="upsert",
        primary_key_column="Id",
        timestamp_column="Seen At",
        column_mapping={"Seen At": "seen_at"},
        immutable_partition=True,
    )
    header = _plan(world, _row("first", A, 2, 1)).header
    assert (header.disposition, header.merge_keys, header.merge_order) == ("merge", ("id",), "seen_at")
    assert header.merge_prune == "seen_at"
    # The file that a row is from comes back with it.
    assert [column.destination.name for column in header.columns] == [name for name, _ in FIELDS]


def test_what_is_rejected_again_says_where_its_file_has_it(tmp_path: Path) -> None:
    world = FilesWorld()
    no_row = {"types": None, "column": "", "record": {"file": B, "line": 4, "text": "1,2,3,4,5"}}
    rows = [
        _row("first", A, 7, 3),
        _row("first", A, 7, 3, from_byte=4096),
        _row("first", B, 4, 3, **no_row),
        _row("first", B, None, 5),
        # A value that is not what its type is written as is looked at by itself.
        _row("first", B, None, 6, types={"id": "string", "n": "int64", "seen_at": "string"}),
        # The file was replaced since, and the new one is wrong at the same place.
        _row("second", A, 7, 3),
        # Rows of databases have no place that anybody could find.
        _row("second", None, None, 90),
    ]
    plan = _plan(world, *rows)
    again = []
    with StagedRejects(world.staging).session(plan.header, snapshot=False) as session:
        for unit in plan.units:
            with session.reader() as reader:
                manifest = execute_unit(reader, unit, plan.header, world.staging, workdir=tmp_path)
            stored = world.staging.read(manifest.rejects_object or "")
            assert stored is not None
            again += [Reject.from_line(line) for line in stored.data.splitlines()]
    told = [(reject.file, reject.line, reject.row, reject.from_byte) for reject in again]
    assert told[:-1] == [(row.file, row.line, row.row, row.from_byte) for row in rows[:-1]]
    assert told[-1] == (None, None, 2, 0)
    # Corrections name a row by its unit and its place.
    assert len({(reject.unit, place) for reject, place in zip(again, told, strict=True)}) == len(rows)


def test_rejects_of_a_file_that_was_replaced_since_are_not_replayed() -> None:
    def entry(uri: str, run_id: str, outcome: str = "loaded") -> LedgerEntry:
        return LedgerEntry(uri, "1", 1, "2026-01-01T00:00:00Z", 1, outcome, run_id, 1)

    def row(run_id: str, file: str | None) -> RejectedRow:
        return RejectedRow(run_id, "u0", file, 1, 1, 0, "id", "bad", "x", {}, {})

    entries = [entry("a", "r1"), entry("b", "r1"), entry("a", "backfill-1", "replaced"), entry("a", "r2")]
    stale = superseded(entries)
    assert stale(row("r1", "a"))
    assert stale(row("forgotten", "a"))  # compacted away: it lies before what took its place
    assert not any(stale(row(run, "a")) for run in ("backfill-1", "r2"))
    assert not any(stale(row("r1", file)) for file in ("b", None))
