"""Files that BigQuery loads itself: exact wherever a run is killed, and a replaced file is noticed."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner.commit.open_run import Opened
from etl_runner.state.store import StateStore
from tests.faults.files_world import SOURCE, FilesProcess, FilesWorld, cut_at_every_call
from tests.faults.world import Cut

ONE_JOB = {"exact_generation": False}
STAGED = {"engine": "bigquery"}
KINDS: dict[str, dict[str, Any]] = {
    "one job": ONE_JOB,
    "staged": STAGED,
    "all files, one job": {**ONE_JOB, "load_type": "catalog", "file_selection": "all"},
    "all files, staged": {**STAGED, "load_type": "catalog", "file_selection": "all"},
}


def parquet(*ids: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), out)
    return out.getvalue()


def world_of(kind: str) -> FilesWorld:
    """One file committed, two new ones; one of those has no rows."""
    world = FilesWorld(file_pattern="**/*.parquet", metadata_columns=False, **KINDS[kind])
    world.bucket.put("a.parquet", parquet(1, 2))
    assert world.run().outcome == "ok"
    world.bucket.put("d/b.parquet", parquet(3))
    world.bucket.put("empty.parquet", parquet())
    return world


def check(world: FilesWorld) -> None:
    assert world.column("id") == [1, 2, 3]
    state = StateStore(world.state, SOURCE).read()
    assert (state.slot, state.paused) == (None, None)
    entries = {entry.uri: (entry.rows, entry.outcome) for entry in world.ledger()}
    assert entries == {
        "gs://inbox/a.parquet": (2, "loaded"),
        "gs://inbox/d/b.parquet": (1, "loaded"),
        "gs://inbox/empty.parquet": (0, "loaded"),
    }


def test_no_file_is_read_and_the_plan_says_so() -> None:
    world = world_of("one job")
    receipt = world.receipt()
    assert (receipt["engine"], receipt["units"], receipt["tasks"]) == ("bigquery", 0, 0)
    assert (receipt["rows_read"], receipt["rows_loaded"], len(receipt["jobs"])) == (1, 1, 1)
    assert "BigQuery loads the files itself in one job" in receipt["engine_reason"]
    check(world)


@pytest.mark.parametrize("how", ["before", "after", "lost"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_cut_at_any_call_and_repeated_is_exact(kind: str, how: str) -> None:
    assert cut_at_every_call(lambda: world_of(kind), how, check) > 15


@pytest.mark.parametrize("kind", ["one job", "staged"])
def test_a_file_replaced_before_the_job_ends_the_run(kind: str) -> None:
    world = world_of(kind)
    process = FilesProcess(world, Cut().around)
    opened = process.opener.open_run("r")
    assert isinstance(opened, Opened)
    process.plans.write_plan(opened.key)
    before = list(world.bigquery.submitted)
    world.bucket.put("d/b.parquet", parquet(3))
    done = process.go_on(opened.key)
    assert (done.outcome, world.bigquery.submitted) == ("failed", before)
    assert done.receipt is not None
    assert "d/b.parquet was replaced" in done.receipt["reason"]
    assert world.run().outcome == "ok"
    check(world)


def test_of_a_staged_load_nothing_is_published_when_a_file_was_replaced_meanwhile() -> None:
    world = world_of("staged")
    _replace_once(world)
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    assert "d/b.parquet was replaced" in receipt["reason"]
    assert "nothing was published" in receipt["reason"]
    assert world.column("id") == [1, 2]
    assert world.run().outcome == "ok"
    check(world)


def test_one_job_that_met_a_replaced_file_pauses_the_source() -> None:
    world = world_of("one job")
    _replace_once(world)
    receipt = world.receipt()
    assert receipt["outcome"] == "ok"
    assert "d/b.parquet was replaced" in receipt["replaced"]
    paused = StateStore(world.state, SOURCE).read().paused
    assert paused is not None
    assert "which version was loaded is not known" in paused


def test_rows_other_than_the_footers_have_are_not_published() -> None:
    world = world_of("staged")
    world.bigquery.miscount = 1
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    assert "staged 2 rows, the files' footers have 1: nothing was published" in receipt["reason"]
    assert world.column("id") == [1, 2]


def _replace_once(world: FilesWorld) -> None:
    """The file becomes another one, of as many rows, while BigQuery reads it."""

    def replace(name: str) -> None:
        if name == "d/b.parquet":
            world.bigquery.before_original = lambda _: None
            world.bucket.put(name, parquet(3))

    world.bigquery.before_original = replace
