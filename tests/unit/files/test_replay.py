"""A replay of a file source's rejects is planned from the destination; its files may be gone by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from etl_runner.commit.close import RunKey
from etl_runner.rejects.corrections import Corrections
from etl_runner.rejects.replay import ReplayPlanner
from etl_runner.rejects.table import RejectedRow, RejectedRun
from etl_runner.state.document import State
from tests.faults.files_world import SETTINGS, SOURCE, FilesWorld

FIELDS = [("id", "INTEGER"), ("n", "INTEGER"), ("seen_at", "TIMESTAMP"), ("_etl_source_file", "STRING")]


class OneReject:
    """A rejects table with one row."""

    def runs(self, path: str, source_id: str) -> list[RejectedRun]:
        raise NotImplementedError(path, source_id)

    def rows(
        self, path: str, source_id: str, run_ids: Sequence[str], limit: int | None = None
    ) -> Iterator[RejectedRow]:
        del path, source_id, limit
        record = {"id": "7", "n": "x", "seen_at": "2026-01-01"}
        types: dict[str, Any] = dict.fromkeys(record, "string")
        where = ("u00000", "gs://inbox/a.csv", 2, 1, 0)
        yield RejectedRow(run_ids[0], *where, "n", "is no number", "x", record, types)


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


def test_an_upsert_is_merged_by_the_destinations_columns_and_asks_no_bucket() -> None:
    world = FilesWorld(
        load_type="upsert",
        primary_key_column="Id",
        timestamp_column="Seen At",
        column_mapping={"Seen At": "seen_at"},
        immutable_partition=True,
    )
    planner = ReplayPlanner(
        SETTINGS,
        Tables(),
        OneReject(),
        world.staging,
        world.state,
        _no_files,
        lambda: datetime(2026, 1, 2, tzinfo=UTC),
    )
    plan = planner.make_plan(
        world.resolved(), RunKey(SOURCE, "replay", 1), State(), ["first"], Corrections.none()
    )
    header = plan.header
    assert (header.disposition, header.merge_keys, header.merge_order) == ("merge", ("id",), "seen_at")
    assert header.merge_prune == "seen_at"
    # The file that a row is from comes back with it.
    assert [column.destination.name for column in header.columns] == [name for name, _ in FIELDS]
