"""What a deployment is made of, read once from the environment.

Endpoints are part of the deployment: absent, the Google clients use their own. An endpoint that begins
with ``http://`` is spoken to without TLS and without credentials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from etl_runner.errors import ConfigError, Problem


@dataclass(frozen=True)
class Settings:
    """One deployment: names of its parts, limits, endpoints."""

    project: str
    location: str
    """Region of workflow, functions and job, e.g. ``europe-west1``."""
    bigquery_location: str
    """Location of the datasets and of every BigQuery job, e.g. ``EU``."""
    dataset: str
    config_bucket: str
    state_bucket: str
    staging_bucket: str
    events_topic: str | None = None
    wake_topic: str | None = None
    """Pub/Sub topic that is pushed to file_arrival; without one, arrivals may wait for the sweep."""
    workflow: str = "etl"
    job: str = "etl-runner"
    row_threshold: int = 1_000_000
    """From this many estimated rows on, Dataflow extracts."""
    unit_rows: int = 50_000
    max_tasks: int = 10
    """Cloud Run Job tasks of one run, at most."""
    task_slots: int = 2
    """Units that one task reads at the same time."""
    bigquery_endpoint: str | None = None
    bigquery_storage_endpoint: str | None = None
    storage_endpoint: str | None = None
    workflows_endpoint: str | None = None
    run_endpoint: str | None = None
    secretmanager_endpoint: str | None = None
    admin_endpoint: str | None = None
    """One server for all the APIs that tell what is deployed (``etl-runner doctor``)."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read ``ETL_*`` variables.

        Raises:
            ConfigError: variables that are missing or not numbers, all of them at once.
        """
        env = os.environ if environ is None else environ
        problems: list[Problem] = []

        def text(name: str) -> str:
            value = env.get(name, "")
            if not value:
                problems.append(Problem(name, "is not set"))
            return value

        def number(name: str, default: int) -> int:
            value = env.get(name)
            if value is None or value == "":
                return default
            if not value.isdecimal() or int(value) < 1:
                problems.append(Problem(name, "is not a whole number above zero", found=value))
                return default
            return int(value)

        settings = cls(
            project=env.get("ETL_PROJECT") or env.get("GOOGLE_CLOUD_PROJECT") or text("ETL_PROJECT"),
            location=text("ETL_LOCATION"),
            bigquery_location=env.get("ETL_BIGQUERY_LOCATION") or text("ETL_LOCATION"),
            dataset=text("ETL_DATASET"),
            config_bucket=text("ETL_CONFIG_BUCKET"),
            state_bucket=text("ETL_STATE_BUCKET"),
            staging_bucket=text("ETL_STAGING_BUCKET"),
            events_topic=env.get("ETL_EVENTS_TOPIC") or None,
            wake_topic=env.get("ETL_WAKE_TOPIC") or None,
            workflow=env.get("ETL_WORKFLOW") or cls.workflow,
            job=env.get("ETL_JOB") or cls.job,
            row_threshold=number("ETL_ROW_THRESHOLD", cls.row_threshold),
            unit_rows=number("ETL_UNIT_ROWS", cls.unit_rows),
            max_tasks=number("ETL_MAX_TASKS", cls.max_tasks),
            task_slots=number("ETL_TASK_SLOTS", cls.task_slots),
            bigquery_endpoint=env.get("BIGQUERY_EMULATOR_HOST") or None,
            bigquery_storage_endpoint=env.get("ETL_BIGQUERY_STORAGE_ENDPOINT") or None,
            storage_endpoint=env.get("STORAGE_EMULATOR_HOST") or None,
            workflows_endpoint=env.get("ETL_WORKFLOWS_ENDPOINT") or None,
            run_endpoint=env.get("ETL_RUN_ENDPOINT") or None,
            secretmanager_endpoint=env.get("ETL_SECRETMANAGER_ENDPOINT") or None,
            admin_endpoint=env.get("ETL_ADMIN_ENDPOINT") or None,
        )
        if problems:
            unique = {problem.path: problem for problem in problems}
            raise ConfigError("environment", tuple(unique.values()))
        return settings
