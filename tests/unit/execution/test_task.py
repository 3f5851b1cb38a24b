from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from etl_runner import jsontypes
from etl_runner.errors import ConfigError, PermanentError, Problem, RetryableError
from etl_runner.execution.attempts import Stopped
from etl_runner.execution.collect import collect_manifests, collect_verified
from etl_runner.execution.failures import read_failures
from etl_runner.execution.task import TaskOptions, TaskSummary, read_plan, run_task
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.sources.base import Source
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import StoredObject
from tests.unit.execution.worlds import PLAN_NAME, FakeSource, batch_of, make_plan, names, rows_of, stored

QUICK = TaskOptions(attempts=3, backoff_seconds=0.001)


def never(header: PlanHeader) -> Source:
    raise AssertionError("the source was opened")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_tasks_share_the_units_out(count: int) -> None:
    plan = make_plan(5)
    store = stored(plan)
    shares = [[unit.id for unit in read_plan(store, PLAN_NAME, i, count)[1]] for i in range(count)]
    assert sorted(unit for share in shares for unit in share) == [unit.id for unit in plan.units]
    for index in range(count):
        run_task(store, PLAN_NAME, index, count, lambda _: FakeSource(), options=QUICK)
    manifests = collect_verified(store, plan)
    assert sorted(row["id"] for row in rows_of(store, manifests)) == list(range(50))


def test_slots_read_at_the_same_time_over_one_session() -> None:
    together = threading.Barrier(2, timeout=10)
    source = FakeSource(lambda unit, number: together.wait() if number == 0 else None)  # type: ignore[arg-type]
    store = stored(make_plan(4))
    summary = run_task(store, PLAN_NAME, 0, 1, lambda _: source, slots=2, options=QUICK)
    assert (summary.done, summary.rows, summary.remaining) == (4, 40, 0)
    assert (source.sessions, source.readers) == (1, 2)


def test_a_task_started_again_does_what_is_left() -> None:
    plan = make_plan(3)
    store = stored(plan)
    run_task(store, PLAN_NAME, 0, 3, lambda _: FakeSource(), options=QUICK)
    read = []
    source = FakeSource(lambda unit, number: read.append(unit.id))
    summary = run_task(store, PLAN_NAME, 0, 1, lambda _: source, options=QUICK)
    assert sorted(set(read)) == ["u00001", "u00002"]
    assert (summary.skipped, summary.done) == (1, 2)
    assert run_task(store, PLAN_NAME, 0, 1, never, options=QUICK).skipped == 3


class Watched(MemoryObjectStore):
    """Notes which manifests are read; loses the answer to the first of them that is written, if told to."""

    def __init__(self, *, loses_one: bool = False) -> None:
        super().__init__()
        self.read_manifests: list[str] = []
        self._loses_one = loses_one

    def read(self, name: str) -> StoredObject | None:
        if "/units/" in name:
            self.read_manifests.append(name.rpartition("/")[2])
        return super().read(name)

    def create(self, name: str, *args: Any, **options: Any) -> int:
        generation = super().create(name, *args, **options)
        if "/units/" in name and self._loses_one:
            self._loses_one = False
            raise RetryableError("503")
        return generation


def test_what_a_listing_shows_as_undone_is_not_looked_for_unit_by_unit() -> None:
    store = Watched()
    store.create(PLAN_NAME, make_plan(5).to_jsonl())
    assert run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), options=QUICK).done == 5
    assert store.read_manifests == []


def test_an_attempt_after_a_failed_one_looks_whether_that_one_was_done_after_all() -> None:
    store, read = Watched(loses_one=True), []
    store.create(PLAN_NAME, make_plan(1).to_jsonl())
    source = FakeSource(lambda unit, number: read.append(number))
    assert run_task(store, PLAN_NAME, 0, 1, lambda _: source, options=QUICK).rows == 10
    assert read == [0, 1], "the unit was read once"
    assert store.read_manifests == ["u00000.json"]


def test_a_task_without_units_opens_nothing() -> None:
    assert run_task(stored(make_plan(1)), PLAN_NAME, 1, 2, never).units == 0


def test_progress_is_told_after_every_unit_and_never_twice_at_once() -> None:
    inside = threading.Lock()
    seen: list[TaskSummary] = []

    def on_progress(summary: TaskSummary) -> None:
        assert inside.acquire(blocking=False)
        time.sleep(0.002)
        seen.append(summary)
        inside.release()

    run_task(
        stored(make_plan(6)),
        PLAN_NAME,
        0,
        1,
        lambda _: FakeSource(),
        slots=3,
        on_progress=on_progress,
        options=QUICK,
    )
    assert len(seen) == 6
    assert seen[-1].done == 6


def test_progress_is_told_within_long_units() -> None:
    seen: list[int] = []
    source = FakeSource(batches=lambda unit: [batch_of([k]) for k in range(5)])
    options = TaskOptions(beat_seconds=0.0)
    run_task(
        stored(make_plan(1)),
        PLAN_NAME,
        0,
        1,
        lambda _: source,
        on_progress=lambda summary: seen.append(summary.done),
        options=options,
    )
    assert seen == [0, 0, 0, 0, 0, 1]


def test_a_task_whose_run_is_no_longer_its_own_ends() -> None:
    def lost(summary: TaskSummary) -> None:
        raise PermanentError("the slot is somebody else's")

    store = stored(make_plan(4))
    with pytest.raises(PermanentError, match="somebody else"):
        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), slots=1, on_progress=lost, options=QUICK)
    assert len(names(store, "runs/run1/7/units/")) == 1


def test_errors_that_may_pass_are_tried_again_with_a_fresh_reader() -> None:
    failures = {"u00001": 2}

    def trouble(unit: WorkUnit, number: int) -> None:
        if number == 1 and failures.get(unit.id, 0):
            failures[unit.id] -= 1
            raise RetryableError("connection lost")

    plan = make_plan(3)
    store, source = stored(plan), FakeSource(trouble)
    run_task(store, PLAN_NAME, 0, 1, lambda _: source, slots=1, options=QUICK)
    assert sorted(row["id"] for row in rows_of(store, collect_verified(store, plan))) == list(range(30))
    assert source.readers == 3
    assert read_failures(store, plan.header) == []


def test_errors_that_do_not_pass_end_the_task_and_may_be_tried_by_the_next_one() -> None:
    def trouble(unit: WorkUnit, number: int) -> None:
        raise RetryableError("the server is starting up")

    plan = make_plan(1)
    store = stored(plan)
    with pytest.raises(RetryableError, match="starting up"):
        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(trouble), options=QUICK)
    with pytest.raises(PermanentError, match="u00000: the server is starting up"):
        collect_manifests(store, plan.header, ["u00000"])
    run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), options=QUICK)
    assert len(collect_verified(store, plan)) == 1


def test_a_final_error_is_recorded_and_not_tried_again() -> None:
    reads: list[str] = []

    def trouble(unit: WorkUnit, number: int) -> None:
        reads.append(unit.id)
        if unit.id == "u00001":
            raise PermanentError("relation orders does not exist")

    plan = make_plan(3)
    store = stored(plan)
    with pytest.raises(PermanentError, match="does not exist"):
        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(trouble), slots=1, options=QUICK)
    assert reads.count("u00001") == 1
    with pytest.raises(PermanentError, match="relation orders does not exist"):
        run_task(store, PLAN_NAME, 0, 1, never, options=QUICK)
    with pytest.raises(PermanentError) as caught:
        collect_manifests(store, plan.header, [unit.id for unit in plan.units])
    assert str(caught.value) == (
        "2 of 3 units of run run1 were not extracted: u00001, u00002; u00001: relation orders does not exist"
    )


def test_a_failure_does_not_matter_once_another_attempt_did_the_unit() -> None:
    def trouble(unit: WorkUnit, number: int) -> None:
        raise PermanentError("no")

    plan = make_plan(2)
    store = stored(plan)
    with pytest.raises(PermanentError):
        run_task(store, PLAN_NAME, 0, 2, lambda _: FakeSource(trouble), options=QUICK)
    # A stalled attempt of the same task comes back and succeeds.
    other = stored(plan)
    run_task(other, PLAN_NAME, 0, 1, lambda _: FakeSource(), options=QUICK)
    for name in names(other, "runs/run1/7/units/") + names(other, "runs/run1/7/shards/"):
        store.create(name, other.read(name).data)  # type: ignore[union-attr]
    assert run_task(store, PLAN_NAME, 0, 1, never, options=QUICK).skipped == 2
    assert len(collect_verified(store, plan)) == 2


def test_what_keeps_a_source_from_opening_is_recorded_for_the_task() -> None:
    def refuse(header: PlanHeader) -> Source:
        raise ConfigError("connection shop", (Problem("password", "is wrong"),))

    plan = make_plan(1)
    store = stored(plan)
    with pytest.raises(ConfigError):
        run_task(store, PLAN_NAME, 0, 1, refuse, options=QUICK)
    with pytest.raises(PermanentError, match="task-00000: connection shop: 1 problem"):
        collect_manifests(store, plan.header, ["u00000"])


def test_an_unexpected_error_is_recorded_without_its_text() -> None:
    def trouble(unit: WorkUnit, number: int) -> None:
        raise ZeroDivisionError("row value 4711")

    plan = make_plan(1)
    store = stored(plan)
    with pytest.raises(ZeroDivisionError):
        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(trouble), options=QUICK)
    (failure,) = read_failures(store, plan.header)
    assert (failure.type, failure.final) == ("ZeroDivisionError", False)
    assert "4711" not in failure.message


def test_stop_gives_up_running_units_and_begins_no_more() -> None:
    stop = threading.Event()

    def trouble(unit: WorkUnit, number: int) -> None:
        if unit.id == "u00001":
            stop.set()

    plan = make_plan(4)
    store = stored(plan)
    with pytest.raises(Stopped):
        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(trouble), slots=1, stop=stop, options=QUICK)
    assert names(store, "runs/run1/7/units/") == ["runs/run1/7/units/u00000.json"]
    assert read_failures(store, plan.header) == []
    run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), options=QUICK)
    assert sorted(row["id"] for row in rows_of(store, collect_verified(store, plan))) == list(range(40))


class TestSnapshot:
    def test_all_units_count_together(self) -> None:
        plan = make_plan(3, snapshot=True)
        store, source = stored(plan), FakeSource()
        with pytest.raises(PermanentError, match="3 of 3 units"):
            collect_manifests(store, plan.header, [unit.id for unit in plan.units])
        run_task(store, PLAN_NAME, 0, 1, lambda _: source, options=QUICK)
        assert source.snapshots == [True]
        manifests = collect_verified(store, plan)
        assert len({manifest.snapshot for manifest in manifests} - {None}) == 1
        assert sorted(row["id"] for row in rows_of(store, manifests)) == list(range(30))
        assert run_task(store, PLAN_NAME, 0, 1, never, options=QUICK).skipped == 3

    def test_units_of_an_unfinished_snapshot_are_done_again(self) -> None:
        def die(unit: WorkUnit, number: int) -> None:
            if unit.id == "u00002":
                raise RetryableError("gone")

        plan = make_plan(3, snapshot=True)
        store = stored(plan)
        with pytest.raises(RetryableError):
            run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(die), slots=1, options=QUICK)
        read: list[str] = []
        source = FakeSource(lambda unit, number: read.append(unit.id))
        run_task(store, PLAN_NAME, 0, 1, lambda _: source, slots=1, options=QUICK)
        assert set(read) == {"u00000", "u00001", "u00002"}
        assert len(rows_of(store, collect_verified(store, plan))) == 30

    def test_of_two_snapshots_the_first_to_be_complete_counts(self) -> None:
        plan = make_plan(2, snapshot=True)
        store = stored(plan)

        def stall(unit: WorkUnit, number: int) -> None:
            if (unit.id, number) == ("u00001", 1):
                run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), slots=1, options=QUICK)

        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(stall), slots=1, options=QUICK)
        manifests = collect_verified(store, plan)
        assert sorted(row["id"] for row in rows_of(store, manifests)) == list(range(20))
        kept = {shard.name for manifest in manifests for shard in manifest.shards}
        assert set(names(store, "runs/run1/7/shards/")) == kept
        assert len(names(store, "runs/run1/7/units/")) == 2

    def test_a_snapshot_is_not_shared_among_tasks(self) -> None:
        store = stored(make_plan(2, snapshot=True))
        with pytest.raises(PermanentError, match="one task does alone"):
            run_task(store, PLAN_NAME, 0, 2, never)


def test_a_plan_that_is_not_there() -> None:
    with pytest.raises(PermanentError, match=r"gs://memory/runs/run1/7/plan.jsonl does not exist"):
        run_task(MemoryObjectStore(), PLAN_NAME, 0, 1, never)


def test_the_snapshot_is_named_in_plain_json() -> None:
    store = stored(make_plan(1, snapshot=True))
    run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), options=QUICK)
    found = store.read("runs/run1/7/snapshot.json")
    assert found is not None
    assert list(jsontypes.loads(found.data)) == ["snapshot"]


def test_a_unit_has_one_line_at_most_and_no_line_has_a_value(caplog: pytest.LogCaptureFixture) -> None:
    store = stored(make_plan(6))
    with caplog.at_level(logging.INFO):
        run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource(), options=QUICK)
    for unit in names(store, "units/"):
        told = [record for record in caplog.records if unit.rpartition("/")[2][:6] in record.getMessage()]
        assert len(told) <= 1
    assert len(caplog.records) <= 6 + 2
