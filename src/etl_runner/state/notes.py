"""Notes of finished runs that the history in BigQuery does not have yet.

``history/notes/<source_id>/<epoch>-<run_id>`` is create-only, empty, and written *before* the run's receipt:
a receipt without a note cannot be, and a note without a receipt belongs to a run whose receipt is on its
way. Whoever repeats the writing of a receipt may leave the note a second time, even after the history took
it; the history itself knows which runs it has (:mod:`etl_runner.history.covered`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from etl_runner.errors import ObjectExists
from etl_runner.state.objects import ObjectStore

_PREFIX = "history/notes/"
REPORTS = "control-plane/reports/"
"""Reports that the control plane has yet to take, ``<source_id>.<run_id>.json``."""


@dataclass(frozen=True, order=True)
class Note:
    """A finished run, as its note's name tells it."""

    source_id: str
    epoch: int
    run_id: str

    @property
    def name(self) -> str:
        """The object."""
        return f"{_PREFIX}{self.source_id}/{self.epoch}-{self.run_id}"


class Notes:
    """All sources' notes in the state bucket."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def leave(self, note: Note) -> None:
        """Leave a note; one that is there already stays."""
        with contextlib.suppress(ObjectExists):
            self._objects.create(note.name, b"{}")

    def all(self) -> Iterator[Note]:
        """All notes, source by source."""
        for info in self._objects.list(_PREFIX):
            source_id, _, rest = info.name.removeprefix(_PREFIX).partition("/")
            epoch, _, run_id = rest.partition("-")
            if epoch.isdecimal() and run_id:
                yield Note(source_id, int(epoch), run_id)

    def remove(self, note: Note) -> None:
        """Remove a note; one that is gone already is no error."""
        self._objects.delete(note.name)


def untold_runs(objects: ObjectStore, source_id: str) -> set[str]:
    """The ids of a source's runs that the history, or the control plane, has yet to be told of."""
    notes = f"{_PREFIX}{source_id}/"
    reports = f"{REPORTS}{source_id}."
    return {
        *(info.name.removeprefix(notes).partition("-")[2] for info in objects.list(notes)),
        *(info.name.removeprefix(reports).removesuffix(".json") for info in objects.list(reports)),
    }
