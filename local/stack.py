"""The whole topology: started together, used, stopped together.

``Stack.start`` runs it inside this process (tests, demo); :func:`up`, :func:`down` and :func:`status` keep
one in the background (``etl-runner local up``), as does ``python -m local.stack up|down|status|run``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from etl_runner.errors import PermanentError
from etl_runner.jsontypes import JsonObject, loads
from etl_runner.settings import Settings
from local import rest
from local.functions import FunctionServer
from local.layout import POSTGRES_URL, REPOSITORY, Layout
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


class _Part(Protocol):
    def stop(self) -> None: ...


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
class ExecutionResult:
    """How a workflow execution ended. ``error`` is the raised value, decoded where it is JSON."""

    execution: str
    """Its id, which is the run's id."""
    state: str
    """SUCCEEDED, FAILED or CANCELLED"""
    result: Any = None
    error: Any = None


class Stack:
    """A running topology."""

    postgres: PostgresServer
    storage: CloudStorageServer
    bigquery: BigQueryStandIn
    pubsub: PubSubServer
    identity: TokenIssuer
    run_jobs: CloudRunServer
    dataflow: DataflowServer
    workflows: WorkflowsServer
    admin: AdminServer

    def __init__(
        self,
        data: Path,
        layout: Layout,
        environ: Mapping[str, str],
        sleep_factor: float = 1.0,
        postgres: PostgresServer | None = None,
    ) -> None:
        """Nothing is started yet: see :meth:`start`."""
        if postgres is not None:
            self.postgres = postgres
        self.data = data.absolute()
        self.layout = layout
        self.functions: dict[str, FunctionServer] = {}
        self.seconds: dict[str, float] = {}
        """How long each part took to start, and ``all`` of them together."""
        self._inherited = environ
        self._sleep_factor = sleep_factor
        self._parts: list[_Part] = []
        self._lock = threading.Lock()

    @classmethod
    def start(
        cls,
        data: Path,
        *,
        layout: Layout | None = None,
        environ: Mapping[str, str],
        sleep_factor: float = 1.0,
        postgres: PostgresServer | None = None,
    ) -> Stack:
        """Start every part, as much as possible at once.

        Args:
            data: folder for data, which is kept, and logs.
            environ: what functions and tasks inherit besides their settings.
            sleep_factor: shortens the workflow's waits, 0.1 to a tenth.
            postgres: a server that runs already, to use instead of one of the stack's own.

        Raises:
            PermanentError: a part did not start; those that did are stopped again.
        """
        stack = cls(data, layout or Layout(), environ, sleep_factor, postgres)
        try:
            stack._start()
        except BaseException:
            stack.stop()
            raise
        return stack

    @property
    def settings(self) -> Settings:
        """The deployment's settings."""
        return Settings.from_env(self.environ)

    @property
    def environ(self) -> dict[str, str]:
        """The settings as environment variables, the emulator variables among them."""
        return {**self.layout.settings(), POSTGRES_URL: self.postgres.url}

    @property
    def logs(self) -> Path:
        """Folder of all logs."""
        return self.data / "logs"

    def endpoints(self) -> dict[str, str]:
        """Part to address."""
        layout = self.layout
        return {
            "postgresql": f"{self.postgres.host}:{self.postgres.port}",
            "storage": layout.storage_endpoint,
            "bigquery": layout.bigquery_endpoint,
            "pubsub": self.pubsub.endpoint,
            "run": layout.run_endpoint,
            "dataflow": layout.dataflow_endpoint,
            "workflows": layout.workflows_endpoint,
            "admin": layout.admin_endpoint,
            **{f"function {name}": url for name, url in layout.function_urls.items()},
        }

    def put_source(self, source_id: str, document: JsonObject) -> None:
        """Write a source document to the config bucket."""
        self._put(f"sources/{source_id}.json", document)

    def put_connection(self, connection_id: str, document: JsonObject) -> None:
        """Write a connection document to the config bucket."""
        self._put(f"connections/{connection_id}.json", document)

    def start_run(self, source_id: str, **more: Any) -> str:
        """Start the workflow for a source, with ``more`` in its argument; the execution's full name."""
        from etl_runner.jsontypes import dumps

        execution = {"argument": dumps({"source_id": source_id, **more}).decode()}
        made = self._executions().create_execution(parent=self.workflows.parent, execution=execution)
        return str(made.name)

    def wait_run(self, execution: str, timeout: float = 600.0) -> ExecutionResult:
        """Wait for the end of an execution, by its full name.

        Raises:
            PermanentError: it was still running after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (found := self._executions().get_execution(name=execution)).state.name == "ACTIVE":
            if time.monotonic() > deadline:
                raise PermanentError(f"{execution} is still running after {timeout:g} s.")
            time.sleep(0.05)
        return ExecutionResult(
            execution=execution.rsplit("/", 1)[1],
            state=found.state.name,
            result=_decoded(found.result),
            error=_decoded(found.error.payload),
        )

    def run(self, source_id: str, timeout: float = 600.0) -> ExecutionResult:
        """Load a source through the workflow and wait for it."""
        return self.wait_run(self.start_run(source_id), timeout)

    def put_file(self, name: str, data: bytes, bucket: str | None = None) -> str:
        """Write an object, to the landing bucket unless told otherwise, whose event is delivered; its URI."""
        bucket = bucket or self.layout.names.landing_bucket
        url = f"{self.layout.storage_endpoint}/upload/storage/v1/b/{bucket}/o"
        status, answer = rest.call("POST", f"{url}?uploadType=media&name={quote(name, safe='')}", data)
        if status != 200:
            raise PermanentError(f"{name} was not written to {bucket}: {status} {answer}")
        return f"gs://{bucket}/{name}"

    def sweep(self) -> Any:
        """What the scheduler's tick does every few minutes; the sweep's answer.

        Raises:
            PermanentError: the sweep failed.
        """
        status, answer = rest.call("POST", self.layout.function_urls["sweep"], {}, timeout=600)
        if status != 200:
            raise PermanentError(f"the sweep answered {status}: {answer}")
        return answer

    def stop(self) -> None:
        """Stop everything, what was started last first. Safe to repeat."""
        with self._lock:
            parts, self._parts = self._parts, []
        with ThreadPoolExecutor(max_workers=max(1, len(parts))) as pool:
            # The workflow and its job go first: what they would see fail is only the end.
            last = [part for part in parts if part in self._drivers()]
            for part in last:
                part.stop()
            list(pool.map(lambda part: part.stop(), [part for part in parts if part not in last]))

    def _drivers(self) -> list[object]:
        return [getattr(self, name) for name in ("workflows", "run_jobs", "dataflow") if hasattr(self, name)]

    def _start(self) -> None:
        began = time.monotonic()
        self.logs.mkdir(parents=True, exist_ok=True)
        self.data.chmod(0o755)  # PostgreSQL may run as another account
        env = self.layout.container_env(self._inherited)
        steps: dict[str, Callable[[], None]] = {
            # The slowest first: there are seldom as many processors as parts.
            "bigquery": self._start_bigquery,
            "storage": self._start_storage,
            **({} if hasattr(self, "postgres") else {"postgresql": self._start_postgres}),
            **{f"function {name}": self._function_starter(name, env) for name in self.layout.function_ports},
            "workflows": self._start_workflows,
            "pubsub": self._start_pubsub,
            "run": lambda: self._start_run_jobs(env),
            "dataflow": lambda: self._start_dataflow(env),
            "admin": self._start_admin,
        }
        with ThreadPoolExecutor(max_workers=len(steps)) as pool:
            futures = [pool.submit(self._timed, name, step) for name, step in steps.items()]
        for future in futures:
            future.result()
        # Needs both Cloud Storage (its folders) and BigQuery.
        self.bigquery.create_dataset(self.layout.names.dataset)
        self._put_template()
        self.seconds["all"] = time.monotonic() - began

    def _timed(self, name: str, step: Callable[[], None]) -> None:
        began = time.monotonic()
        step()
        self.seconds[name] = time.monotonic() - began

    def _keep(self, part: _Part) -> None:
        with self._lock:
            self._parts.append(part)

    def _start_storage(self) -> None:
        from local.cloud_storage import CloudStorageServer

        names = self.layout.names
        self.storage = CloudStorageServer.start(
            self.data / "storage",
            project=names.project,
            port=self.layout.storage_port,
            log=self.logs / "storage.log",
            events_topic=names.arrivals_topic,
            events_bucket=names.landing_bucket,
            pubsub_endpoint=f"127.0.0.1:{self.layout.pubsub_port}",
        )
        self._keep(self.storage)
        self.storage.create_buckets(names.buckets)

    def _start_bigquery(self) -> None:
        from local.bigquery.environment import environment_dir
        from local.bigquery.stand_in import BigQueryStandIn

        names = self.layout.names
        self.bigquery = BigQueryStandIn.start(
            self.data / "bigquery",
            project=names.project,
            location=names.bigquery_location,
            storage_endpoint=self.layout.storage_endpoint,
            env_dir=REPOSITORY / environment_dir(),
            port=self.layout.bigquery_port,
            grpc_port=self.layout.bigquery_storage_port,
        )
        self._keep(_Guarded(self.bigquery))

    def _start_postgres(self) -> None:
        from local.postgres import PostgresServer

        self.postgres = PostgresServer.from_environment(
            self.data / "postgres", environ=os.environ, log=self.logs / "postgres.log"
        )
        self._keep(self.postgres)

    def _start_pubsub(self) -> None:
        from local.identity import PUSH_ACCOUNT, TokenIssuer
        from local.pubsub import PubSubServer

        names = self.layout.names
        self.identity = TokenIssuer(self.layout.identity_port)
        self._keep(self.identity)
        self.pubsub = PubSubServer(port=self.layout.pubsub_port, sign=self.identity.token)
        self._keep(self.pubsub)
        self.pubsub.create_topic(names.project, names.events_topic)
        topic = self.pubsub.create_topic(names.project, names.arrivals_topic)
        self.pubsub.create_push(
            topic,
            f"projects/{names.project}/subscriptions/{names.arrivals_topic}",
            self.layout.function_urls["file_arrival"],
            PUSH_ACCOUNT,
        )

    def _start_run_jobs(self, env: Mapping[str, str]) -> None:
        from local.cloud_run import CloudRunServer, Image
        from local.cloud_run.job import JobSpec

        names = self.layout.names
        image = Image(
            [sys.executable, str(REPOSITORY / "runner_image" / "job.py")], env=env, workdir=REPOSITORY
        )
        self.run_jobs = CloudRunServer(image, self.logs / "tasks", port=self.layout.run_port)
        self._keep(self.run_jobs)
        spec = JobSpec(max_retries=TASK_RETRIES, timeout=TASK_TIMEOUT_SECONDS)
        self.run_jobs.deploy(names.project, names.location, names.job, spec)

    def _start_dataflow(self, env: Mapping[str, str]) -> None:
        from local.dataflow.start import start_dataflow

        self.dataflow = start_dataflow(self.layout, env, self.logs / "dataflow")
        self._keep(self.dataflow)

    def _start_workflows(self) -> None:
        from local.workflows.clock import SystemClock
        from local.workflows.service import serve

        names = self.layout.names
        self.workflows = serve(
            REPOSITORY / "workflows" / "etl.yaml",
            name=names.workflow,
            project=names.project,
            location=names.location,
            env=self.layout.workflow_env(),
            endpoints={"run": self.layout.run_endpoint, "dataflow": self.layout.dataflow_endpoint},
            port=self.layout.workflows_port,
            clock=SystemClock(self._sleep_factor),
        )
        self._keep(self.workflows)

    def _start_admin(self) -> None:
        from local.admin import AdminServer, Resources

        # Nobody is refused anything on this machine: permissions are told as Terraform would grant them.
        # Functions are deployed under names without underscores.
        urls = {name.replace("_", "-"): url for name, url in self.layout.function_urls.items()}
        resources = Resources.of(self.layout.deployment(), urls)
        self.admin = AdminServer(resources, port=self.layout.admin_port)
        self._keep(self.admin)

    def _function_starter(self, name: str, env: Mapping[str, str]) -> Callable[[], None]:
        def start() -> None:
            server = FunctionServer(
                name,
                REPOSITORY / "functions" / name / "main.py",
                env={**env, **self.layout.event_env()} if name == "file_arrival" else env,
                log=self.logs / f"function-{name}.log",
                port=self.layout.function_ports[name],
            )
            self.functions[name] = server
            self._keep(server)
            server.wait()

        return start

    def _put_template(self) -> None:
        from local.dataflow.start import IMAGE
        from tools.template import template_spec

        name = self.layout.dataflow_template.partition(self.layout.names.config_bucket + "/")[2]
        self.put_file(name, template_spec(IMAGE), self.layout.names.config_bucket)

    def _put(self, name: str, document: JsonObject) -> None:
        bucket = self.layout.names.config_bucket
        url = f"{self.layout.storage_endpoint}/upload/storage/v1/b/{bucket}/o"
        status, answer = rest.call("POST", f"{url}?uploadType=media&name={quote(name, safe='')}", document)
        if status != 200:
            raise PermanentError(f"{name} was not written to {bucket}: {status} {answer}")

    def _executions(self) -> Any:
        with self._lock:
            if not hasattr(self, "_executions_client"):
                from etl_runner.gcp.clients import executions_client

                self._executions_client: Any = executions_client(self.settings)
            return self._executions_client


def _decoded(text: str) -> Any:
    if not text:
        return None
    try:
        return loads(text.encode())
    except ValueError:
        return text


def up(root: Path = REPOSITORY) -> dict[str, str]:
    """Start a topology in the background, unless one runs already; part to address.

    Raises:
        PermanentError: it did not start; with the end of its log.
    """
    from local.supervisor import Supervisor

    return Supervisor(root).up()


def down(root: Path = REPOSITORY, *, clean: bool = False) -> None:
    """Stop the topology in the background, if there is one; ``clean`` removes its data too."""
    from local.supervisor import Supervisor

    Supervisor(root).down(clean=clean)


def status(root: Path = REPOSITORY) -> dict[str, str]:
    """Part to address of the topology in the background; ``{"running": "no"}`` when there is none."""
    from local.supervisor import Supervisor

    return Supervisor(root).status()


if __name__ == "__main__":
    from local.supervisor import main

    sys.exit(main())
