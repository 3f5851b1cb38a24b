"""Taking over an earlier system's files: those that it has processed and that have not changed since."""

from __future__ import annotations

import pytest

from etl_runner.adopt import adopt_files, adopt_value, read_processed
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.document import Slot, State
from etl_runner.state.ledger import Ledger
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.store import StateStore

NEW, OLD = "2026-01-02T00:00:00.000000+00:00", "2026-01-01T00:00:00.500000+00:00"


def _file(name: str, modified: str = OLD) -> FileVersion:
    return FileVersion(f"gs://b/in/{name}", f"in/{name}", "1", 10, modified)


LISTED = [_file("a.csv"), _file("b.csv", NEW), _file("c.csv"), _file("d.csv")]
LISTS = {
    "array": '[{"file_name": "in/a.csv", "last_modified": "2026-01-01T00:00:00Z"},'
    ' {"uri": "gs://b/in/b.csv", "last_modified": "2026-01-01T00:00:00Z"}, "in/c.csv", "in/gone.csv"]',
    "lines": '{"name": "in/a.csv"}\n{"name": "in/b.csv", "modified": "2026-01-01 00:00:00"}\n'
    '{"file_path": "/in/c.csv"}\n{"name": "in/gone.csv"}',
    "csv": "file_name,last_modified\nin/a.csv,2026-01-01T00:00:00\nin/b.csv,2026-01-01T00:00:00\nin/c.csv,\n"
    "in/gone.csv,\n",
}


@pytest.mark.parametrize("spelling", LISTS)
def test_processed_files_enter_the_ledger_and_changed_ones_do_not(spelling: str) -> None:
    objects = MemoryObjectStore()
    store, ledger = StateStore(objects, "landing"), Ledger(objects, "landing")
    processed = read_processed(LISTS[spelling], "list")
    for _ in range(2):  # repeating it changes nothing
        done = adopt_files(store, ledger, LISTED, processed)
        assert (done.adopted, done.changed, done.gone) == (2, ("gs://b/in/b.csv",), ("in/gone.csv",))
        assert ledger.known(store.read()) == {("gs://b/in/a.csv", "1"), ("gs://b/in/c.csv", "1")}
        assert len(store.read().ledger) == 1


def test_names_alone_are_a_list_too() -> None:
    assert [item.name for item in read_processed("in/a.csv\n\nin/b.csv\n", "list")] == [
        "in/a.csv",
        "in/b.csv",
    ]


def test_a_wrong_entry_is_named() -> None:
    with pytest.raises(ConfigError, match=r"entry 2: names no file"):
        read_processed('[{"name": "a"}, {"size": 3}]', "list")
    with pytest.raises(ConfigError, match=r"entry 1: has a time that is none"):
        read_processed('[{"name": "a", "last_modified": "yesterday"}]', "list")


def test_nothing_is_adopted_while_a_run_holds_the_slot() -> None:
    objects = MemoryObjectStore()
    store = StateStore(objects, "landing")
    store.change(lambda state: State(slot=Slot("r", 1, NEW)) if state.slot is None else None)
    with pytest.raises(PermanentError, match="run r holds the slot"):
        adopt_files(store, Ledger(objects, "landing"), LISTED, read_processed("in/a.csv", "list"))
    with pytest.raises(PermanentError, match="run r holds the slot"):
        adopt_value(store, "2026-01-01")
    assert store.read().ledger == ()
