"""Backfills of files: replaced or appended exactly, whatever call is cut and whatever arrives meanwhile."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest

from etl_runner.adopt import Processed, adopt_files
from etl_runner.commit.close import Failure, RunKey
from etl_runner.commit.open_run import Opened, Skipped
from etl_runner.config.files import FileSource
from etl_runner.errors import ConfigError, EtlError
from etl_runner.state.ledger import Ledger
from etl_runner.state.requests import Backfill, Requests
from etl_runner.state.store import StateStore
from tests.faults.files_world import SOURCE, FilesProcess, FilesWorld
from tests.faults.world import Cut, Killed


def _day(day: int) -> str:
    return f"2026-01-0{day}T00:00:00.000000Z"


def world_of(**document: Any) -> FilesWorld:
    """Three files committed, of three days; a row of the first was lost and one is doubled in the table; a
    fourth file of the first day is not loaded yet."""
    world = FilesWorld(**document)
    world.bucket.put("a.csv", b"id,name\n1,x\n2,y\n", _day(1))
    world.bucket.put("b.csv", b"id,name\n3,z\n", _day(2))
    world.bucket.put("c.csv", b"id,name\n4,w\n", _day(3))
    assert world.run().outcome == "ok"
    table: list[Any] = world.bigquery.tables["p.d.sales"]
    table[:] = [row for row in table if row["id"] != 1] + [row for row in table if row["id"] == 4]
    world.bucket.put("new.csv", b"id,name\n5,v\n", _day(1))
    return world


def ids(world: FilesWorld) -> Counter[int]:
    return Counter(row["id"] for row in world.rows)


FIRST_DAYS = {"replace": {1: 1, 2: 1, 3: 1, 4: 2, 5: 1}, "append": {1: 1, 2: 2, 3: 2, 4: 2, 5: 1}}


@pytest.mark.parametrize("how", ["before", "after", "lost"])
@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_backfill_cut_at_any_call_and_repeated_is_exact(mode: Any, how: str) -> None:
    request = Backfill("2026-01-01", "2026-01-03", mode)
    at = 0
    while True:
        world, cut = world_of(), Cut(at, how)
        with contextlib.suppress(Killed, EtlError):
            world.backfill("cut", request, cut)
        if len(cut.calls) <= at:
            break
        assert world.backfill("cut", request).outcome == "ok", cut.calls[at]
        # The new file was loaded by the backfill, and is not loaded again.
        assert world.run().outcome == "ok", cut.calls[at]
        assert ids(world) == Counter(FIRST_DAYS[mode]), (at, cut.calls[at])
        state = StateStore(world.state, SOURCE).read()
        assert (state.slot, state.paused, state.watermark) == (None, None, None)
        at += 1
    assert at > 25


def test_a_killed_backfill_is_ended_by_the_next_run_and_does_no_harm() -> None:
    """One that did not come to its commit is closed by the workflow; else it is rolled forward."""
    request = Backfill("2026-01-01", "2026-01-03")
    cut = Cut()
    world_of().backfill("cut", request, cut)
    for at, call in enumerate(cut.calls):
        world = world_of()
        with pytest.raises(Killed):
            world.backfill("cut", request, Cut(at, "after"))
        slot = StateStore(world.state, SOURCE).read().slot
        process = FilesProcess(world, Cut().around)
        if slot is not None and slot.phase == "extracting":
            process.finalizer.finalize(RunKey(SOURCE, slot.run_id, slot.epoch), Failure("extract", "killed"))
        for _ in range(5):  # the backfill's second job is asked for
            if not isinstance(process.opener.open_run("next"), Skipped):
                break
        assert process.run("next").outcome == "ok"
        without = Counter({2: 1, 3: 1, 4: 2, 5: 1})
        assert ids(world) in (without, Counter(FIRST_DAYS["replace"])), (at, call)


def planned(world: FilesWorld) -> tuple[FilesProcess, RunKey]:
    """A backfill of the first days that holds the slot and has its plan."""
    process = FilesProcess(world, Cut().around)
    Requests(world.state, SOURCE).write("backfill-b", Backfill("2026-01-01", "2026-01-03"))
    opened = process.opener.open_run("backfill-b")
    assert isinstance(opened, Opened)
    process.plans.write_plan(opened.key)
    return process, opened.key


def test_a_file_that_arrives_during_a_backfill_waits_and_is_loaded_once() -> None:
    world = world_of()
    process, key = planned(world)
    late = world.bucket.put("late.csv", b"id,name\n6,u\n", _day(2))
    new = world.bucket.head("new.csv")
    assert new is not None
    # Its event, and one for a file that the backfill has in its plan: the slot is taken.
    other = FilesProcess(world, Cut().around)
    assert not isinstance(other.opener.open_run("ev-1"), Opened)
    assert process.go_on(key).outcome == "ok"
    assert world.run("ev-2", files=(late, new)).outcome == "ok"
    assert ids(world) == Counter({**FIRST_DAYS["replace"], 6: 1})


def test_a_file_that_is_overwritten_during_a_backfill_fails_it_and_loses_nothing() -> None:
    world = world_of()
    process, key = planned(world)
    world.bucket.put("a.csv", b"id,name\n7,x\n", _day(2))
    before = ids(world)
    assert process.go_on(key).outcome == "failed"
    assert ids(world) == before
    # Tried again, the file's rows are those that it has now; its new version is known from then on.
    assert world.backfill("c", Backfill("2026-01-01", "2026-01-03")).outcome == "ok"
    assert world.run().outcome == "ok"
    assert ids(world) == Counter({3: 1, 4: 2, 5: 1, 7: 1})


def test_the_ledger_says_which_rows_took_the_place_of_others() -> None:
    world = world_of()
    done = world.backfill("r", Backfill(None, None, "replace", only="[ab].csv"))
    assert done.receipt is not None
    assert (done.receipt["disposition"], done.receipt["rows_loaded"]) == ("replace_range", 3)
    world.backfill("a", Backfill(None, None, "append", only="b.csv"))
    told = [(entry.name, entry.rows, entry.outcome) for entry in world.ledger()][3:]
    assert told == [("a.csv", 2, "replaced"), ("b.csv", 1, "replaced"), ("b.csv", 1, "appended")]


def test_files_without_rows_replace_only_when_told() -> None:
    world = world_of()
    world.bucket.put("a.csv", b"id,name\n", _day(4))
    request = Backfill(None, None, "replace", only="a.csv")
    done = world.backfill("a", request)
    assert (done.outcome, "--allow-empty" in str(done.receipt)) == ("failed", True)
    assert ids(world)[2] == 1
    assert world.backfill("b", Backfill(None, None, "replace", True, "a.csv")).outcome == "ok"
    assert ids(world) == Counter({3: 1, 4: 2})


def _refused(world: FilesWorld, request: Backfill) -> str:
    process = FilesProcess(world, Cut().around)
    resolved = world.resolved()
    assert isinstance(resolved.document, FileSource)
    with pytest.raises(ConfigError) as caught:
        process.planner.make_plan(resolved, RunKey(SOURCE, "r", 9), process.store.read(), backfill=request)
    return str(caught.value)


@pytest.mark.parametrize(
    ("document", "only", "sentence"),
    [
        ({"metadata_columns": False}, "a.csv", "has no column _etl_source_file"),
        ({}, "nothing.csv", "nothing to load again"),
        ({"load_type": "catalog"}, "a.csv", "a catalog is loaded as a whole"),
        ({"load_type": "upsert", "primary_key_column": "id"}, "a.csv", "which only a timestamp_column tells"),
    ],
)
def test_what_cannot_be_replaced_exactly_is_refused(
    document: dict[str, Any], only: str, sentence: str
) -> None:
    world = FilesWorld(**document)
    world.bucket.put("a.csv", b"id,name\n1,x\n")
    if world.document["load_type"] == "transactional":
        assert world.run().outcome == "ok"
    assert sentence in _refused(world, Backfill(None, None, only=only))


def test_files_of_an_earlier_system_are_refused() -> None:
    world = world_of()
    processed = [Processed("new.csv")]
    store = StateStore(world.state, SOURCE)
    adopt_files(store, Ledger(world.state, SOURCE), world.bucket.list(""), processed)
    assert "loaded by an earlier system" in _refused(world, Backfill(None, None, only="*.csv"))
    assert world.backfill("others", Backfill(None, None, only="[abc].csv")).outcome == "ok"
    assert world.backfill("beside", Backfill(None, None, "append", only="new.csv")).outcome == "ok"


def test_a_table_whose_column_would_not_be_filled_any_more_is_refused() -> None:
    world = world_of()
    world.document["metadata_columns"] = False
    assert "would not be filled" in _refused(world, Backfill(None, None, only="a.csv"))


def test_more_files_than_one_statement_names_are_refused() -> None:
    world = world_of()
    for number in range(1_100):
        world.bucket.put(f"{'n' * 900}{number}.csv", b"id,name\n9,v\n")
    assert "too many for one statement" in _refused(world, Backfill("2026-01-01", None))
