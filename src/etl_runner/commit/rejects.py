"""Rejected rows on their way into ``<destination>__rejects``: once for a committed run, never for a failed
one.

One load job a run, after the commit's last job is done and before the slot is emptied, so that whoever rolls
the run forward finds it undone and does it. Its id is ``etl_<source>_<epoch>_<run>_r<k>``, and which ``k``
counts follows from the jobs themselves: the first one that has not ended as failed. A failed job never
becomes another, so everybody who looks finds the same ``k``, and BigQuery takes an id once.

Rows that are committed stay committed: rejects that cannot be loaded for good leave the run ``ok``, are kept
in their staging objects and are told loudly; ``etl-runner rejects load`` goes on with the next ``k``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from etl_runner.commit.jobs import (
    BigQueryJobs,
    JobExists,
    JobStatus,
    check_adopted,
    job_id,
    run_labels,
    tombstone_configuration,
    tombstone_reason,
)
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.planning.plan import Destination
from etl_runner.state.records import CommitRecord, RejectsLoad

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
SUFFIX = "__rejects"

_COLUMNS = (
    ("source_id", "STRING", "The source whose run rejected the row"),
    ("run_id", "STRING", "That run"),
    ("unit", "STRING", "The work unit that read the row"),
    ("file", "STRING", "URI of the file that the row is from; NULL for databases"),
    ("line", "INT64", "Its line in the file, from 1, where the format has lines"),
    ("row", "INT64", "Its ordinal, from 1, in what was read of the file, or else in the unit"),
    ("from_byte", "INT64", "Lines and rows count from this byte of the file on"),
    ("column", "STRING", "The destination column whose value did not fit; empty where the row is no row"),
    ("reason", "STRING", "Why"),
    ("value", "STRING", "The value as text; bytes as base64"),
    ("record", "STRING", "The row as a JSON object: destination column to value as text"),
    ("types", "STRING", "JSON object: destination column to the type that its value was read as, for replay"),
    ("rejected_at", "TIMESTAMP", "When the run was planned; the table is partitioned by it"),
)


@dataclass(frozen=True)
class RejectsEnd:
    """How the load of a run's rejects ended. ``jobs`` are the ids that were used."""

    outcome: Literal["loaded", "kept"]
    jobs: tuple[str, ...]
    rows: int | None = None
    reason: str | None = None


def rejects_path(destination: Destination) -> str:
    """``project.dataset.table`` of the rejects of a destination."""
    return f"{destination.path}{SUFFIX}"


def rejects_schema() -> list[dict[str, Any]]:
    """The published columns of a rejects table, as the API spells them."""
    return [
        {"name": name, "type": kind, "mode": "NULLABLE", "description": text} for name, kind, text in _COLUMNS
    ]


def rejects_load(destination: Destination, uris: list[str], rows: int) -> RejectsLoad | None:
    """What loads a run's rejects, ``rows`` of them in the objects ``uris``; None when there are none."""
    if not rows:
        return None
    reference = {
        "projectId": destination.project,
        "datasetId": destination.dataset,
        "tableId": f"{destination.table}{SUFFIX}",
    }
    load = {
        "sourceFormat": "NEWLINE_DELIMITED_JSON",
        "sourceUris": sorted(uris),
        "destinationTable": reference,
        "schema": {"fields": rejects_schema()},
        "createDisposition": "CREATE_NEVER",
        "writeDisposition": "WRITE_APPEND",
    }
    table = {
        "tableReference": reference,
        "description": f"Rows that did not fit {destination.path}; etl-runner rejects list shows them",
        "schema": {"fields": rejects_schema()},
        "timePartitioning": {"type": "DAY", "field": "rejected_at"},
    }
    return RejectsLoad(rejects_path(destination), rows, {"load": load}, table)


class RejectsLoader:
    """Loads the rejects of committed runs."""

    def __init__(self, jobs: BigQueryJobs) -> None:
        self._jobs = jobs

    def load(self, record: CommitRecord, *, go_on: bool = False) -> RejectsEnd | JobStatus | None:
        """One look at the job that counts, which is submitted if there is none.

        Args:
            record: of a run whose rows are committed.
            go_on: also after a failure for good, as a person wants it.

        Returns:
            None when the run has no rejects, the job's status while it runs, else how it ended.

        Raises:
            RetryableError: the service is unavailable; call again.
            CorruptStateError: a foreign job bears our id.
            PermanentError: not even a tombstone can be submitted.
        """
        wanted = record.rejects
        if wanted is None:
            return None
        used: list[str] = []
        while True:
            k = len(used) + 1
            identifier = job_id(record.source_id, record.epoch, record.run_id, f"r{k}")
            labels = {**run_labels(record.source_id, record.run_id, record.epoch, k), "etl_rejects": "1"}
            status = self._jobs.get(identifier, record.location)
            fresh = status is None
            if status is None:
                status = self._submit(identifier, record.location, wanted, labels)
            check_adopted(status, "load", labels, wanted.configuration)
            used.append(identifier)
            if status.state != "DONE":
                return status
            if not status.failed and not status.tombstone:
                if status.rows != wanted.rows:
                    log.error("rejects: job %s loaded %s of %d rows", identifier, status.rows, wanted.rows)
                return RejectsEnd("loaded", tuple(used), status.rows)
            again = status.retryable and k < MAX_ATTEMPTS
            if again and fresh:
                return status  # the next look tries again: not in the same breath
            if not again and (fresh or not go_on):
                return self._kept(record, status, tuple(used))

    def _kept(self, record: CommitRecord, status: JobStatus, used: tuple[str, ...]) -> RejectsEnd:
        reason = tombstone_reason(status.query or "") if status.tombstone else status.message
        reason = f"BigQuery job {status.job_id}: {reason or status.reason}"
        log.critical(
            "rejects of run %s are not in their table: %s",
            record.run_id,
            reason,
            extra={"fields": {"event": "rejects_kept", "run_id": record.run_id}},
        )
        return RejectsEnd("kept", used, None, reason)

    def _submit(
        self, identifier: str, location: str, wanted: RejectsLoad, labels: Mapping[str, str]
    ) -> JobStatus:
        try:
            self._jobs.create_table(wanted.table)
            return self._jobs.insert(identifier, location, {**wanted.configuration, "labels": dict(labels)})
        except JobExists:
            return self._adopt(identifier, location)
        except PermanentError as refusal:  # nothing was created; a late copy must not create it any more
            try:
                return self._jobs.insert(identifier, location, tombstone_configuration(labels, str(refusal)))
            except JobExists:
                return self._adopt(identifier, location)

    def _adopt(self, identifier: str, location: str) -> JobStatus:
        status = self._jobs.get(identifier, location)
        if status is None:
            raise RetryableError(f"BigQuery job {identifier} exists but cannot be read yet")
        return status


def rejects_receipt(record: CommitRecord, end: RejectsEnd) -> dict[str, Any]:
    """What the receipt says: ``rejects_table {table, outcome, rows, jobs, reason}``."""
    assert record.rejects is not None  # noqa: S101 - only a run with rejects has an end of them
    told: dict[str, Any] = {
        "table": record.rejects.table_path,
        "outcome": end.outcome,
        "rows": end.rows,
        "jobs": list(end.jobs),
    }
    if end.reason is not None:
        told["reason"] = end.reason
    return told
