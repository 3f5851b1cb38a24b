"""The state document and its compare-and-swap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import CorruptStateError, RetryableError
from etl_runner.state.document import Last, Slot, State
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.store import StateStore, state_name

slots = st.builds(
    Slot,
    st.text(min_size=1),
    st.integers(1),
    st.just("2026-01-01T00:00:00+00:00"),
    st.sampled_from(["extracting", "committing"]),
    st.integers(0, 1),
    st.integers(1, 9),
)
lasts = st.builds(
    Last,
    st.text(),
    st.integers(1),
    st.sampled_from(["ok", "failed"]),
    st.dictionaries(st.text(), st.integers() | st.text()),
)
states = st.builds(
    State,
    st.none() | st.dictionaries(st.text(), st.text()),
    st.lists(st.text()).map(tuple),
    st.integers(0),
    st.none() | slots,
    st.none() | lasts,
    st.none() | st.text(),
)


@given(states)
def test_a_state_comes_back_as_it_was_written(state: State) -> None:
    assert State.from_json(state.to_json(), "state.json") == state


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "slot": 3}'])
def test_what_is_no_state_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(CorruptStateError, match=r"sources/orders/state\.json"):
        State.from_json(data, "sources/orders/state.json")


def test_a_state_of_a_later_release_is_refused() -> None:
    data = State().to_json().replace(b'"version":1', b'"version":2')
    with pytest.raises(CorruptStateError, match="deploy the release that wrote it"):
        State.from_json(data, "state.json")


class _Rival(MemoryObjectStore):
    """Writes in between, or loses responses, as often as told."""

    def __init__(self, rivals: int = 0, lost: int = 0) -> None:
        super().__init__()
        self.rivals = rivals
        self.lost = lost

    def replace(self, name: str, data: bytes, generation: int) -> int:
        if self.rivals:
            self.rivals -= 1
            stored = self.read(name)
            assert stored is not None
            theirs = State.from_json(stored.data, name)
            super().replace(name, replace(theirs, epoch=theirs.epoch + 100).to_json(), stored.generation)
        written = super().replace(name, data, generation)
        if self.lost:
            self.lost -= 1
            raise RetryableError("the response was lost")
        return written


def _counting(store: StateStore) -> State:
    return store.change(lambda state: replace(state, epoch=state.epoch + 1))


def test_a_change_sees_what_others_wrote_meanwhile() -> None:
    objects = _Rival()
    store = StateStore(objects, "orders", sleep=lambda _: None)
    _counting(store)
    objects.rivals = 3
    assert _counting(store).epoch == 302
    assert store.read().epoch == 302


def test_a_lost_response_is_not_a_verdict() -> None:
    objects = _Rival()
    store = StateStore(objects, "orders", sleep=lambda _: None)
    _counting(store)
    objects.lost = 1
    asked: list[int] = []

    def decide(state: State) -> State | None:
        asked.append(state.epoch)
        return None if state.epoch == 9 else replace(state, epoch=9)

    assert store.change(decide).epoch == 9
    assert asked == [1, 9]


def test_contention_ends_with_an_error_that_can_be_retried() -> None:
    objects = _Rival()
    store = StateStore(objects, "orders", sleep=lambda _: None)
    _counting(store)
    objects.rivals = 100
    with pytest.raises(RetryableError, match="state of source orders"):
        _counting(store)


def test_nothing_is_written_when_nothing_is_wanted() -> None:
    objects = MemoryObjectStore()
    wanted: Any = StateStore(objects, "orders").change(lambda _: None)
    assert wanted == State()
    assert objects.read(state_name("orders")) is None
