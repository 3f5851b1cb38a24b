"""The ledger's segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import CorruptStateError
from etl_runner.state.document import Slot, State
from etl_runner.state.ledger import COMPACT_FROM, Ledger, LedgerEntry
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.notes import REPORTS, Note, Notes
from etl_runner.state.store import StateStore

text = st.text(st.characters(exclude_categories=["Cs"]))
entries = st.builds(
    LedgerEntry, text, text, st.integers(0, 2**62), text, st.integers(0, 2**62), text, st.just("run")
)


def _entry(number: int) -> LedgerEntry:
    return LedgerEntry(f"gs://b/{number}.csv", str(number), 10, "2026-01-01T00:00:00Z", 3, "loaded", "r")


@given(st.lists(st.lists(entries, max_size=5), max_size=4))
def test_entries_come_back_in_order(segments: list[list[LedgerEntry]]) -> None:
    ledger = Ledger(MemoryObjectStore(), "files")
    names = tuple(ledger.write("run", epoch, segment) for epoch, segment in enumerate(segments))
    state = State(ledger=names)
    wanted = [entry for segment in segments for entry in segment]
    assert list(ledger.read(state)) == wanted
    assert ledger.known(state) == {entry.key for entry in wanted}


def test_a_segment_that_the_state_does_not_list_does_not_count() -> None:
    ledger = Ledger(MemoryObjectStore(), "files")
    listed = ledger.write("one", 1, [_entry(1)])
    ledger.write("two", 2, [_entry(2)])
    assert list(ledger.read(State(ledger=(listed,)))) == [_entry(1)]


def test_the_first_writer_of_a_segment_stands() -> None:
    ledger = Ledger(MemoryObjectStore(), "files")
    name = ledger.write("one", 1, [_entry(1)])
    assert ledger.write("one", 1, [_entry(2)]) == name
    assert list(ledger.read(State(ledger=(name,)))) == [_entry(1)]


def test_a_lost_segment_is_told_by_name() -> None:
    ledger = Ledger(MemoryObjectStore("state"), "files")
    with pytest.raises(CorruptStateError, match=r"gs://state/sources/files/ledger/1-a\.parquet is gone"):
        ledger.known(State(ledger=("sources/files/ledger/1-a.parquet",)))


def _filled(segments: int) -> tuple[Ledger, StateStore]:
    objects = MemoryObjectStore()
    ledger = Ledger(objects, "files")
    names = tuple(ledger.write(f"r{n}", n, [_entry(n)]) for n in range(segments))
    store = StateStore(objects, "files", sleep=lambda _: None)
    store.change(lambda state: replace(state, ledger=names, epoch=segments))
    return ledger, store


def test_compaction_keeps_every_entry() -> None:
    ledger, store = _filled(COMPACT_FROM)
    before = list(ledger.read(store.read()))
    assert ledger.compact(store)
    assert len(store.read().ledger) == 1
    assert list(ledger.read(store.read())) == before
    assert not ledger.compact(store)


def test_compaction_waits_for_a_run_and_for_enough_segments() -> None:
    ledger, store = _filled(COMPACT_FROM - 1)
    assert not ledger.compact(store)
    ledger, store = _filled(COMPACT_FROM)
    held = Slot("run", COMPACT_FROM + 1, "2026-01-01T00:00:00+00:00")
    store.change(lambda state: state.with_slot(held))
    assert not ledger.compact(store)
    assert len(store.read().ledger) == COMPACT_FROM


class _Sea:
    """A source that commits a file a run and compacts its ledger after each, as finalize does."""

    def __init__(self) -> None:
        self.objects = MemoryObjectStore()
        self.ledger = Ledger(self.objects, "files")
        self.store = StateStore(self.objects, "files", sleep=lambda _: None)
        self.epoch = 0

    def commit(self, runs: int) -> None:
        for _ in range(runs):
            self.epoch += 1
            name = self.ledger.write(f"r{self.epoch}", self.epoch, [_entry(self.epoch)])
            self.store.change(self._listing(name))
            self.ledger.compact(self.store)

    def _listing(self, name: str) -> Callable[[State], State]:
        return lambda state: replace(state, ledger=(*state.ledger, name), epoch=self.epoch)

    def segments(self) -> set[str]:
        prefix = "sources/files/ledger/"
        return {info.name.removeprefix(prefix) for info in self.objects.list(prefix)}


def test_segments_are_deleted_one_compaction_after_they_were_replaced() -> None:
    sea = _Sea()
    sea.objects.create("sources/files/ledger/0-adopted-1.parquet", b"not yet listed")
    sea.objects.create("sources/files/ledger/3-zombie.parquet", b"never listed")
    sea.commit(COMPACT_FROM)
    first = {f"{n}-r{n}.parquet" for n in range(1, COMPACT_FROM + 1)}
    compacted = f"{COMPACT_FROM}-compacted.parquet"
    assert sea.segments() >= first | {compacted}  # whoever has just read the state reads them still
    sea.commit(COMPACT_FROM - 1)
    assert len(sea.store.read().ledger) == 1
    again = f"{sea.epoch}-compacted.parquet"
    second = {f"{n}-r{n}.parquet" for n in range(COMPACT_FROM + 1, sea.epoch + 1)}
    assert sea.segments() == {"0-adopted-1.parquet", compacted, again} | second
    assert sea.ledger.known(sea.store.read()) == {_entry(n).key for n in range(1, sea.epoch + 1)}


def test_segments_that_history_or_reports_wait_for_stay() -> None:
    sea = _Sea()
    Notes(sea.objects).leave(Note("files", 7, "r7"))
    Notes(sea.objects).leave(Note("files-too", 8, "r8"))
    sea.objects.create(f"{REPORTS}files.r9.json", b"{}")
    sea.commit(2 * COMPACT_FROM)
    kept = {name for name in sea.segments() if int(name.partition("-")[0]) < COMPACT_FROM}
    assert kept == {"7-r7.parquet", "9-r9.parquet"}


def test_what_a_death_left_is_deleted_the_next_time() -> None:
    sea = _Sea()
    sea.commit(COMPACT_FROM)
    delete = sea.objects.delete

    def die(name: str) -> None:
        delete(name)
        raise RuntimeError("killed")

    sea.objects.delete = die  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        sea.commit(COMPACT_FROM - 1)
    sea.objects.delete = delete  # type: ignore[method-assign]
    assert "2-r2.parquet" in sea.segments()
    sea.commit(COMPACT_FROM)
    assert not {f"{n}-r{n}.parquet" for n in range(1, COMPACT_FROM)} & sea.segments()
    assert sea.ledger.known(sea.store.read()) == {_entry(n).key for n in range(1, sea.epoch + 1)}


def test_compaction_keeps_what_was_appended_and_the_order_of_commits() -> None:
    """Rows of a file count from its last ``replaced`` on."""
    ledger, store = _filled(COMPACT_FROM)
    again = [
        replace(_entry(3), outcome="appended", run_id="a"),
        replace(_entry(3), outcome="replaced", run_id="b", rows=5),
        replace(_entry(3), outcome="appended", run_id="c"),
        replace(_entry(3), outcome="appended", run_id="d"),
    ]
    names = [ledger.write(entry.run_id, 100 + n, [entry]) for n, entry in enumerate(again)]
    store.change(lambda state: replace(state, ledger=(*state.ledger, *names), epoch=200))
    assert ledger.compact(store)
    kept = [(e.run_id, e.rows) for e in ledger.read(store.read()) if e.uri == _entry(3).uri]
    assert kept == [("a", 3), ("b", 5), ("c", 3), ("d", 3)]
