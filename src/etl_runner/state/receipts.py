"""Receipts: a run's final account, one create-only object a run.

A receipt is a JSON object::

    source_id, run_id, epoch, outcome (ok | failed | abandoned), reason, started, finished (RFC 3339)
    engine, engine_reason, disposition, window {column, low, high, late}, destination
    units, tasks, rows_read, rows_loaded, rejects, bytes, jobs [BigQuery job ids]
    ledger_segment (the files that the run committed, where it read files)
    rejects_table {table, outcome (loaded | kept), rows, jobs, reason} (only if there are rejects)
    rejects_objects [objects of the staging bucket that hold rejects which are in no table]
    watermark_before, watermark_after, row_mismatch {expected, loaded} (only if there is one), notes
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etl_runner import jsontypes
from etl_runner.config.names import is_reserved
from etl_runner.errors import ObjectExists
from etl_runner.state.notes import Note, Notes
from etl_runner.state.objects import ObjectStore


class Receipts:
    """One source's receipts in the state bucket."""

    def __init__(self, objects: ObjectStore, source_id: str) -> None:
        self._objects = objects
        self._source_id = source_id
        self._notes = Notes(objects)
        self._prefix = f"sources/{source_id}/receipts/"

    def read(self, run_id: str) -> dict[str, Any] | None:
        """A run's receipt, or None when it has none (yet)."""
        stored = self._objects.read(self._name(run_id))
        return None if stored is None else dict(jsontypes.loads(stored.data))

    def write(self, receipt: dict[str, Any]) -> None:
        """Write a receipt unless it is there already: the first one stands.

        The note for the history comes first: killed in between, the receipt is written again, and the note
        with it.
        """
        if not is_reserved(self._source_id):
            self._notes.leave(Note(self._source_id, receipt["epoch"], receipt["run_id"]))
        try:
            self._objects.create(self._name(receipt["run_id"]), jsontypes.dumps(receipt))
        except ObjectExists:
            return

    def all(self) -> Iterator[dict[str, Any]]:
        """All receipts, oldest run first."""
        receipts = []
        for info in self._objects.list(self._prefix):
            stored = self._objects.read(info.name)
            if stored is not None:
                receipts.append(dict(jsontypes.loads(stored.data)))
        receipts.sort(key=lambda receipt: (receipt.get("epoch", 0), receipt.get("finished", "")))
        return iter(receipts)

    def _name(self, run_id: str) -> str:
        return f"{self._prefix}{run_id}.json"
