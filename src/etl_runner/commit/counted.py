"""BigQuery jobs whose table operations are counted before they are submitted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from etl_runner.commit.jobs import BigQueryJobs, JobStatus

_CHANGES = re.compile(
    r"\s*(?:INSERT\s+INTO|MERGE(?:\s+INTO)?|DELETE\s+FROM|TRUNCATE\s+TABLE)\s+`([^`]+)`", re.IGNORECASE
)
_STAGING = "etl_staging_"


class CountedJobs:
    """Implements :class:`etl_runner.commit.jobs.BigQueryJobs`; ``note(table, job id)`` comes before each job
    that changes a destination."""

    def __init__(self, jobs: BigQueryJobs, note: Callable[[str, str], None]) -> None:
        self._jobs = jobs
        self._note = note

    def get(self, job_id: str, location: str) -> JobStatus | None:
        return self._jobs.get(job_id, location)

    def insert(self, job_id: str, location: str, configuration: dict[str, Any]) -> JobStatus:
        table = changed_table(configuration)
        if table is not None:
            self._note(table, job_id)
        return self._jobs.insert(job_id, location, configuration)

    def create_table(self, table: dict[str, Any]) -> None:
        self._jobs.create_table(table)

    def add_columns(self, table: dict[str, Any]) -> None:
        self._jobs.add_columns(table)

    def delete_table(self, path: str) -> None:
        self._jobs.delete_table(path)


def changed_table(configuration: dict[str, Any]) -> str | None:
    """The table that a job of ours changes, ``project.dataset.table``; None for one that changes none, or
    only a run's own staging table."""
    job: dict[str, Any] = configuration.get("load") or configuration.get("query") or {}
    reference = job.get("destinationTable")
    if reference is not None:
        path = f"{reference['projectId']}.{reference['datasetId']}.{reference['tableId']}"
    else:
        statement = _CHANGES.match(str(job.get("query", "")))
        if statement is None:
            return None
        path = statement[1]
    return None if path.rpartition(".")[2].startswith(_STAGING) else path
