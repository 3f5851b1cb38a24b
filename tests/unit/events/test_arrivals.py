"""Arrivals in the state bucket: what a listing tells, and of how many sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etl_runner.events.arrivals import Arrival, Arrivals, sources_with_arrivals
from etl_runner.events.handle import sweep
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectInfo, StoredObject


class Counting(MemoryObjectStore):
    """Counts listings, and reads of arrivals."""

    def __init__(self) -> None:
        super().__init__("state")
        self.lists: list[str] = []
        self.reads: list[str] = []

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.lists.append(prefix)
        return super().list(prefix)

    def read(self, name: str) -> StoredObject | None:
        if name.startswith("arrivals/"):
            self.reads.append(name)
        return super().read(name)


def arrival(name: str) -> Arrival:
    return Arrival(f"gs://b/{name}", name, "7", 3, "2026-01-01T00:00:00+00:00", "gcs", "e", "now")


def test_a_listing_tells_all_of_an_arrival() -> None:
    state = Counting()
    arrivals = Arrivals(state, "sales")
    wanted = [arrival("a.csv"), arrival("é☃\U0001f600 \n.csv")]
    assert [arrivals.note(one) for one in wanted] == [True, True]
    assert not arrivals.note(wanted[0])
    assert sorted(arrivals.all(), key=lambda one: one.name) == wanted
    assert arrivals.listed() == {one.hash: one for one in wanted}
    assert state.reads == []


def test_a_name_too_long_for_metadata_is_read() -> None:
    state = Counting()
    arrivals = Arrivals(state, "sales")
    long = arrival("\x01" * 1_000)
    arrivals.note(long)
    assert arrivals.listed() == {long.hash: None}
    assert arrivals.all() == [long]
    assert len(state.reads) == 1


def test_one_listing_tells_which_of_many_sources_have_arrivals() -> None:
    state = Counting()
    for number in range(40):
        Arrivals(state, f"s{number}").note(arrival("a.csv"))
    assert sources_with_arrivals(state) == {f"s{number}" for number in range(40)}
    assert state.lists == ["arrivals/"]


def test_a_sweep_of_many_quiet_sources_lists_arrivals_once(monkeypatch: Any) -> None:
    from etl_runner import operations

    class Parts:
        """As much of EventParts as a sweep touches while nothing is to be done."""

        def __init__(self) -> None:
            self.state = Counting()
            self.deployment = self
            self.index = self
            self.settings = self
            self.entries = {f"s{number}": object() for number in range(500)}
            self.run_seconds = 60

        def current(self, max_age: float) -> Any:
            return self

        def source_ids(self) -> list[str]:
            return sorted(self.entries)

        def store(self, source_id: str) -> Any:
            from etl_runner.state.store import StateStore

            return StateStore(self.state, source_id)

    monkeypatch.setattr(operations, "drain_history", lambda deployment, request: {})
    parts: Any = Parts()
    answer = sweep(parts)
    assert (answer["seen"], answer["sources"]) == (500, [])
    assert parts.state.lists == ["arrivals/"]
