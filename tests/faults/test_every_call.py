"""Cut every remote call of a run, one after the other: recorded, not listed by hand."""

from __future__ import annotations

import pytest

from etl_runner.commit.open_run import Finished
from tests.faults.world import Cut, Killed, World

SHAPES = [
    ("append", "load"),
    ("append", "staged"),
    ("append", "direct"),
    ("replace", "load"),
    ("replace", "staged"),
    ("replace", "direct"),
    ("replace", "direct, uncounted"),
    ("merge", "staged"),
    ("merge", "direct"),
    ("replace_range", "staged"),
]
"""Disposition and way: one load, a load and a query, or BigQuery reading the source itself."""


def _world(disposition: str, way: str, *, loaded: bool, rejects: int = 0) -> World:
    world = World(disposition=disposition, staged=way == "staged")
    world.rejects = rejects
    if way.startswith("direct"):
        world.direct = "uncounted" if way.endswith("uncounted") else "counted"
    if loaded:
        world.process().run("first")
        world.check()
        world.rows += 4
    return world


def _calls(disposition: str, way: str, *, loaded: bool) -> list[str]:
    cut = Cut()
    _world(disposition, way, loaded=loaded).process(cut).run("run")
    return cut.calls


@pytest.mark.parametrize("loaded", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(("disposition", "way"), SHAPES)
@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("recovery", ["same run again", "next run", "next run after new rows"])
def test_killed_at_every_call_then_repeated(
    disposition: str, way: str, loaded: bool, how: str, recovery: str
) -> None:
    calls = _calls(disposition, way, loaded=loaded)
    assert len(calls) > 15
    for at in range(len(calls)):
        world = _world(disposition, way, loaded=loaded)
        with pytest.raises(Killed):
            world.process(Cut(at, how)).run("run")
        if recovery == "same run again":
            world.process().run("run")
        else:
            if recovery == "next run after new rows":
                world.rows += 3
            world.later(hours=2)
        world.process().run("next")
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"killed {how} call {at}, {calls[at]}: {error}") from error


@pytest.mark.parametrize("loaded", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(("disposition", "way"), SHAPES)
def test_every_response_lost_then_retried(disposition: str, way: str, loaded: bool) -> None:
    calls = _calls(disposition, way, loaded=loaded)
    for at in range(len(calls)):
        world = _world(disposition, way, loaded=loaded)
        world.process(Cut(at, "lost")).run("run")
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"response {at} lost, {calls[at]}: {error}") from error


def test_every_receipt_is_written_whatever_call_is_killed() -> None:
    calls = _calls("append", "load", loaded=False)
    for at in range(len(calls)):
        world = World()
        with pytest.raises(Killed):
            world.process(Cut(at, "after")).run("run")
        world.later(hours=2)
        process = world.process()
        process.run("next")
        ended = process.run("run")
        assert isinstance(ended, Finished) or world.rows == 5
        world.check()
        told = {event["run_id"] for event in world.events.published}
        assert "next" in told


def _rejecting(all_bad: bool, failures: list[str]) -> World:
    world = _world("append", "load", loaded=True, rejects=2)
    world.all_bad = all_bad
    world.bigquery.rejects_failures = list(failures)
    return world


ENDS = [[], ["backendError"], ["invalid"], ["refused"], ["backendError"] * 50]


@pytest.mark.parametrize("failures", ENDS, ids=["well", "again", "for good", "refused", "always"])
@pytest.mark.parametrize("all_bad", [False, True], ids=["some", "all"])
@pytest.mark.parametrize("how", ["before", "after", "lost"])
def test_rejects_are_loaded_once_whatever_call_is_cut(all_bad: bool, failures: list[str], how: str) -> None:
    cut = Cut()
    _rejecting(all_bad, failures).process(cut).run("run")
    assert any(call == "bigquery.insert" for call in cut.calls)
    for at in range(len(cut.calls)):
        world = _rejecting(all_bad, failures)
        if how == "lost":
            world.process(Cut(at, how)).run("run")
        else:
            with pytest.raises(Killed):
                world.process(Cut(at, how)).run("run")
        world.later(hours=2)
        world.process().run("run")
        world.process().run("next")
        try:
            world.check_rejects()
            state = world.process().store.read()
            assert state.slot is None
            assert state.watermark == {"value": world.rows}
            if not all_bad:
                world.check()
        except AssertionError as error:
            raise AssertionError(f"{how} call {at}, {cut.calls[at]}: {error}") from error
