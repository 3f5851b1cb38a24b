"""BigQuery jobs as the protocol sees them: deterministic ids, adopt what exists, judge failures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from etl_runner.errors import CorruptStateError, StoreConflict

TOMBSTONE_LABEL = "etl_tombstone"

# Reasons of a failed job after which the same job may succeed under a new id.
# https://cloud.google.com/bigquery/docs/error-messages#errortable
RETRYABLE_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "rateLimitExceeded",
        "stopped",
        "tableUnavailable",
        "timeout",
    }
)


class JobExists(StoreConflict):
    """A job of this id was created before: adopt it."""


@dataclass(frozen=True)
class JobStatus:
    """A job as the service reports it. ``rows`` is what a finished job wrote (load: outputRows, DML:
    numDmlAffectedRows, query into a table: rows of the result)."""

    job_id: str
    kind: str
    state: Literal["PENDING", "RUNNING", "DONE"]
    labels: Mapping[str, str] = field(default_factory=dict)
    destination: str | None = None
    reason: str | None = None
    message: str | None = None
    rows: int | None = None
    query: str | None = None

    @property
    def failed(self) -> bool:
        return self.state == "DONE" and self.reason is not None

    @property
    def tombstone(self) -> bool:
        """Whether this job only burnt the id (:func:`tombstone_configuration`)."""
        return TOMBSTONE_LABEL in self.labels

    @property
    def retryable(self) -> bool:
        return self.failed and self.reason in RETRYABLE_REASONS


class BigQueryJobs(Protocol):
    """The calls the protocol makes. Each may raise RetryableError or PermanentError."""

    def get(self, job_id: str, location: str) -> JobStatus | None:
        """The job, or None when there is none of that id in that location."""

    def insert(self, job_id: str, location: str, configuration: dict[str, Any]) -> JobStatus:
        """Submit a job.

        Raises:
            JobExists: the id is taken.
            JobRefused: the service refused it for good and created nothing.
        """

    def create_table(self, table: dict[str, Any]) -> None:
        """Create a table from the API's Table resource; one that exists stays as it is."""

    def add_columns(self, table: dict[str, Any]) -> None:
        """Add the columns and nested fields of the resource's schema that the table lacks."""

    def delete_table(self, path: str) -> None:
        """Delete ``project.dataset.table``; one that is gone already is no error."""


def job_id(source_id: str, epoch: int, run_id: str, n: int | str) -> str:
    """``etl_<source>_<epoch>_<run>_<n>``, where ``n`` is ``r<k>`` for rejects; letters, digits, ``_`` and
    ``-``, at most 1,024 characters.

    https://cloud.google.com/bigquery/docs/running-jobs#generate-jobid
    """
    return f"etl_{source_id}_{epoch}_{run_id}_{n}"


def label_value(text: str) -> str:
    """The text as a label value: lower case, ``[a-z0-9_-]``, at most 63 characters.

    https://cloud.google.com/bigquery/docs/labels-intro#requirements
    """
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def run_labels(source_id: str, run_id: str, epoch: int, n: int) -> dict[str, str]:
    """The labels by which a job is recognised as a run's own."""
    return {
        "etl_source": label_value(source_id),
        "etl_run": label_value(run_id),
        "etl_epoch": str(epoch),
        "etl_n": str(n),
    }


def tombstone_configuration(labels: Mapping[str, str], why: str) -> dict[str, Any]:
    """A job that does nothing but occupy its id, so that no late submission can use it.

    It carries the reason, so that whoever finds the tombstone can say why the run failed.
    """
    comment = re.sub(r"[^ -~]|\*/", " ", why)[:900]
    return {
        "query": {"query": f"SELECT 1 /* {comment} */", "useLegacySql": False},
        "labels": {**labels, TOMBSTONE_LABEL: "1"},
    }


def tombstone_reason(query: str) -> str:
    """The reason that :func:`tombstone_configuration` put into its query."""
    return query.partition("/*")[2].rpartition("*/")[0].strip() or "the submission was invalid"


def destination_of(configuration: Mapping[str, Any]) -> str | None:
    """``project.dataset.table`` of a JobConfiguration with a destination table."""
    for kind in ("load", "query"):
        table = configuration.get(kind, {}).get("destinationTable")
        if table:
            return f"{table['projectId']}.{table['datasetId']}.{table['tableId']}"
    return None


def check_adopted(
    status: JobStatus, kind: str, labels: Mapping[str, str], configuration: Mapping[str, Any]
) -> None:
    """Refuse to adopt a job that is not ours.

    Raises:
        CorruptStateError: type, labels or destination of the job with our id are not what we would submit.
    """
    if any(status.labels.get(name) != value for name, value in labels.items()):
        raise CorruptStateError(
            f"BigQuery job {status.job_id} carries other labels than this run's: not adopted"
        )
    if status.tombstone:
        return
    if status.kind != kind:
        raise CorruptStateError(f"BigQuery job {status.job_id} is a {status.kind} job, expected a {kind} job")
    wanted = destination_of(configuration)
    if wanted is not None and status.destination != wanted:
        raise CorruptStateError(
            f"BigQuery job {status.job_id} writes to {status.destination}, expected {wanted}: not adopted"
        )
