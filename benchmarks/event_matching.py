"""How long an object event takes to find its sources among thousands, whose documents are not read."""

from __future__ import annotations

import json
import statistics
import time

from etl_runner.events.index import IndexEntry, SourceIndex
from etl_runner.events.index_store import IndexStore
from etl_runner.events.object_event import ObjectEvent
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import StoredObject

SOURCES = 5_000
EVENTS = 2_000


def matching() -> str:
    """One line: the median and the worst of many events, and what a new process needs for its index."""
    index = SourceIndex(_entry(number) for number in range(SOURCES))
    times = []
    for number in range(EVENTS):
        event = _event(f"in/{number * 7 % SOURCES}/2026/01/part-7.json.gz")
        began = time.perf_counter()
        found = index.match(event)
        times.append(time.perf_counter() - began)
        if len(found) != 1:
            raise SystemExit(f"{event.name} matched {len(found)} sources")
    seconds, documents = _new_process()
    return (
        f"an event among {SOURCES} sources: median {statistics.median(times) * 1e3:.3f} ms, "
        f"worst of {EVENTS} {max(times) * 1e3:.3f} ms; a new process has the stored index after "
        f"{seconds * 1e3:.0f} ms without the network, {documents} documents read"
    )


class _Counting(MemoryObjectStore):
    """The config bucket; counts the documents that are read."""

    reads = 0

    def read(self, name: str) -> StoredObject | None:
        self.reads += 1
        return super().read(name)


def _new_process() -> tuple[float, int]:
    config, state = _Counting("config"), MemoryObjectStore("state")
    lake = {"source_type": "gcs", "bucket": "gs://landing", "use_runner_account": True}
    config.create("connections/lake.json", json.dumps(lake).encode())
    for number in range(SOURCES):
        document = {
            "source_type": "gcs",
            "connection": "lake",
            "file_pattern": f"in/{number}/**/part-*.json.gz",
            "file_format": "jsonl",
            "load_type": "transactional",
            "dest_table_name": f"t{number}",
        }
        config.create(f"sources/s{number}.json", json.dumps(document).encode())
    IndexStore(config, state, "p", "d").current()
    config.reads = 0
    began = time.perf_counter()
    found = IndexStore(config, state, "p", "d").current().match(_event("in/77/2026/part-1.json.gz"))
    seconds = time.perf_counter() - began
    if [one.source_id for one in found] != ["s77"]:
        raise SystemExit("the stored index does not know source s77")
    return seconds, config.reads


def _entry(number: int) -> IndexEntry:
    pattern = "**/part-*.json.gz"
    return IndexEntry(
        f"s{number}",
        "gcs",
        "landing",
        None,
        f"in/{number}/",
        pattern,
        "transactional",
        "name",
        f"p.d.t{number}",
    )


def _event(name: str) -> ObjectEvent:
    return ObjectEvent("gcs", "landing", name, "1", 10, "2026-01-01T00:00:00.000000+00:00", "e")
