"""A bucket, a source of files and the event path in memory: real arrivals, ledger, slot and loader; plan,
extraction and the BigQuery job are stood in for by what they come down to."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from etl_runner.commit.close import Closer, Done, Failure, Pending, RunKey, timestamp
from etl_runner.commit.open_run import Opener
from etl_runner.errors import EtlError, FileError, PermanentError
from etl_runner.events.arrivals import Arrival, Arrivals
from etl_runner.events.batch import Gatherer
from etl_runner.events.budget import TableOperations
from etl_runner.events.index import IndexEntry
from etl_runner.events.load import ArrivalLoader, Loaded, Planned
from etl_runner.events.object_event import ObjectEvent
from etl_runner.events.settings import EventSettings
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.document import State
from etl_runner.state.ledger import Ledger, LedgerEntry
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore
from tests.faults.world import Events, Wire

SOURCE = "sales"
TABLE = "p.d.sales"
LEASE = 600


class Bucket:
    """The source's bucket: a FileStore as far as events need one."""

    def __init__(self) -> None:
        self.files: dict[str, FileVersion] = {}
        self._generations = itertools.count(1)

    def put(self, name: str, size: int = 10) -> ObjectEvent:
        """Write an object; its event."""
        generation = str(next(self._generations))
        moment = f"2026-01-01T00:00:{int(generation) % 60:02}.{int(generation):06}+00:00"
        self.files[name] = FileVersion(f"gs://b/{name}", name, generation, size, moment)
        return ObjectEvent("gcs", "b", name, generation, size, moment, f"e{generation}")

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        names = sorted(name for name in self.files if name.startswith(prefix) and name >= start)
        return iter([self.files[name] for name in names])

    def head(self, name: str) -> FileVersion | None:
        return self.files.get(name)


class World:
    """What outlives processes."""

    def __init__(
        self, load_type: str = "transactional", order_by: str = "last_modified", **settings: Any
    ) -> None:
        self.state = MemoryObjectStore("state")
        self.bucket = Bucket()
        self.events = Events()
        self.workflows: list[str] = []
        self.poison: dict[str, EtlError] = {}
        """Name of a file to what reading it raises."""
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.settings = EventSettings(linger_seconds=0, lease_seconds=LEASE, **settings)
        self.entry = IndexEntry(SOURCE, "gcs", "b", None, "", "*", load_type, order_by, TABLE)

    @property
    def commits(self) -> list[list[tuple[str, str]]]:
        """The files that each commit made visible. Job and advance are one step here, as in the model: the
        commit protocol's own tests show that they have the effect of one."""
        state = self.state_now()
        ledger = Ledger(self.state, SOURCE)
        return [[entry.key for entry in ledger.read(replace(state, ledger=(name,)))] for name in state.ledger]

    def clock(self) -> datetime:
        return self.now

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def process(self, around: Callable[[str, Callable[[], Any]], Any] | None = None) -> Handler:
        """A process of file_arrival, whose remote calls go through ``around``."""
        return Handler(self, around or (lambda _, call: call()))

    def arrivals(self) -> Arrivals:
        return Arrivals(self.state, SOURCE)

    def state_now(self) -> State:
        return StateStore(self.state, SOURCE).read()

    def check(self) -> None:
        """Every object once, nothing waiting, the slot free."""
        wanted = Counter((file.uri, file.version) for file in self.bucket.files.values())
        assert Counter(file for files in self.commits for file in files) == wanted
        assert self.arrivals().hashes() == set()
        assert self.state_now().slot is None


class Handler:
    """The event path as one process that may die at any remote call."""

    def __init__(self, world: World, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._world = world
        state: Any = Wire(world.state, "state", around)
        self._bucket: Any = Wire(world.bucket, "bucket", around)
        self._store = StateStore(state, SOURCE, sleep=lambda _: None)
        self._ledger = Ledger(state, SOURCE)
        self._receipts = Receipts(state, SOURCE)
        self._closer = Closer(self._store, self._receipts, world.events, world.clock)
        self._plans: dict[str, tuple[FileVersion, ...]] = {}
        self._blamed: dict[str, list[tuple[str, str, str]]] = {}
        self.arrivals = Arrivals(state, SOURCE)
        self.loader = ArrivalLoader(
            world.entry,
            self._store,
            self.arrivals,
            Gatherer(
                world.entry, self.arrivals, self._ledger, lambda: self._bucket, world.settings, world.clock
            ),
            Opener(self._store, self._receipts, self._closer, lambda key: None, timedelta(seconds=LEASE)),
            self._closer,
            self,
            TableOperations(state, world.clock),
            world.settings,
            sleep=lambda seconds: None,
        )

    def deliver(self, event: ObjectEvent) -> Loaded:
        """One delivery of an event."""
        self.arrivals.note(Arrival.of(event, timestamp(self._world.now)))
        return self.load()

    def load(self) -> Loaded:
        """What a sweep does, too."""
        return self.loader.load(self._world.now + timedelta(seconds=400))

    # The steps of a run: etl_runner.events.load.RunSteps.

    def plan(self, key: RunKey, files: tuple[FileVersion, ...] | None) -> Planned:
        known = self._ledger.known(self._store.read())
        given = tuple(self._world.bucket.files.values()) if files is None else files
        self._plans[key.run_id] = tuple(file for file in given if files is None or file.key not in known)
        size = sum(file.size for file in given)
        return Planned(len(self._plans[key.run_id]), size <= self._world.settings.in_place_bytes)

    def extract(self, key: RunKey, deadline: datetime) -> None:
        for file in self._plans[key.run_id]:
            error = self._world.poison.get(file.name)
            if isinstance(error, FileError):
                blamed = FileError(str(error), file.uri, file.version)
                self._blamed.setdefault(key.run_id, []).append((file.uri, file.version, str(error)))
                raise blamed
            if error is not None:
                raise error

    def finalize(self, key: RunKey, failure: Failure | None) -> Done | Pending:
        state = self._store.read()
        slot = state.slot
        if slot is None or not slot.belongs_to(key.run_id, key.epoch):
            return self._closer.outcome_of(key, state)
        if failure is not None:
            done = self._closer.close_failed(key, {}, f"{failure.step}: {failure.message}", slot)
            assert done is not None
            return done
        files = self._plans[key.run_id]
        entries = [
            LedgerEntry(file.uri, file.version, file.size, file.modified, 1, "loaded", key.run_id)
            for file in files
        ]
        segment = self._ledger.write(key.run_id, key.epoch, entries)
        done = self._closer.advance(
            key, {"rows_loaded": len(files)}, phase="extracting", watermark=None, ledger_segment=segment
        )
        assert done is not None
        return done

    def failures(self, key: RunKey) -> list[tuple[str, str, str]]:
        return self._blamed.get(key.run_id, [])

    def start_workflow(self, key: RunKey) -> None:
        self._world.workflows.append(key.run_id)


def broken(message: str = "not a Parquet file") -> FileError:
    """What reading a poisonous file raises; the file is put in by the reader."""
    return FileError(message)


def unblamed() -> PermanentError:
    """A failure that names no file."""
    return PermanentError("a row of some file is bad")


def changed(file: FileVersion, **fields: Any) -> FileVersion:
    return replace(file, **fields)
