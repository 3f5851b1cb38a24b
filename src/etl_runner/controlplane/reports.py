"""What becomes of runs, told to the control plane: at least once, and never to a run's harm.

A report that cannot be delivered is noted in the state bucket (``control-plane/reports/<source>.<run>.json``,
create-only: the run's ids) and made again when the next run of any source ends, from the receipt.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etl_runner import jsontypes
from etl_runner.controlplane.client import ControlPlane
from etl_runner.errors import EtlError, ObjectExists, PermanentError, RetryableError
from etl_runner.state.notes import REPORTS
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

FILES_A_REQUEST = 1_000
REPEATED_AT_ONCE = 20
_STATUS = {"ok": "completed", "failed": "failed", "abandoned": "failed"}


class ControlPlaneReports:
    """Reports of one deployment's runs. Implements :class:`etl_runner.commit.close.RunEvents`."""

    def __init__(
        self,
        plane: ControlPlane,
        objects: ObjectStore,
        files_of: Callable[[dict[str, Any]], Iterable[dict[str, Any]]],
        receipt_of: Callable[[str, str], dict[str, Any] | None],
    ) -> None:
        """
        Args:
            plane: the control plane.
            objects: the state bucket.
            files_of: the files that a receipt's run committed, as JSON objects.
            receipt_of: the receipt of a source's run, by both ids.
        """
        self._plane = plane
        self._objects = objects
        self._files_of = files_of
        self._receipt_of = receipt_of

    def started(self, source_id: str, run_id: str) -> None:
        """A run is open. A report that is lost here is made up for by that of the run's end."""
        try:
            self._plane.update_run(run_id, {"status": "running", "source_id": source_id})
        except EtlError as error:
            log.warning("the start of run %s was not reported: %s", run_id, error)

    def publish(self, receipt: dict[str, Any]) -> None:
        """A run has ended: its files first, then its status, so that a completed run's files are all there.

        Raises nothing that concerns the control plane: the report is noted instead, and made again.
        """
        try:
            self._send(receipt)
        except EtlError as error:
            log.warning("run %s was not reported, and will be again: %s", receipt["run_id"], error)
            self._note(receipt["source_id"], receipt["run_id"])

    def repeat(self) -> int:
        """Make reports again that were not delivered, a few at a time; how many were."""
        delivered = 0
        for info in itertools.islice(self._objects.list(REPORTS), REPEATED_AT_ONCE):
            stored = self._objects.read(info.name)
            if stored is None:
                continue
            note = jsontypes.loads(stored.data)
            receipt = self._receipt_of(str(note["source_id"]), str(note["run_id"]))
            if receipt is None:
                continue  # a crash before the receipt: whoever writes it reports it
            try:
                self._send(receipt)
            except RetryableError as error:
                log.warning("reports wait for the control plane: %s", error)
                return delivered
            except PermanentError as error:
                # Repeating does not help this one, and it must not stand in the way of the others.
                log.warning("the report of run %s is given up: %s", receipt["run_id"], error)
            self._objects.delete(info.name)
            delivered += 1
        return delivered

    def _send(self, receipt: dict[str, Any]) -> None:
        run_id = receipt["run_id"]
        for files in _chunks(self._files_of(receipt)):
            self._plane.update_run(run_id, {"source_id": receipt["source_id"], "processed_files": files})
        self._plane.update_run(run_id, report_of(receipt))

    def _note(self, source_id: str, run_id: str) -> None:
        try:
            data = jsontypes.dumps({"source_id": source_id, "run_id": run_id})
            self._objects.create(f"{REPORTS}{source_id}.{run_id}.json", data)
        except ObjectExists:
            return
        except EtlError as error:
            log.warning("the report of run %s is lost, its receipt is not: %s", run_id, error)


def report_of(receipt: dict[str, Any]) -> dict[str, Any]:
    """The body of the last report of a run.

    ``status`` is ``completed`` or ``failed``; ``last_sync_value`` is the watermark that the run left, where
    its source has one; counts are 0 where nothing was read.
    """
    watermark = receipt.get("watermark_after")
    report: dict[str, Any] = {
        "status": _STATUS.get(str(receipt["outcome"]), "failed"),
        "source_id": receipt["source_id"],
        "started_at": receipt.get("started"),
        "completed_at": receipt["finished"],
        "rows_extracted": receipt.get("rows_read", 0),
        "rows_loaded": receipt.get("rows_loaded", 0),
        "rows_rejected": receipt.get("rejects", 0),
        "bytes_processed": receipt.get("bytes", 0),
        "engine": receipt.get("engine"),
        "error_message": receipt.get("reason"),
    }
    if isinstance(watermark, dict) and "value" in watermark:
        report["last_sync_value"] = watermark["value"]
    return report


def _chunks(files: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(files)
    while chunk := list(itertools.islice(left, FILES_A_REQUEST)):
        yield chunk
