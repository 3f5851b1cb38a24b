"""What the local deployment is called, where its parts listen, and what its processes are told."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from etl_runner.settings import Settings
from local.functions import function_names
from local.identity import PUSH_ACCOUNT
from local.ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
POSTGRES_URL = "ETL_LOCAL_POSTGRES_URL"
"""Variable of the settings file: the local PostgreSQL's URL, password included."""


@dataclass(frozen=True)
class Names:
    """The names of a deployment."""

    project: str = "local-project"
    location: str = "europe-west1"
    bigquery_location: str = "EU"
    dataset: str = "warehouse"
    config_bucket: str = "local-etl-config"
    state_bucket: str = "local-etl-state"
    staging_bucket: str = "local-etl-staging"
    landing_bucket: str = "local-landing"
    """A bucket for source files, whose object events reach file_arrival."""
    events_topic: str = "etl-run-events"
    arrivals_topic: str = "etl-arrivals"
    workflow: str = "etl"
    job: str = "etl-runner"

    @property
    def buckets(self) -> tuple[str, ...]:
        """The deployment's three buckets, and the one for source files."""
        return (self.config_bucket, self.state_bucket, self.staging_bucket, self.landing_bucket)


def _function_ports() -> dict[str, int]:
    return {name: free_port() for name in function_names(REPOSITORY / "functions")}


@dataclass(frozen=True)
class Layout:
    """Names and ports, fixed before anything starts so that everything can start at once."""

    names: Names = Names()
    storage_port: int = field(default_factory=free_port)
    bigquery_port: int = field(default_factory=free_port)
    bigquery_storage_port: int = field(default_factory=free_port)
    pubsub_port: int = field(default_factory=free_port)
    run_port: int = field(default_factory=free_port)
    dataflow_port: int = field(default_factory=free_port)
    workflows_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    identity_port: int = field(default_factory=free_port)
    event_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    """What EventBridge and Event Grid authenticate with."""
    function_ports: Mapping[str, int] = field(default_factory=_function_ports)

    @property
    def storage_endpoint(self) -> str:
        """Cloud Storage."""
        return _url(self.storage_port)

    @property
    def bigquery_endpoint(self) -> str:
        """BigQuery, behind its strict front."""
        return _url(self.bigquery_port)

    @property
    def bigquery_storage_endpoint(self) -> str:
        """The BigQuery Storage API; gRPC without TLS behind an ``http://`` URL."""
        return _url(self.bigquery_storage_port)

    @property
    def run_endpoint(self) -> str:
        """The Cloud Run Admin API."""
        return _url(self.run_port)

    @property
    def dataflow_endpoint(self) -> str:
        """The Dataflow API."""
        return _url(self.dataflow_port)

    @property
    def dataflow_template(self) -> str:
        """The flex template's spec."""
        return f"gs://{self.names.config_bucket}/templates/etl-runner.json"

    @property
    def workflows_endpoint(self) -> str:
        """The Workflow Executions API; gRPC without TLS behind an ``http://`` URL."""
        return _url(self.workflows_port)

    @property
    def admin_endpoint(self) -> str:
        """The administrative APIs that tell what is deployed."""
        return _url(self.admin_port)

    @property
    def function_urls(self) -> dict[str, str]:
        """URL by function."""
        return {name: _url(port) for name, port in self.function_ports.items()}

    def settings(self) -> dict[str, str]:
        """The deployment's settings, as its functions, its job and its clients read them."""
        names = self.names
        return {
            "ETL_PROJECT": names.project,
            "ETL_LOCATION": names.location,
            "ETL_BIGQUERY_LOCATION": names.bigquery_location,
            "ETL_DATASET": names.dataset,
            "ETL_CONFIG_BUCKET": names.config_bucket,
            "ETL_STATE_BUCKET": names.state_bucket,
            "ETL_STAGING_BUCKET": names.staging_bucket,
            "ETL_EVENTS_TOPIC": names.events_topic,
            "ETL_WAKE_TOPIC": names.arrivals_topic,
            "ETL_WORKFLOW": names.workflow,
            "ETL_JOB": names.job,
            "ETL_WORKFLOWS_ENDPOINT": self.workflows_endpoint,
            "ETL_RUN_ENDPOINT": self.run_endpoint,
            "ETL_DATAFLOW_ENDPOINT": self.dataflow_endpoint,
            "ETL_DATAFLOW_TEMPLATE": self.dataflow_template,
            "ETL_ADMIN_ENDPOINT": self.admin_endpoint,
            "BIGQUERY_EMULATOR_HOST": self.bigquery_endpoint,
            "ETL_BIGQUERY_STORAGE_ENDPOINT": self.bigquery_storage_endpoint,
            "STORAGE_EMULATOR_HOST": self.storage_endpoint,
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.pubsub_port}",
            "GOOGLE_CLOUD_PROJECT": names.project,
        }

    def deployment(self) -> Settings:
        """The same, as the code reads it."""
        return Settings.from_env(self.settings())

    def event_env(self) -> dict[str, str]:
        """What file_arrival needs besides, to know whom to believe."""
        return {
            "ETL_EVENT_AUDIENCES": self.function_urls["file_arrival"],
            "ETL_EVENT_CALLERS": PUSH_ACCOUNT,
            "ETL_GOOGLE_KEYS_URL": f"{_url(self.identity_port)}/oauth2/v3/certs",
            "ETL_EVENT_KEYS": self.event_key,
        }

    def workflow_env(self) -> dict[str, str]:
        """The user environment variables of the workflow."""
        urls = {f"{name.upper()}_URL": url for name, url in self.function_urls.items()}
        names = self.names
        return {**urls, "JOB_NAME": names.job, "PROJECT": names.project, "LOCATION": names.location}

    def container_env(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What functions and job tasks start with: the settings over ``environ``.

        Proxies are left out: every server is on this machine.
        """
        inherited = {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")}
        return {**inherited, "PYTHONPATH": str(REPOSITORY / "src"), **self.settings()}


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def write_settings(path: Path, settings: Mapping[str, str], comments: Iterable[str] = ()) -> None:
    """Write ``KEY=VALUE`` lines that only this account can read, all of them or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*(f"# {comment}" for comment in comments), *(f"{k}={v}" for k, v in settings.items())]
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(path)
