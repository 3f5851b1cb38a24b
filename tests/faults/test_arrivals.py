"""Arrivals and the slot: every file is loaded once and none is left behind, whatever dies or races."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from etl_runner.errors import RetryableError
from etl_runner.events.object_event import ObjectEvent
from tests.faults.arrivals_world import LEASE, World
from tests.faults.world import Cut, Killed


def after_the_death(world: World, events: list[ObjectEvent]) -> None:
    """The bus delivers again what was not acknowledged; later the sweep comes."""
    for event in events:
        world.process().deliver(event)
    world.later(seconds=LEASE + 1)
    world.process().load()


def calls_of_one_delivery() -> int:
    world, cut = World(), Cut()
    events = [world.bucket.put(f"{n}.csv") for n in range(3)]
    world.process(cut.around).deliver(events[0])
    return len(cut.calls)


@pytest.mark.parametrize("how", ["before", "after", "lost"])
def test_killed_at_every_call_and_delivered_again(how: str) -> None:
    total = calls_of_one_delivery()
    assert total > 15
    for at in range(total + 5):
        world = World()
        events = [world.bucket.put(f"{n}.csv") for n in range(3)]
        cut = Cut(at, how)
        with contextlib.suppress(Killed, RetryableError):
            world.process(cut.around).deliver(events[0])
        after_the_death(world, events)
        world.check()
        assert len(world.commits) <= 3, f"cut {how} {cut.calls[at] if at < len(cut.calls) else ''}"


def test_an_event_at_any_moment_of_a_load_is_not_left_behind() -> None:
    """No sweep, no further event: whoever empties the slot looks again."""
    total = calls_of_one_delivery()
    for at in range(total):
        world = World()
        first = world.bucket.put("first.csv")
        made = 0

        def around(name: str, call: Callable[[], Any], world: World = world, at: int = at) -> Any:
            nonlocal made
            number, made = made, made + 1
            if number == at:
                world.process().deliver(world.bucket.put("second.csv"))
            return call()

        world.process(around).deliver(first)
        world.check()


def test_a_burst_becomes_one_commit() -> None:
    world = World()
    events = [world.bucket.put(f"{n:05}.csv") for n in range(500)]
    holder = world.process()
    for event in events[1:]:
        holder.arrivals.note(_arrival(world, event))
    holder.deliver(events[0])
    world.check()
    assert len(world.commits) == 1


def test_duplicates_and_disorder_change_nothing() -> None:
    world = World()
    events = [world.bucket.put(f"{n}.csv") for n in range(5)]
    deliveries = events * 3
    random.Random(7).shuffle(deliveries)
    for event in deliveries:
        world.process().deliver(event)
    world.check()
    assert len(world.commits) == 5
    assert sum(receipt["rows_loaded"] for receipt in world.events.published) == 5


@pytest.mark.parametrize("seed", range(6))
def test_writers_races_faults_and_deaths_together(seed: int) -> None:
    """120 files, each delivered up to three times by four threads, 10 % of calls refused, 3 % deadly."""
    world, chance = World(), random.Random(seed)
    deliveries = [world.bucket.put(f"{n:03}.csv") for n in range(120)]
    deliveries += [event for event in deliveries for _ in range(chance.randrange(3))]
    chance.shuffle(deliveries)
    lock = threading.Lock()

    def faulty() -> Callable[[str, Callable[[], Any]], Any]:
        dead = False

        def around(name: str, call: Callable[[], Any]) -> Any:
            nonlocal dead
            with lock:
                luck = chance.random()
            if dead or luck < 0.003:
                dead = True
                raise Killed(name)
            if luck < 0.05:
                raise RetryableError("503")
            result = call()
            if luck < 0.10:
                raise RetryableError("429, after the effect")
            return result

        return around

    def bus() -> None:
        while True:
            with lock:
                if not deliveries:
                    return
                event = deliveries.pop()
            try:
                world.process(faulty()).deliver(event)
            except (Killed, RetryableError):
                with lock:
                    deliveries.insert(0, event)
                    # A dead holder's slot is taken over once its lease is over.
                    world.later(seconds=LEASE / 4)

    threads = [threading.Thread(target=bus) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.later(seconds=LEASE + 1)
    world.process().load()
    world.later(seconds=4_000)
    world.process().load()
    world.check()


def _arrival(world: World, event: ObjectEvent) -> Any:
    from etl_runner.commit.close import timestamp
    from etl_runner.events.arrivals import Arrival

    return Arrival.of(event, timestamp(world.now))
