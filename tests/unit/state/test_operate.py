"""What a person may change about a source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etl_runner.errors import PermanentError
from etl_runner.state.document import Slot, State
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.operate import reset, resolve
from etl_runner.state.store import StateStore


def _store(state: State) -> StateStore:
    store = StateStore(MemoryObjectStore(), "orders", sleep=lambda _: None)
    store.change(lambda _: state)
    return store


def test_resolve_ends_the_pause_and_says_what_it_was() -> None:
    store = _store(State(paused="3 rows too many"))
    assert resolve(store) == "3 rows too many"
    assert store.read().paused is None
    assert resolve(store) is None


def test_reset_sets_the_watermark() -> None:
    store = _store(State(watermark={"value": "7", "xid_horizon": "12"}, epoch=4))
    assert reset(store, "5") == ({"value": "7", "xid_horizon": "12"}, {"value": "5"})
    assert store.read() == State(watermark={"value": "5"}, epoch=4)
    reset(store, None)
    assert store.read().watermark is None


def test_reset_waits_for_the_run_that_holds_the_slot() -> None:
    held = State(watermark={"value": "7"}, slot=Slot("run", 1, "2026-01-01T00:00:00+00:00"))
    store = _store(held)
    with pytest.raises(PermanentError, match="run run holds the slot"):
        reset(store, "5")
    assert store.read() == held
    store.change(lambda state: replace(state, slot=None))
    reset(store, "5")
