"""Arrivals: object events that are not committed yet, and what became of those that cannot be.

Objects of the state bucket::

    arrivals/<id>/<hash>.json                      create-only; hash of uri and version. What it says is
                                                   in its metadata too, so that a listing tells all of it
    sources/<id>/attempts/<hash>/<run_id>.json     create-only: a run that failed because of the file
    sources/<id>/set_aside/<hash>.json             create-only: the file is not tried any more, and why

Failures that no file is to blame for are counted under the hash ``source``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from etl_runner import jsontypes
from etl_runner.errors import ObjectExists
from etl_runner.events.object_event import ObjectEvent
from etl_runner.state.objects import ObjectInfo, ObjectStore

SOURCE_KEY = "source"
_CONNECTIONS = 16
_FOLDER = "arrivals/"
"""Of all sources, so that one listing tells which have any."""
_METADATA = "arrival"
_MOST_METADATA = 7 << 10
"""Bytes of metadata; Cloud Storage takes 8 KiB."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One version of one object that is to be loaded. ``time`` is the event's, ``noted`` when it was
    written down, both RFC 3339 in UTC."""

    uri: str
    name: str
    version: str
    size: int
    time: str
    dialect: str
    event_id: str
    noted: str

    @property
    def key(self) -> tuple[str, str]:
        """As in the ledger."""
        return self.uri, self.version

    @property
    def hash(self) -> str:
        """The object's name among the arrivals."""
        return file_hash(self.uri, self.version)

    @classmethod
    def of(cls, event: ObjectEvent, noted: str) -> Arrival:
        """The arrival of an event."""
        return cls(
            event.uri,
            event.name,
            event.version,
            event.size,
            event.time,
            event.dialect,
            event.event_id,
            noted,
        )


def file_hash(uri: str, version: str) -> str:
    """32 hex digits for one version of one object."""
    return hashlib.sha256(jsontypes.dumps([uri, version])).hexdigest()[:32]


@dataclass(frozen=True)
class Attempts:
    """How often a file has failed, and when (RFC 3339) and why it did last."""

    count: int = 0
    last: str = ""
    reason: str = ""


SetAsideKind = Literal["poisonous", "deleted", "replaced"]


@dataclass(frozen=True)
class SetAside:
    """A file that is not tried any more. ``poisonous`` ones can be replayed; the others are gone."""

    arrival: Arrival
    kind: SetAsideKind
    reason: str
    attempts: int
    at: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def sources_with_arrivals(objects: ObjectStore) -> set[str]:
    """The ids of all sources that have arrivals: one listing, however many sources there are."""
    return {info.name[len(_FOLDER) :].partition("/")[0] for info in objects.list(_FOLDER)}


class Arrivals:
    """One source's arrivals in the state bucket."""

    def __init__(self, objects: ObjectStore, source_id: str) -> None:
        self._objects = objects
        self._folder = f"{_FOLDER}{source_id}/"
        self._attempts = f"sources/{source_id}/attempts/"
        self._aside = f"sources/{source_id}/set_aside/"

    def note(self, arrival: Arrival) -> bool:
        """Write an arrival down; False when it was there already."""
        name, data = f"{self._folder}{arrival.hash}.json", jsontypes.dumps(asdict(arrival))
        # In ASCII, whatever the file's name: not all ways that metadata takes know anything else.
        text = json.dumps(asdict(arrival), separators=(",", ":"))
        metadata = {_METADATA: text} if len(text) <= _MOST_METADATA else None
        try:
            self._objects.create(name, data, metadata=metadata)
        except ObjectExists:
            return False
        return True

    def any(self) -> bool:
        """Whether there is an arrival at all: one listing call, nothing is read."""
        return next(iter(self._objects.list(self._folder)), None) is not None

    def hashes(self) -> set[str]:
        """The names of all arrivals: a listing, nothing is read."""
        return {_stem(info.name) for info in self._objects.list(self._folder)}

    def listed(self) -> dict[str, Arrival | None]:
        """All arrivals by their names, from a listing alone; None for one that has to be read."""
        return {_stem(info.name): _told(info) for info in self._objects.list(self._folder)}

    def read(self, hashes: Iterable[str]) -> list[Arrival]:
        """The arrivals of these names; one that is gone meanwhile is left out."""
        names = [f"{self._folder}{one}.json" for one in hashes]
        if not names:
            return []
        with ThreadPoolExecutor(min(_CONNECTIONS, len(names))) as pool:
            found = list(pool.map(self._objects.read, names))
        return [Arrival(**jsontypes.loads(stored.data)) for stored in found if stored is not None]

    def all(self) -> list[Arrival]:
        """Every arrival, in no order."""
        listed = self.listed()
        told = [arrival for arrival in listed.values() if arrival is not None]
        return [*told, *self.read(key for key, arrival in listed.items() if arrival is None)]

    def forget(self, hashes: Iterable[str]) -> None:
        """Delete arrivals; one that is gone already is no error."""
        names = [f"{self._folder}{one}.json" for one in hashes]
        if names:
            with ThreadPoolExecutor(min(_CONNECTIONS, len(names))) as pool:
                list(pool.map(self._objects.delete, names))

    def note_failure(self, key: str, run_id: str, at: str, reason: str) -> None:
        """Count a run that failed because of the file of hash ``key`` (or of :data:`SOURCE_KEY`)."""
        try:
            self._objects.create(
                f"{self._attempts}{key}/{run_id}.json", jsontypes.dumps({"at": at, "reason": reason})
            )
        except ObjectExists:
            return

    def attempts(self) -> dict[str, Attempts]:
        """All counts, by hash: empty, and one listing call, as long as nothing has failed."""
        names: dict[str, list[str]] = {}
        for info in self._objects.list(self._attempts):
            names.setdefault(info.name[len(self._attempts) :].partition("/")[0], []).append(info.name)
        found = {}
        for key, runs in names.items():
            read = [jsontypes.loads(stored.data) for name in runs if (stored := self._objects.read(name))]
            if read:
                last = max(read, key=lambda value: str(value["at"]))
                found[key] = Attempts(len(read), last["at"], last["reason"])
        return found

    def clear_failures(self, key: str) -> None:
        """Forget the failures of a file, or of the source."""
        for info in list(self._objects.list(f"{self._attempts}{key}/")):
            self._objects.delete(info.name)

    def set_aside(self, entry: SetAside) -> None:
        """Take a file out of the arrivals and keep why. Killed in between, it is still an arrival, and is set
        aside once more."""
        one = entry.arrival.hash
        with contextlib.suppress(ObjectExists):  # the first reason stands
            self._objects.create(f"{self._aside}{one}.json", jsontypes.dumps(entry.to_json()))
        self.forget([one])
        self.clear_failures(one)

    def all_set_aside(self) -> list[SetAside]:
        """Everything that was set aside, oldest first."""
        found = []
        for info in self._objects.list(self._aside):
            stored = self._objects.read(info.name)
            if stored is not None:
                value = jsontypes.loads(stored.data)
                found.append(SetAside(**{**value, "arrival": Arrival(**value["arrival"])}))
        return sorted(found, key=lambda entry: entry.at)

    def set_aside_hashes(self) -> set[str]:
        """The names of what was set aside."""
        return {_stem(info.name) for info in self._objects.list(self._aside)}

    def replay(self, entry: SetAside) -> None:
        """Make an arrival again of what was set aside. Killed in between, it is still set aside: replay it
        again."""
        self.note(entry.arrival)
        self._objects.delete(f"{self._aside}{entry.arrival.hash}.json")


def _told(info: ObjectInfo) -> Arrival | None:
    text = info.metadata.get(_METADATA)
    return None if text is None else Arrival(**json.loads(text))


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")
