"""The run history has each finished run once, whatever call of a run or a drain is killed, lost or raced."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_runner.errors import EtlError, PermanentError
from etl_runner.history.drain import Drain, Target
from etl_runner.history.history import History
from etl_runner.history.streams import FILES, RUNS, STREAMS, Stream
from etl_runner.state.ledger import Ledger, LedgerEntry
from etl_runner.state.notes import Note, Notes
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore
from tests.faults.turns import Turns
from tests.faults.world import SOURCE, BigQueryWorld, Cut, Killed, Wire, World

TARGET = Target("p", "d", "EU")
HOWS = ["before", "after", "lost"]


class HistoryBigQuery(BigQueryWorld):
    """Loads JSON Lines too, and keeps their rows."""

    def __init__(self, staging: Any) -> None:
        super().__init__(staging)
        self.history: list[tuple[str, dict[str, Any]]] = []

    def _run(self, kind: str, job: dict[str, Any], destination: str | None) -> int:
        if job.get("sourceFormat") != "NEWLINE_DELIMITED_JSON":
            return super()._run(kind, job, destination)
        rows = []
        for uri in job["sourceUris"]:
            stored = self.staging.read(uri.removeprefix("gs://staging/"))
            assert stored is not None, f"{uri} is gone while its job runs"
            rows += [json.loads(line) for line in stored.data.splitlines()]
        known = {field["name"] for field in job["schema"]["fields"]}
        assert all(row.keys() <= known for row in rows)
        self.history += [(str(destination), row) for row in rows]
        return len(rows)


class HistoryWorld(World):
    """A world whose drains reach their tables."""

    def __init__(self) -> None:
        super().__init__()
        self.bigquery: HistoryBigQuery = HistoryBigQuery(self.staging)
        self.drains = itertools.count()

    def drain(self, stream: Stream, around: Callable[[str, Callable[[], Any]], Any] | None = None) -> None:
        """One process drains until nothing is pending, repeating what is retryable."""
        around = around or Cut().around
        objects: Any = Wire(self.state, "state", around)
        staging: Any = Wire(self.staging, "staging", around)
        jobs: Any = Wire(self.bigquery, "bigquery", around)
        store = StateStore(objects, stream.source_id, sleep=lambda _: None)
        drain = Drain(
            stream,
            objects,
            staging,
            jobs,
            TARGET,
            clock=self.clock,
            store=store,
            new_id=lambda: f"drain-{next(self.drains)}",
        )
        for _ in range(5):
            try:
                if not drain.drain().pending:
                    return
            except EtlError:
                continue

    def history(self) -> History:
        return History(self.state, self.staging, lambda: self.bigquery, TARGET, self.clock)

    def told(self, stream: Stream) -> list[dict[str, Any]]:
        return [row for table, row in self.bigquery.history if table == f"p.d.{stream.table}"]

    def outcome_of(self, stream: Stream) -> str | None:
        last = StateStore(self.state, stream.source_id).read().last
        return last.outcome if last else None

    def check_history(self) -> None:
        """History and receipts agree: the same runs, each once, with the same figures."""
        receipts = list(Receipts(self.state, SOURCE).all())
        found = [(row["run_id"], row["epoch"], row["outcome"], row["rows_loaded"]) for row in self.told(RUNS)]
        wanted = [
            (item["run_id"], item["epoch"], item["outcome"], item.get("rows_loaded")) for item in receipts
        ]
        assert Counter(found) == Counter(wanted)
        for stream in STREAMS:
            assert StateStore(self.state, stream.source_id).read().slot is None


def _world(runs: int = 2) -> HistoryWorld:
    world = HistoryWorld()
    for number in range(runs):
        world.process().run(f"run{number}")
        world.rows += 1
    return world


def _settle(world: HistoryWorld) -> None:
    world.later(hours=1)
    for stream in STREAMS:
        world.drain(stream)
    world.later(hours=1)
    world.history().drain()
    world.check_history()
    assert list(Notes(world.state).all()) == []
    # A drain that was killed in its very last step leaves what the lifecycle rule takes.
    left = list(world.staging.list("runs/drain-"))
    assert not left or world.outcome_of(RUNS) == "ok"


def _calls(stream: Stream) -> list[str]:
    cut = Cut()
    _world().drain(stream, cut.around)
    return cut.calls


@pytest.mark.parametrize("how", HOWS)
def test_a_drain_cut_at_every_call_and_repeated(how: str) -> None:
    calls = _calls(RUNS)
    assert len(calls) > 15
    for at in range(len(calls)):
        world = _world()
        try:
            world.drain(RUNS, Cut(at, how).around)
        except Killed:
            assert how != "lost"
        try:
            _settle(world)
        except AssertionError as error:
            raise AssertionError(f"{how} call {at}, {calls[at]}: {error}") from error


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_run_killed_at_every_call_is_in_the_history_as_its_receipt_says(how: str) -> None:
    cut = Cut()
    HistoryWorld().process(cut).run("first")
    for at in range(len(cut.calls)):
        world = HistoryWorld()
        with pytest.raises(Killed):
            world.process(Cut(at, how)).run("first")
        world.drain(RUNS)  # while the receipt may be missing still
        world.later(hours=2)
        world.process().run("first")
        world.process().run("second")
        world.check()
        try:
            _settle(world)
        except AssertionError as error:
            raise AssertionError(f"killed {how} call {at}, {cut.calls[at]}: {error}") from error


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=120),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 40), max_size=2),
)
def test_drains_race_each_other_and_a_receipt_that_is_written_again(
    order: list[int], kill: dict[str, int]
) -> None:
    world = _world()
    receipt = dict(next(Receipts(world.state, SOURCE).all()))
    turns = Turns()

    def tell_again() -> None:
        objects: Any = Wire(world.state, "state", turns.wire("c"))
        Receipts(objects, SOURCE).write(receipt)

    bodies: dict[str, Callable[[], Any]] = {
        "a": lambda: _drain_both(world, turns.wire("a")),
        "b": lambda: _drain_both(world, turns.wire("b")),
        "c": tell_again,
    }
    turns.run(bodies, order, kill)
    try:
        _settle(world)
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *turns.log])) from error


def _drain_both(world: HistoryWorld, around: Callable[[str, Callable[[], Any]], Any]) -> None:
    for stream in STREAMS:
        world.drain(stream, around)


def test_a_note_that_comes_back_after_its_drain_is_not_loaded_again() -> None:
    world = _world(1)
    world.history().drain()
    receipt = dict(next(Receipts(world.state, SOURCE).all()))
    Notes(world.state).leave(Note(SOURCE, receipt["epoch"], receipt["run_id"]))
    _settle(world)


def test_many_runs_are_one_job_a_table_and_an_idle_drain_is_none() -> None:
    world = _world(12)
    before = len(world.bigquery.submitted)
    world.history().drain()
    assert len(world.bigquery.submitted) - before == 1  # no files: nothing for the second table
    assert len(world.told(RUNS)) == 12
    world.history().drain(now=True)
    world.later(hours=1)
    world.history().drain()
    assert len(world.bigquery.submitted) - before == 1
    assert world.history().standing().waiting == 0


def test_a_drain_is_not_repeated_within_five_minutes_unless_asked() -> None:
    world = _world(1)
    world.history().drain()
    world.process().run("another")
    assert world.history().drain() == ()
    assert world.history().standing().waiting == 1
    world.later(minutes=6)
    assert world.history().drain() != ()
    assert len(world.told(RUNS)) == 2


def test_the_receipt_that_a_dead_process_left_in_the_state_is_loaded_without_a_further_run() -> None:
    world = HistoryWorld()
    cut = Cut()
    HistoryWorld().process(cut).run("only")
    last = max(number for number, name in enumerate(cut.calls) if name == "state.create")
    with pytest.raises(Killed):
        world.process(Cut(last, "before")).run("only")  # the note is there, the receipt is not
    assert Receipts(world.state, SOURCE).read("only") is None
    world.drain(RUNS)
    assert [row["run_id"] for row in world.told(RUNS)] == ["only"]
    world.check_history()


def test_files_of_a_run_are_rows_of_their_own() -> None:
    world = _world(0)
    entries = [
        LedgerEntry(f"gs://b/{n}.csv", str(n), 10, "2026-01-01T00:00:00+00:00", 3, "loaded", "run")
        for n in range(3)
    ]
    segment = Ledger(world.state, SOURCE).write("run", 1, entries)
    Receipts(world.state, SOURCE).write(
        {
            "source_id": SOURCE,
            "run_id": "run",
            "epoch": 1,
            "outcome": "ok",
            "finished": "2026-01-01T00:00:00+00:00",
            "rows_loaded": 9,
            "ledger_segment": segment,
        }
    )
    world.history().drain()
    assert [(row["uri"], row["rows_loaded"]) for row in world.told(FILES)] == [
        (f"gs://b/{n}.csv", 3) for n in range(3)
    ]


def test_a_job_that_fails_for_good_loses_nothing() -> None:
    world = _world(1)
    world.bigquery.failures = ["invalid"]
    world.drain(RUNS)
    assert world.told(RUNS) == []
    assert world.history().standing().waiting == 1
    _settle(world)


def test_a_drain_of_a_paused_stream_says_so() -> None:
    world = _world(1)

    def pause(state: Any) -> Any:
        from dataclasses import replace

        return None if state.paused else replace(state, paused="loaded 3 rows where 2 were written")

    StateStore(world.state, RUNS.source_id).change(pause)
    with pytest.raises(PermanentError, match="etl-runner resolve _etl_history_runs"):
        world.history().drain()
