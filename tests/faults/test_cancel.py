"""A run is cancelled while it does anything: it ends once, and its rows are all there or none of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_runner.cancel import cancel_run
from etl_runner.commit.close import Failure, RunKey
from etl_runner.errors import EtlError
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore
from tests.faults.turns import Turns
from tests.faults.world import SOURCE, Cut, Killed, World


class Engines:
    """Counts what was stopped."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def stop(self, run_id: str, epoch: int) -> tuple[str, ...]:
        self.stopped.append(run_id)
        return (run_id,)


def _cancel(process: Any, engines: Engines, key: RunKey) -> str | None:
    for _ in range(20):
        try:
            result = cancel_run(process.store, process.finalizer, engines, lambda: (), key, "by a test")
        except EtlError:
            continue
        if result.outcome is not None:
            return result.outcome
    raise AssertionError("never ends")


def _check(world: World) -> None:
    world.later(hours=3)
    receipt = Receipts(world.state, SOURCE).read("one")
    assert receipt is not None
    assert len(world.table) == (world.rows if receipt["outcome"] == "ok" else 0)
    assert receipt["outcome"] in ("ok", "cancelled")
    world.process().run("next")
    world.check()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=100))
def test_cancelled_while_the_run_works(order: list[int]) -> None:
    world, turns, engines = World(), Turns(), Engines()
    opened = world.process().opener.open_run("one")
    key: RunKey = opened.key  # type: ignore[union-attr]
    told: list[str | None] = []

    def work() -> None:
        try:
            world.process(around=turns.wire("a")).go_on(key)
        except EtlError:
            return  # it was told that its run is over

    bodies = {
        "a": work,
        "b": lambda: told.append(_cancel(world.process(around=turns.wire("b")), engines, key)),
    }
    turns.run(bodies, order, {})
    receipt = Receipts(world.state, SOURCE).read("one")
    assert told == [receipt["outcome"] if receipt else None]
    assert engines.stopped == (["one"] if told == ["cancelled"] else [])
    _check(world)


@pytest.mark.parametrize("how", ["before", "after", "lost"])
def test_a_cancel_cut_at_every_call_and_repeated(how: str) -> None:
    def world_and_key() -> tuple[World, RunKey]:
        world = World()
        opened = world.process().opener.open_run("one")
        key: RunKey = opened.key  # type: ignore[union-attr]
        world.process().plans.write_plan(key)
        return world, key

    recorded = Cut()
    world, key = world_and_key()
    _cancel(world.process(recorded), Engines(), key)
    for at in range(len(recorded.calls)):
        world, key = world_and_key()
        engines = Engines()
        try:
            _cancel(world.process(Cut(at, how)), engines, key)
        except Killed:
            assert _cancel(world.process(), engines, key) == "cancelled"
        assert engines.stopped
        assert StateStore(world.state, SOURCE).read().slot is None
        assert world.process().finalize(key, Failure("extract", "stopped")).outcome == "cancelled"
        _check(world)
