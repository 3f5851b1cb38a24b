"""Keeping the index of sources true: built from the config bucket, stored for the next process.

The index remembers from which generations of which documents it was made. It is compared with a listing of
the config bucket, and only the documents that changed are read again; a document that is wrong keeps its
source out of the index, and is tried again when it changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from etl_runner import jsontypes
from etl_runner.config.names import DOCUMENT_ENDINGS
from etl_runner.errors import ConfigError, PermanentError, StoreConflict
from etl_runner.events.index import IndexEntry, SourceIndex, entry_of
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

INDEX_OBJECT = "events/index.json"
INDEX_FORMAT = 1
MATCHED_AGE = 30.0
"""Seconds after which an index that has an answer is compared with the documents again."""
UNMATCHED_AGE = 2.0
"""... and one that knows no source for an object: its document may have been written just now."""
_READERS = 16


@dataclass(frozen=True)
class _Known:
    """One source: its entry, if it has one, and the generations of the documents that were read for it."""

    entry: IndexEntry | None
    documents: dict[str, int]
    wrong: bool = False
    """The documents could not be used; any connection may be the one that is missing or wrong."""


class IndexStore:
    """The index of one deployment. Safe for threads."""

    def __init__(
        self,
        config: ObjectStore,
        state: ObjectStore,
        project: str,
        dataset: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._state = state
        self._project = project
        self._dataset = dataset
        self._clock = clock
        self._lock = threading.Lock()
        self._listing: dict[str, int] | None = None
        self._known: dict[str, _Known] = {}
        self._index = SourceIndex(())
        self._checked = float("-inf")

    def current(self, max_age: float = MATCHED_AGE) -> SourceIndex:
        """The index, compared with the documents at most ``max_age`` seconds ago.

        Raises:
            RetryableError, PermanentError: a bucket cannot be read.
        """
        asked = self._clock()
        with self._lock:
            if self._checked < asked - max_age:
                self._refresh()
                self._checked = asked
            return self._index

    def source_ids(self) -> list[str]:
        """Every source that has a document, of files or not, as of the last comparison."""
        with self._lock:
            return sorted(self._known)

    def _refresh(self) -> None:
        listing = {
            info.name: info.generation
            for folder in ("sources/", "connections/")
            for info in self._config.list(folder)
            if info.name.endswith(DOCUMENT_ENDINGS)
        }
        if listing == self._listing:
            return
        stored = self._state.read(INDEX_OBJECT)
        if self._listing is None and stored is not None:
            self._known = _read(stored.data)
        wanted = sorted(
            {name[len("sources/") : name.rindex(".")] for name in listing if name.startswith("sources/")}
        )
        stale = [name for name in wanted if not self._holds(name, listing)]
        with ThreadPoolExecutor(_READERS) as pool:
            fresh = dict(zip(stale, pool.map(lambda name: self._load(name, listing), stale), strict=True))
        changed = bool(fresh) or set(self._known) != set(wanted)
        self._known = {name: fresh.get(name) or self._known[name] for name in wanted}
        self._index = SourceIndex(known.entry for known in self._known.values() if known.entry is not None)
        self._listing = listing
        if changed:
            self._store(None if stored is None else stored.generation)

    def _holds(self, source_id: str, listing: dict[str, int]) -> bool:
        known = self._known.get(source_id)
        if known is None:
            return False
        names = listing if known.wrong else known.documents
        return known.documents == _documents(names, source_id, listing)

    def _load(self, source_id: str, listing: dict[str, int]) -> _Known:
        # Documents' models take a quarter of a second to import; an index that is up to date needs none.
        from etl_runner.config.load import load_source

        entry = None
        connection: str | None = None
        try:
            resolved = load_source(self._config, source_id)
            connection = resolved.document.connection
            entry = entry_of(resolved, self._project, self._dataset)
        except (ConfigError, PermanentError) as error:
            # It is reported when it is run; here it only means that no event can concern it.
            log.warning("source %s takes no events: %s", source_id, error)
            return _Known(None, _documents(listing, source_id, listing), wrong=True)
        names = [f"connections/{connection}{ending}" for ending in DOCUMENT_ENDINGS] if connection else []
        return _Known(entry, _documents(names, source_id, listing))

    def _store(self, generation: int | None) -> None:
        data = jsontypes.dumps(
            {
                "format": INDEX_FORMAT,
                "sources": {
                    name: {
                        "entry": None if known.entry is None else known.entry.to_json(),
                        "documents": known.documents,
                        "wrong": known.wrong,
                    }
                    for name, known in self._known.items()
                },
            }
        )
        try:
            if generation is None:
                self._state.create(INDEX_OBJECT, data)
            else:
                self._state.replace(INDEX_OBJECT, data, generation)
        except StoreConflict:
            # Another process wrote its own; either saves the next one some reading, and no more than that.
            log.debug("the index was written by another process")


def _documents(names: Iterable[str], source_id: str, listing: dict[str, int]) -> dict[str, int]:
    own = [f"sources/{source_id}{ending}" for ending in DOCUMENT_ENDINGS]
    connections = [name for name in names if name.startswith("connections/")]
    return {name: listing[name] for name in (*own, *connections) if name in listing}


def _read(data: bytes) -> dict[str, _Known]:
    value = jsontypes.loads(data)
    if value.get("format") != INDEX_FORMAT:
        return {}
    return {
        name: _Known(
            None if known["entry"] is None else IndexEntry.from_json(known["entry"]),
            known["documents"],
            known["wrong"],
        )
        for name, known in value["sources"].items()
    }
