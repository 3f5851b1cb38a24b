"""Choosing the new files of a large bucket: seconds and memory for a listing against a ledger.

Usage: python -m benchmarks.listing [objects]. The bucket and the ledger are in memory, so the figures are our
own work: a real listing adds one request for each thousand objects.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO

from etl_runner.config.files import FileSource
from etl_runner.config.parse import parse_source
from etl_runner.sources.base import Scope
from etl_runner.sources.files.store import FileVersion
from etl_runner.sources.files.window import Chosen, choose, matching
from etl_runner.state.document import State
from etl_runner.state.ledger import Ledger, LedgerEntry
from etl_runner.state.memory import MemoryObjectStore

NEW = 100


class Listing:
    """A bucket of so many objects, made as they are listed."""

    def __init__(self, objects: int) -> None:
        self._objects = objects

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        """All objects, in name order."""
        files = (_file(number) for number in range(self._objects))
        return (file for file in files if file.name.startswith(prefix) and file.name >= start)

    def head(self, name: str) -> FileVersion | None:
        """Nothing asks."""
        raise NotImplementedError(name)

    def open(self, file: FileVersion, start: int = 0) -> AbstractContextManager[IO[bytes]]:
        """Nothing is opened."""
        raise NotImplementedError(file.uri, start)

    def check(self) -> str:
        """Nothing asks."""
        raise NotImplementedError


def choose_new(objects: int, ledger: Ledger, state: State) -> Chosen:
    """What a run does before it looks at any file."""
    document = parse_source(
        {
            "source_type": "gcs",
            "connection_params": {"source_type": "gcs", "bucket": "inbox", "use_runner_account": True},
            "dest_table_name": "t",
            "load_type": "transactional",
            "file_pattern": "**/*.csv",
        },
        name="listing",
        source_id="listing",
    ).resolve()
    assert isinstance(document.document, FileSource)
    files = matching(Listing(objects), "in/", document.document.file_pattern)
    return choose(document.document, files, Scope(lambda: ledger.known(state)))


def ledger_of(objects: int) -> tuple[Ledger, State]:
    """A ledger that knows so many objects, in ten segments."""
    ledger = Ledger(MemoryObjectStore(), "listing")
    step = max(1, objects // 10)
    names = []
    for epoch, first in enumerate(range(0, objects, step)):
        entries = [_entry(number) for number in range(first, min(first + step, objects))]
        names.append(ledger.write("run", epoch, entries))
    return ledger, State(ledger=tuple(names))


def _file(number: int) -> FileVersion:
    name = f"in/2026/{number % 365:03}/part-{number:08}.csv"
    return FileVersion(f"gs://inbox/{name}", name, f"17{number:014}", 10_000, "2026-01-01T00:00:00.000000Z")


def _entry(number: int) -> LedgerEntry:
    file = _file(number)
    return LedgerEntry(file.uri, file.version, file.size, file.modified, 100, "loaded", "run")


def main(arguments: list[str]) -> int:
    """Measure and print."""
    objects = int(arguments[0]) if arguments else 100_000
    ledger, state = ledger_of(objects - NEW)
    began = time.perf_counter()
    chosen = choose_new(objects, ledger, state)
    seconds = time.perf_counter() - began
    tracemalloc.start()
    choose_new(objects, ledger, state)
    _, peak = tracemalloc.get_traced_memory()
    print(
        f"{chosen.matching:,} objects listed, {len(chosen.files)} of them new: {seconds:.2f} s, "
        f"at most {peak / 2**20:.0f} MB of Python objects"
    )
    return 0 if len(chosen.files) == NEW else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
