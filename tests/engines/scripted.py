"""A source that follows a script, for workers in whatever process or host the engine puts them.

What happened so far is kept in files, one for each unit with a line for each attempt, so that the script
goes on where it was when a worker is killed and another one takes the unit.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.execution.task import TaskOptions
from etl_runner.execution.worker import Parts
from etl_runner.gcp.clients import storage_client
from etl_runner.gcp.objects import GcsObjectStore
from etl_runner.planning.plan import WorkUnit
from etl_runner.settings import Settings
from etl_runner.sources.base import Rows
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectStore
from tests.unit.execution.worlds import FakeSource

Script = Mapping[str, tuple[str, ...]]
"""Unit to what its attempts do, one after the other: ``fail`` (may pass), ``refuse`` (final), ``hang`` (until
the process is killed, or the file ``go`` appears in the folder); what is not scripted succeeds."""
STORES: dict[str, MemoryObjectStore] = {}
"""Stores in this process's memory, for engines that stay in it."""


class ScriptedSource(FakeSource):
    """Serves a plan's ranges, with the script's trouble in the middle of a unit."""

    def __init__(self, folder: Path, script: Script) -> None:
        super().__init__()
        self._folder = folder
        self._script = script

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        log = self._folder / unit.id
        with log.open("a") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}\n")
        attempt = len(log.read_text().splitlines()) - 1
        steps = self._script.get(unit.id, ())
        step = steps[attempt] if attempt < len(steps) else "succeed"
        for number, rows in enumerate(super().read(unit)):
            if number == 1:
                self._act(step, unit)
            yield rows

    def _act(self, step: str, unit: WorkUnit) -> None:
        if step == "fail":
            raise RetryableError("connection lost")
        if step == "refuse":
            raise PermanentError(f"unit {unit.id}, row 7: column 'amount' does not fit")
        if step == "hang":
            (self._folder / f"hangs-{unit.id}-{os.getpid()}").touch()
            while not (self._folder / "go").exists():
                time.sleep(0.02)


def attempts(folder: Path, unit: str) -> list[tuple[str, int]]:
    """Host and process id of each attempt at a unit so far."""
    lines = (folder / unit).read_text().splitlines() if (folder / unit).exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def memory_parts(key: str, folder: Path, script: Script) -> Parts:
    """A worker on the store ``key`` of this process."""
    return _parts(STORES[key], folder, script)


def bucket_parts(endpoint: str, bucket: str, folder: Path, script: Script) -> Parts:
    """A worker on a bucket."""
    return _parts(bucket_store(endpoint, bucket), folder, script)


def bucket_store(endpoint: str, bucket: str) -> ObjectStore:
    """A bucket of the test's Cloud Storage."""
    names = ("LOCATION", "DATASET", "CONFIG_BUCKET", "STATE_BUCKET", "STAGING_BUCKET", "PROJECT")
    env = {f"ETL_{name}": "p" for name in names}
    settings = Settings.from_env({**env, "STORAGE_EMULATOR_HOST": endpoint})
    return GcsObjectStore(storage_client(settings), bucket)


def _parts(store: ObjectStore, folder: Path, script: Script) -> Parts:
    return Parts(
        objects=store,
        open_source=lambda _: ScriptedSource(folder, script),
        keep_slot=lambda _: _nothing,
        options=TaskOptions(attempts=3, backoff_seconds=0.001),
    )


def _nothing() -> None:
    """The run is ours."""


MakeParts = Callable[[], Parts]


def make_parts(key: str, folder: Path, script: Script) -> MakeParts:
    """For engines in this process."""
    return partial(memory_parts, key, folder, script)


@contextmanager
def memory_store(key: str) -> Iterator[MemoryObjectStore]:
    """A store that :func:`memory_parts` finds."""
    STORES[key] = MemoryObjectStore()
    try:
        yield STORES[key]
    finally:
        del STORES[key]
