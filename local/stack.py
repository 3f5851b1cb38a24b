"""The whole topology: started together, used, stopped together.

``Stack.start`` runs it inside this process (tests, demo); :func:`up`, :func:`down` and :func:`status` keep
one in the background (``etl-runner local up``), as does ``python -m local.stack up|down|status|run``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from etl_runner.errors import PermanentError
from etl_runner.jsontypes import JsonObject, loads
from etl_runner.settings import Settings
from local import rest
from local.layout import POSTGRES_URL, REPOSITORY, Layout
from local.parts import (
    PARTS,
    Part,
    PartT,
    Place,
    dataflow_template,
    start_function,
    start_identity,
    start_pubsub,
)

if TYPE_CHECKING:
    from local.admin import AdminServer
    from local.bigquery.stand_in import BigQueryStandIn
    from local.cloud_run import CloudRunServer
    from local.cloud_storage import CloudStorageServer
    from local.dataflow import DataflowServer
    from local.functions import FunctionServer
    from local.identity import TokenIssuer
    from local.postgres import PostgresServer
    from local.pubsub import PubSubServer
    from local.workflows.service import WorkflowsServer


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
        self._parts: list[Part] = []
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

    def keep(self, part: PartT) -> PartT:
        """Stop a further server together with the topology; the server."""
        with self._lock:
            self._parts.append(part)
        return part

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
        place = Place(self.data, self.logs, self.layout, self._inherited, self._sleep_factor, self.keep)
        starts = dict(PARTS)
        if hasattr(self, "postgres"):
            del starts["postgres"]
        steps: dict[str, Callable[[], None]] = {
            **{name: self._starter(name, start, place) for name, start in starts.items()},
            **{
                f"function {name}": self._function_starter(name, place) for name in self.layout.function_ports
            },
            "pubsub": lambda: self._start_pubsub(place),
        }
        with ThreadPoolExecutor(max_workers=len(steps)) as pool:
            futures = [pool.submit(self._timed, name, step) for name, step in steps.items()]
        for future in futures:
            future.result()
        # Needs both Cloud Storage (its folders) and BigQuery.
        self.bigquery.create_dataset(self.layout.names.dataset)
        name, spec = dataflow_template(self.layout)
        self.put_file(name, spec, self.layout.names.config_bucket)
        self.seconds["all"] = time.monotonic() - began

    def _starter(self, name: str, start: Callable[[Place], Any], place: Place) -> Callable[[], None]:
        return lambda: setattr(self, name, start(place))

    def _start_pubsub(self, place: Place) -> None:
        self.identity = start_identity(place)
        self.pubsub = start_pubsub(place, self.identity)

    def _function_starter(self, name: str, place: Place) -> Callable[[], None]:
        def start() -> None:
            self.functions[name] = start_function(name, place)

        return start

    def _timed(self, name: str, step: Callable[[], None]) -> None:
        began = time.monotonic()
        step()
        self.seconds[name] = time.monotonic() - began

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


def up(root: Path = REPOSITORY, clouds: Sequence[str] = ()) -> dict[str, str]:
    """Start a topology in the background, unless one runs already; part to address.

    Args:
        clouds: ``s3``, ``azure``: their storage, too.

    Raises:
        PermanentError: it did not start, with the end of its log; or it runs without one of ``clouds``.
    """
    from local.supervisor import Supervisor

    return Supervisor(root).up(clouds=clouds)


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
