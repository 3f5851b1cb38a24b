"""One load of a source at a time in a process, and nobody who came meanwhile is forgotten."""

from __future__ import annotations

import threading

import pytest

from etl_runner.errors import RetryableError
from etl_runner.events.load import Loaded
from etl_runner.events.turns import Turns

PATIENCE = 60


def test_who_comes_meanwhile_is_looked_after_by_the_one_who_loads() -> None:
    turns, loading, go_on = Turns(), threading.Event(), threading.Event()
    looks = 0

    def load() -> Loaded:
        nonlocal looks
        looks += 1
        loading.set()
        assert go_on.wait(PATIENCE)
        return Loaded("empty", [f"run-{looks}"], 1)

    done: list[Loaded] = []
    holder = threading.Thread(target=lambda: done.append(turns.take("sales", load)))
    holder.start()
    assert loading.wait(PATIENCE)
    for _ in range(5):
        assert turns.take("sales", load).status == "held"
    assert turns.take("other", lambda: Loaded("empty")).status == "empty"
    go_on.set()
    holder.join(PATIENCE)
    assert looks == 2  # five came while the first look went on: one more look is enough for them
    assert done == [Loaded("empty", ["run-1", "run-2"], 2)]
    turns.take("sales", load)
    assert looks == 3


def test_a_failure_gives_the_turn_back() -> None:
    turns = Turns()

    def fail() -> Loaded:
        assert turns.take("sales", fail).status == "held"
        raise RetryableError("503")

    for _ in range(2):
        with pytest.raises(RetryableError):
            turns.take("sales", fail)


def test_who_is_out_of_time_stops() -> None:
    turns = Turns()
    looks = []

    def late() -> Loaded:
        looks.append(turns.take("sales", late).status)
        return Loaded("time_up")

    assert turns.take("sales", late).status == "time_up"
    assert looks == ["held"]
