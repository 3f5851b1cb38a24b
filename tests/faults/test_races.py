"""Processes that race, stall and wake too late, in interleavings that hypothesis chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_runner.commit.close import Done, Failure
from etl_runner.commit.open_run import Opened
from etl_runner.errors import PermanentError
from tests.faults.turns import Turns
from tests.faults.world import Cut, World

pytestmark = pytest.mark.timeout(300)

orders = st.lists(st.integers(0, 5), min_size=1, max_size=120)
kills = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 60), max_size=2)
shapes = st.sampled_from([("append", False), ("append", True), ("replace", False), ("replace", True)])
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _race(
    world: World, turns: Turns, bodies: dict[str, Callable[[Any], Any]]
) -> dict[str, Callable[[], Any]]:
    return {
        name: lambda name=name, body=body: body(world.process(around=turns.wire(name)))  # type: ignore[misc]
        for name, body in bodies.items()
    }


def _settle(world: World, turns: Turns) -> None:
    world.later(hours=3)
    world.process().run("settle-1")
    world.process().run("settle-2")
    try:
        world.check()
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *turns.log])) from error


@few
@given(orders, kills, shapes)
def test_two_runs_and_a_repeated_trigger(
    order: list[int], kill: dict[str, int], shape: tuple[str, bool]
) -> None:
    """The scheduler fires twice (same run id), and a second run is started by hand."""
    world = World(disposition=shape[0], staged=shape[1])
    turns = Turns()
    bodies: dict[str, Callable[[Any], Any]] = {
        "a": lambda process: process.run("one"),
        "b": lambda process: process.run("one"),
        "c": lambda process: process.run("two"),
    }
    turns.run(_race(world, turns, bodies), order, kill)
    _settle(world, turns)


@few
@given(orders, kills, shapes)
def test_finalize_copies_and_the_failure_path(
    order: list[int], kill: dict[str, int], shape: tuple[str, bool]
) -> None:
    """Two finalizes of one run and the workflow's failure path at the same time."""
    world = World(disposition=shape[0], staged=shape[1])
    opened = world.process().opener.open_run("one")
    assert isinstance(opened, Opened)
    process = world.process()
    process.extract(process.plans.write_plan(opened.key).plan_uri.removeprefix("gs://staging/"))
    turns = Turns()
    bodies: dict[str, Callable[[Any], Any]] = {
        "a": lambda process: process.finalize(opened.key),
        "b": lambda process: process.finalize(opened.key),
        "c": lambda process: process.finalize(opened.key, Failure("job", "gave up")),
    }
    turns.run(_race(world, turns, bodies), order, kill)
    _settle(world, turns)


@few
@given(orders, kills, shapes, st.integers(0, 45))
def test_an_abandoned_run_wakes_up(
    order: list[int], kill: dict[str, int], shape: tuple[str, bool], stalled: int
) -> None:
    """A run stalls at any call past its deadline and wakes while others take over."""
    world = World(disposition=shape[0], staged=shape[1])
    turns = Turns()
    calls = 0

    def stalling(process: Any) -> None:
        nonlocal calls
        try:
            process.run("slow")
        except (PermanentError, AssertionError):
            return  # it was told that its run is over

    def aged(around: Callable[[str, Callable[[], Any]], Any]) -> Callable[[str, Callable[[], Any]], Any]:
        def wire(name: str, call: Callable[[], Any]) -> Any:
            nonlocal calls
            calls += 1
            if calls == stalled:
                world.later(hours=1)
            return around(name, call)

        return wire

    bodies: dict[str, Callable[[], Any]] = {
        "a": lambda: stalling(world.process(around=aged(turns.wire("a")))),
        "b": lambda: world.process(around=turns.wire("b")).run("taker"),
        "c": lambda: world.process(around=turns.wire("c")).run("third"),
    }
    turns.run(bodies, order, kill)
    _settle(world, turns)


@few
@given(orders, kills, st.lists(st.sampled_from(["rateLimitExceeded", "invalid"]), max_size=3), st.booleans())
def test_racing_copies_meet_failing_jobs(
    order: list[int], kill: dict[str, int], failures: list[str], staged: bool
) -> None:
    """Copies of finalize judge the same failures; nobody submits a number twice or out of turn."""
    world = World(staged=staged)
    opened = world.process().opener.open_run("one")
    assert isinstance(opened, Opened)
    process = world.process()
    process.extract(process.plans.write_plan(opened.key).plan_uri.removeprefix("gs://staging/"))
    world.bigquery.failures = list(failures)
    turns = Turns()
    bodies: dict[str, Callable[[Any], Any]] = {
        name: lambda process: process.finalize(opened.key) for name in ("a", "b", "c")
    }
    turns.run(_race(world, turns, bodies), order, kill)
    assert len(world.bigquery.submitted) == len(set(world.bigquery.submitted))
    world.bigquery.failures.clear()
    _settle(world, turns)


def test_a_task_that_wakes_after_the_commit_changes_nothing() -> None:
    world = World()
    opened = world.process().opener.open_run("one")
    assert isinstance(opened, Opened)
    process = world.process()
    plan = process.plans.write_plan(opened.key).plan_uri.removeprefix("gs://staging/")
    plan_bytes = world.staging.read(plan)
    process.extract(plan)
    process.finalize(opened.key)
    world.check()
    assert plan_bytes is not None
    world.staging.create(plan, plan_bytes.data)  # the sleeper had read it before it was cleaned up
    world.process().extract(plan)
    late = world.process().finalize(opened.key)
    assert isinstance(late, Done)
    assert late.outcome == "ok"
    world.check()


def test_a_finalize_that_wakes_after_its_run_was_abandoned_commits_nothing() -> None:
    world = World()
    opened = world.process().opener.open_run("slow")
    assert isinstance(opened, Opened)
    process = world.process()
    process.extract(process.plans.write_plan(opened.key).plan_uri.removeprefix("gs://staging/"))
    world.later(hours=1)
    world.process(Cut()).run("taker")
    world.check()
    late = process.finalize(opened.key)
    assert late.outcome == "abandoned"
    world.check()
