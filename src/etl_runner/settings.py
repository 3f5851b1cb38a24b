"""What a deployment is made of, read once from the environment.

Endpoints are part of the deployment: absent, the Google clients use their own. An endpoint that begins
with ``http://`` is spoken to without TLS and without credentials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from etl_runner.errors import ConfigError, Problem

VARIABLES = {
    "project": "ETL_PROJECT",
    "location": "ETL_LOCATION",
    "bigquery_location": "ETL_BIGQUERY_LOCATION",
    "dataset": "ETL_DATASET",
    "config_bucket": "ETL_CONFIG_BUCKET",
    "state_bucket": "ETL_STATE_BUCKET",
    "staging_bucket": "ETL_STAGING_BUCKET",
    "events_topic": "ETL_EVENTS_TOPIC",
    "wake_topic": "ETL_WAKE_TOPIC",
    "workflow": "ETL_WORKFLOW",
    "job": "ETL_JOB",
    "row_threshold": "ETL_ROW_THRESHOLD",
    "unit_rows": "ETL_UNIT_ROWS",
    "max_tasks": "ETL_MAX_TASKS",
    "task_slots": "ETL_TASK_SLOTS",
    "dataflow_template": "ETL_DATAFLOW_TEMPLATE",
    "dataflow_machines": "ETL_DATAFLOW_MACHINES",
    "dataflow_max_workers": "ETL_DATAFLOW_MAX_WORKERS",
    "dataflow_temp": "ETL_DATAFLOW_TEMP",
    "dataflow_service_account": "ETL_DATAFLOW_SERVICE_ACCOUNT",
    "dataflow_subnetwork": "ETL_DATAFLOW_SUBNETWORK",
    "dataflow_kms_key": "ETL_DATAFLOW_KMS_KEY",
    "bigquery_endpoint": "BIGQUERY_EMULATOR_HOST",
    "bigquery_storage_endpoint": "ETL_BIGQUERY_STORAGE_ENDPOINT",
    "control_plane_url": "ETL_CONTROL_PLANE_URL",
    "control_plane_audience": "ETL_CONTROL_PLANE_AUDIENCE",
    "storage_endpoint": "STORAGE_EMULATOR_HOST",
    "workflows_endpoint": "ETL_WORKFLOWS_ENDPOINT",
    "run_endpoint": "ETL_RUN_ENDPOINT",
    "secretmanager_endpoint": "ETL_SECRETMANAGER_ENDPOINT",
    "dataflow_endpoint": "ETL_DATAFLOW_ENDPOINT",
    "admin_endpoint": "ETL_ADMIN_ENDPOINT",
}
"""The variable of each setting."""


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
    dataflow_template: str | None = None
    """``gs://`` URI of the flex template's spec; without it Dataflow is not part of the deployment."""
    dataflow_machines: str = "n2-standard"
    """Machine series and kind of Dataflow's workers; their number of processors is the plan's."""
    dataflow_max_workers: int = 10
    """Workers of one Dataflow job, at most."""
    dataflow_temp: str | None = None
    """``gs://`` folder of Dataflow's own files; ``dataflow/`` in the staging bucket when absent."""
    dataflow_service_account: str | None = None
    """Account of Dataflow's workers; the project's Compute Engine account when absent."""
    dataflow_subnetwork: str | None = None
    """``regions/<region>/subnetworks/<name>``, or its URL. Workers in a named subnetwork have private
    addresses only, so it needs Private Google Access."""
    dataflow_kms_key: str | None = None
    """``projects/<p>/locations/<l>/keyRings/<r>/cryptoKeys/<k>`` of a job's state and disks; Google's own
    when absent."""
    bigquery_endpoint: str | None = None
    bigquery_storage_endpoint: str | None = None
    storage_endpoint: str | None = None
    workflows_endpoint: str | None = None
    run_endpoint: str | None = None
    secretmanager_endpoint: str | None = None
    admin_endpoint: str | None = None
    """One server for all the APIs that tell what is deployed (``etl-runner doctor``)."""
    dataflow_endpoint: str | None = None

    control_plane_url: str | None = None
    """A control plane that serves source documents in the flat form, without a slash at the end."""
    control_plane_audience: str | None = None
    """Audience of the tokens for it; its URL when absent."""

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
            dataflow_template=env.get("ETL_DATAFLOW_TEMPLATE") or None,
            dataflow_machines=env.get("ETL_DATAFLOW_MACHINES") or cls.dataflow_machines,
            dataflow_max_workers=number("ETL_DATAFLOW_MAX_WORKERS", cls.dataflow_max_workers),
            dataflow_temp=env.get("ETL_DATAFLOW_TEMP") or None,
            dataflow_service_account=env.get("ETL_DATAFLOW_SERVICE_ACCOUNT") or None,
            dataflow_subnetwork=env.get("ETL_DATAFLOW_SUBNETWORK") or None,
            dataflow_kms_key=env.get("ETL_DATAFLOW_KMS_KEY") or None,
            bigquery_endpoint=env.get("BIGQUERY_EMULATOR_HOST") or None,
            bigquery_storage_endpoint=env.get("ETL_BIGQUERY_STORAGE_ENDPOINT") or None,
            storage_endpoint=env.get("STORAGE_EMULATOR_HOST") or None,
            workflows_endpoint=env.get("ETL_WORKFLOWS_ENDPOINT") or None,
            run_endpoint=env.get("ETL_RUN_ENDPOINT") or None,
            control_plane_url=(env.get("ETL_CONTROL_PLANE_URL") or "").rstrip("/") or None,
            control_plane_audience=env.get("ETL_CONTROL_PLANE_AUDIENCE") or None,
            secretmanager_endpoint=env.get("ETL_SECRETMANAGER_ENDPOINT") or None,
            admin_endpoint=env.get("ETL_ADMIN_ENDPOINT") or None,
            dataflow_endpoint=env.get("ETL_DATAFLOW_ENDPOINT") or None,
        )
        if problems:
            unique = {problem.path: problem for problem in problems}
            raise ConfigError("environment", tuple(unique.values()))
        return settings

    def to_env(self) -> dict[str, str]:
        """The variables that :meth:`from_env` makes the same settings of; for processes on other machines."""
        found = {name: getattr(self, field) for field, name in VARIABLES.items()}
        return {name: str(value) for name, value in found.items() if value is not None}
