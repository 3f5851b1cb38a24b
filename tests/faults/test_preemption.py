"""Two processes, every single preemption: the one stops before its k-th call, the other makes j calls, then
the first goes on to its end, then the second. Exhaustive where random interleavings are unlikely to look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etl_runner.commit.close import Failure
from etl_runner.commit.open_run import Opened
from etl_runner.errors import EtlError
from tests.faults.turns import Turns
from tests.faults.world import Cut, World

pytestmark = pytest.mark.timeout(600)

Body = Callable[[Any], Any]


def _extracted(world: World) -> Opened:
    opened = world.process().opener.open_run("one")
    assert isinstance(opened, Opened)
    process = world.process()
    process.extract(process.plans.write_plan(opened.key).plan_uri.removeprefix("gs://staging/"))
    return opened


def _points(prepare: Callable[[], tuple[World, Body, Body]]) -> tuple[list[int], list[int]]:
    """The calls of each process that others can notice: all but those on create-only staging objects."""
    points = []
    for which in (1, 2):
        prepared = prepare()
        cut = Cut()
        prepared[which](prepared[0].process(cut))  # type: ignore[operator]
        points.append([at for at, name in enumerate(cut.calls) if not name.startswith("staging.")])
    return points[0], points[1]


def _every_preemption(prepare: Callable[[], tuple[World, Body, Body]]) -> None:
    first_points, second_points = _points(prepare)
    for before in first_points:
        for between in [at + 1 for at in second_points]:
            world, first, second = prepare()
            turns = Turns()
            actors = {
                "first": lambda w=world, body=first, t=turns: body(w.process(around=t.wire("first"))),
                "second": lambda w=world, body=second, t=turns: body(w.process(around=t.wire("second"))),
            }
            order = ["first"] * before + ["second"] * between + ["first"] * 500
            turns.run(actors, order, {})  # type: ignore[arg-type]
            world.bigquery.failures.clear()
            world.later(hours=3)
            world.process().run("settle-1")
            world.process().run("settle-2")
            try:
                assert len(world.bigquery.submitted) == len(set(world.bigquery.submitted))
                world.check()
            except AssertionError as error:
                raise AssertionError("\n".join([str(error), *turns.log])) from error


@pytest.mark.parametrize("failures", [[], ["rateLimitExceeded", "invalid"]])
def test_the_failure_path_against_finalize(failures: list[str]) -> None:
    def prepare() -> tuple[World, Body, Body]:
        world = World()
        opened = _extracted(world)
        world.bigquery.failures = list(failures)
        return (
            world,
            lambda process: process.finalize(opened.key, Failure("job", "gave up")),
            lambda process: process.finalize(opened.key),
        )

    _every_preemption(prepare)


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("failures", [["rateLimitExceeded", "invalid"]])
def test_two_finalizes(staged: bool, failures: list[str]) -> None:
    def prepare() -> tuple[World, Body, Body]:
        world = World(staged=staged)
        opened = _extracted(world)
        world.bigquery.failures = list(failures)
        return (
            world,
            lambda process: process.finalize(opened.key),
            lambda process: process.finalize(opened.key),
        )

    _every_preemption(prepare)


@pytest.mark.parametrize("failures", [[], ["backendError"], ["refused"]], ids=["well", "again", "refused"])
def test_two_finalizes_with_rejects(failures: list[str]) -> None:
    def prepare() -> tuple[World, Body, Body]:
        world = World()
        world.rejects = 1
        opened = _extracted(world)
        world.bigquery.rejects_failures = list(failures)
        return (
            world,
            lambda process: process.finalize(opened.key),
            lambda process: process.finalize(opened.key),
        )

    _every_preemption(prepare)


@pytest.mark.parametrize("refusals", [0, 1])
def test_a_run_that_stalls_past_its_deadline_against_the_next(refusals: int) -> None:
    def prepare() -> tuple[World, Body, Body]:
        world = World()
        world.bigquery.refusals = refusals

        def late(process: Any) -> None:
            world.later(hours=1)  # the first one's deadline is past whenever the second begins
            process.run("two")

        def stalled(process: Any) -> None:
            try:
                process.run("one")
            except EtlError:
                return  # told that its run is over

        return world, stalled, late

    _every_preemption(prepare)
