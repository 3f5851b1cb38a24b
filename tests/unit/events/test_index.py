"""Which sources an object concerns."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from etl_runner.events.index import IndexEntry, SourceIndex
from etl_runner.events.index_store import INDEX_OBJECT, IndexStore
from etl_runner.events.object_event import Dialect, ObjectEvent
from etl_runner.state.memory import MemoryObjectStore


def event(
    name: str, bucket: str = "bkt", dialect: Dialect = "gcs", account: str | None = None
) -> ObjectEvent:
    return ObjectEvent(dialect, bucket, name, "1", 1, "2026-01-01T00:00:00.000000+00:00", "e", account)


def entry(source_id: str, prefix: str = "", pattern: str = "*", **fields: Any) -> IndexEntry:
    values = {"source_type": "gcs", "bucket": "bkt", "account": None, "load_type": "transactional"}
    return IndexEntry(
        **{**values, "order_by": "name", "table": "p.d.t", **fields},
        source_id=source_id,
        prefix=prefix,
        pattern=pattern,
    )


PREFIXES = st.sampled_from(["", "a/", "a/b/", "ab/"])
PATTERNS = st.text("ab/*?.", min_size=1, max_size=5)


@given(
    st.lists(st.tuples(PREFIXES, PATTERNS, st.sampled_from(["bkt", "c"])), max_size=20),
    st.text("ab/.", min_size=1, max_size=8),
    st.sampled_from(["bkt", "c"]),
)
def test_it_agrees_with_asking_every_source(
    given_sources: list[tuple[str, str, str]], name: str, bucket: str
) -> None:
    entries = [
        entry(f"s{n:02}", prefix, pattern, bucket=where)
        for n, (prefix, pattern, where) in enumerate(given_sources)
    ]
    arrived = event(name, bucket)
    naive = [one for one in entries if one.matches(arrived)]
    assert SourceIndex(entries).match(arrived) == naive


def test_clouds_and_accounts_are_told_apart() -> None:
    index = SourceIndex(
        [
            entry("gcs"),
            entry("s3", source_type="s3"),
            entry("mine", source_type="azure", account="me"),
            entry("any", source_type="azure"),
        ]
    )

    def ids(arrived: ObjectEvent) -> list[str]:
        return [found.source_id for found in index.match(arrived)]

    assert ids(event("x")) == ["gcs"]
    assert ids(event("x", dialect="s3")) == ["s3"]
    assert ids(event("x", dialect="azure", account="me")) == ["any", "mine"]
    assert ids(event("x", dialect="azure", account="you")) == ["any"]


def test_five_thousand_sources_need_a_handful_of_looks() -> None:
    """Few patterns are tried, whatever the number of sources: that is what makes it fast."""
    index = SourceIndex(entry(f"s{n}", f"in/{n}/", "**/part-*.json.gz") for n in range(5_000))
    tried = []
    real = IndexEntry.matches
    try:
        IndexEntry.matches = lambda self, arrived: tried.append(self) or real(self, arrived)  # type: ignore
        began = time.perf_counter()
        (found,) = index.match(event("in/4321/2026/01/part-7.json.gz"))
        seconds = time.perf_counter() - began
    finally:
        IndexEntry.matches = real  # type: ignore[method-assign]
    assert found.source_id == "s4321"
    assert len(tried) == 1
    print(f"matched against 5,000 sources in {seconds * 1000:.3f} ms")


class Desk:
    """A config bucket and stores that watch it."""

    def __init__(self) -> None:
        self.config = MemoryObjectStore("config")
        self.state = MemoryObjectStore("state")
        self.now = 0.0
        self.store = self.another()

    def another(self) -> IndexStore:
        return IndexStore(self.config, self.state, "p", "d", lambda: self.now)

    def write(self, name: str, document: dict[str, Any]) -> None:
        self.config.delete(f"{name}.json")
        self.config.create(f"{name}.json", json.dumps(document).encode())

    def source(self, source_id: str, pattern: str = "*.csv", **fields: Any) -> None:
        document = {"source_type": "gcs", "connection": "lake", "file_pattern": pattern}
        self.write(
            f"sources/{source_id}",
            {**document, "load_type": "transactional", "dest_table_name": "sales", **fields},
        )

    def lake(self, bucket: str = "gs://bkt/in") -> None:
        self.write("connections/lake", {"source_type": "gcs", "bucket": bucket, "use_runner_account": True})

    def ids(self, name: str = "in/a.csv", max_age: float = 0.0) -> list[str]:
        self.now += 1
        return [found.source_id for found in self.store.current(max_age).match(event(name))]


def test_the_index_follows_the_documents() -> None:
    desk = Desk()
    desk.lake()
    desk.source("one")
    assert desk.ids() == ["one"]
    desk.source("two")
    assert desk.ids() == ["one", "two"]
    desk.source("two", "*.json")
    assert desk.ids() == ["one"]
    desk.lake("gs://elsewhere/in")
    assert desk.ids() == []
    desk.lake()
    desk.config.delete("sources/one.json")
    assert desk.ids("in/a.json") == ["two"]
    assert desk.store.source_ids() == ["two"]


def test_a_wrong_document_keeps_only_its_own_source_out_until_it_is_mended() -> None:
    desk = Desk()
    desk.source("one")
    assert desk.ids() == []
    desk.lake()
    assert desk.ids() == ["one"]
    desk.source("two", load_type="nonsense")
    assert desk.ids() == ["one"]
    desk.source("two")
    assert desk.ids() == ["one", "two"]


def test_databases_are_no_sources_of_files_and_are_known() -> None:
    desk = Desk()
    params = {"source_type": "postgresql", "host": "h", "database": "d", "username": "u"}
    desk.write(
        "sources/db",
        {
            "source_type": "postgresql",
            "connection_params": params,
            "load_type": "catalog",
            "source_table_name": "t",
            "dest_table_name": "t",
        },
    )
    assert desk.ids() == []
    assert desk.store.source_ids() == ["db"]


def test_another_process_reads_the_stored_index_and_no_documents() -> None:
    desk = Desk()
    desk.lake()
    desk.source("one")
    desk.ids()
    assert desk.state.read(INDEX_OBJECT) is not None
    read = []
    real = desk.config.read
    desk.config.read = lambda name: read.append(name) or real(name)  # type: ignore
    desk.store = desk.another()
    assert desk.ids() == ["one"]
    assert read == []


def test_it_is_compared_no_more_often_than_asked() -> None:
    desk = Desk()
    desk.lake()
    desk.source("one")
    assert desk.ids(max_age=30) == ["one"]
    desk.source("two")
    assert desk.ids(max_age=30) == ["one"]
    assert desk.ids(max_age=0) == ["one", "two"]
