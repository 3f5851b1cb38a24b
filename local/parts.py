"""The parts of the topology: how each is started, and what it is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from local.functions import FunctionServer
from local.layout import REPOSITORY, Layout
from local.processes import guard, unguard

if TYPE_CHECKING:
    from local.admin import AdminServer
    from local.bigquery.stand_in import BigQueryStandIn
    from local.cloud_run import CloudRunServer
    from local.cloud_storage import CloudStorageServer
    from local.dataflow import DataflowServer
    from local.identity import TokenIssuer
    from local.postgres import PostgresServer
    from local.pubsub import PubSubServer
    from local.workflows.service import WorkflowsServer

TASK_RETRIES = 3
TASK_TIMEOUT_SECONDS = 3600.0


class Part(Protocol):
    """Whatever has to be stopped in the end."""

    def stop(self) -> None: ...


PartT = TypeVar("PartT", bound=Part)


class Keep(Protocol):
    """Sees to it that a part is stopped, from the moment on at which it runs."""

    def __call__(self, part: PartT) -> PartT: ...


class _Guarded:
    """The BigQuery stand-in, whose process is not a :class:`local.processes.Child`."""

    def __init__(self, server: BigQueryStandIn) -> None:
        self._server = server
        self._group = server.process.popen.pid
        guard(self._group)

    def stop(self) -> None:
        self._server.stop()
        unguard(self._group)


@dataclass(frozen=True)
class Place:
    """Where parts are started, and with what."""

    data: Path
    logs: Path
    layout: Layout
    inherited: Mapping[str, str]
    """What functions and tasks inherit besides their settings."""
    sleep_factor: float
    keep: Keep

    @property
    def env(self) -> dict[str, str]:
        """The environment of functions and tasks."""
        return self.layout.container_env(self.inherited)


def start_storage(place: Place) -> CloudStorageServer:
    """Cloud Storage, with the deployment's buckets and the events of one."""
    from local.cloud_storage import CloudStorageServer

    names = place.layout.names
    server = CloudStorageServer.start(
        place.data / "storage",
        project=names.project,
        port=place.layout.storage_port,
        log=place.logs / "storage.log",
        events_topic=names.arrivals_topic,
        events_bucket=names.landing_bucket,
        pubsub_endpoint=f"127.0.0.1:{place.layout.pubsub_port}",
    )
    place.keep(server)
    server.create_buckets(names.buckets)
    return server


def start_bigquery(place: Place) -> BigQueryStandIn:
    """BigQuery, behind its strict front."""
    from local.bigquery.environment import environment_dir
    from local.bigquery.stand_in import BigQueryStandIn

    names = place.layout.names
    server = BigQueryStandIn.start(
        place.data / "bigquery",
        project=names.project,
        location=names.bigquery_location,
        storage_endpoint=place.layout.storage_endpoint,
        env_dir=REPOSITORY / environment_dir(),
        port=place.layout.bigquery_port,
        grpc_port=place.layout.bigquery_storage_port,
    )
    place.keep(_Guarded(server))
    return server


def start_postgres(place: Place) -> PostgresServer:
    """PostgreSQL: the one that the environment names, else one of our own."""
    from local.postgres import PostgresServer

    return place.keep(
        PostgresServer.from_environment(
            place.data / "postgres", environ=os.environ, log=place.logs / "postgres.log"
        )
    )


def start_identity(place: Place) -> TokenIssuer:
    """Who signs the tokens of push requests."""
    from local.identity import TokenIssuer

    return place.keep(TokenIssuer(place.layout.identity_port))


def start_pubsub(place: Place, identity: TokenIssuer) -> PubSubServer:
    """Pub/Sub, with the topic of the runs' events and the one of object events, pushed to file_arrival."""
    from local.identity import PUSH_ACCOUNT
    from local.pubsub import PubSubServer

    names = place.layout.names
    server = place.keep(PubSubServer(port=place.layout.pubsub_port, sign=identity.token))
    server.create_topic(names.project, names.events_topic)
    topic = server.create_topic(names.project, names.arrivals_topic)
    server.create_push(
        topic,
        f"projects/{names.project}/subscriptions/{names.arrivals_topic}",
        place.layout.function_urls["file_arrival"],
        PUSH_ACCOUNT,
    )
    return server


def start_run_jobs(place: Place) -> CloudRunServer:
    """Cloud Run, with the runner's job."""
    from local.cloud_run import CloudRunServer, Image
    from local.cloud_run.job import JobSpec

    names = place.layout.names
    program = [sys.executable, str(REPOSITORY / "runner_image" / "job.py")]
    image = Image(program, env=place.env, workdir=REPOSITORY)
    server = place.keep(CloudRunServer(image, place.logs / "tasks", port=place.layout.run_port))
    spec = JobSpec(max_retries=TASK_RETRIES, timeout=TASK_TIMEOUT_SECONDS)
    server.deploy(names.project, names.location, names.job, spec)
    return server


def start_dataflow(place: Place) -> DataflowServer:
    """Dataflow, whose jobs run the runner's pipeline."""
    from local.dataflow.start import start_dataflow as start

    return place.keep(start(place.layout, place.env, place.logs / "dataflow"))


def start_workflows(place: Place) -> WorkflowsServer:
    """Workflows, with etl.yaml deployed."""
    from local.workflows.clock import SystemClock
    from local.workflows.service import serve

    layout = place.layout
    return place.keep(
        serve(
            REPOSITORY / "workflows" / "etl.yaml",
            name=layout.names.workflow,
            project=layout.names.project,
            location=layout.names.location,
            env=layout.workflow_env(),
            endpoints={"run": layout.run_endpoint, "dataflow": layout.dataflow_endpoint},
            port=layout.workflows_port,
            clock=SystemClock(place.sleep_factor),
        )
    )


def start_admin(place: Place) -> AdminServer:
    """The administrative APIs, for ``etl-runner doctor``."""
    from local.admin import AdminServer, Resources

    # Nobody is refused anything on this machine: permissions are told as Terraform would grant them.
    # Functions are deployed under names without underscores.
    urls = {name.replace("_", "-"): url for name, url in place.layout.function_urls.items()}
    resources = Resources.of(place.layout.deployment(), urls)
    return place.keep(AdminServer(resources, port=place.layout.admin_port))


def start_function(name: str, place: Place) -> FunctionServer:
    """One function, under functions-framework; waits until it answers."""
    layout = place.layout
    server = place.keep(
        FunctionServer(
            name,
            REPOSITORY / "functions" / name / "main.py",
            env={**place.env, **layout.event_env()} if name == "file_arrival" else place.env,
            log=place.logs / f"function-{name}.log",
            port=layout.function_ports[name],
        )
    )
    server.wait()
    return server


def dataflow_template(layout: Layout) -> tuple[str, Any]:
    """The flex template's spec, and its name in the config bucket."""
    from local.dataflow.start import IMAGE
    from tools.template import template_spec

    return layout.dataflow_template.partition(layout.names.config_bucket + "/")[2], template_spec(IMAGE)


PARTS: dict[str, Callable[[Place], Part]] = {
    # The slowest first: there are seldom as many processors as parts.
    "bigquery": start_bigquery,
    "storage": start_storage,
    "postgres": start_postgres,
    "workflows": start_workflows,
    "run_jobs": start_run_jobs,
    "dataflow": start_dataflow,
    "admin": start_admin,
}
"""The topology's attributes and what starts them; all at once."""
