"""What the exactness tests share: sources, runs by the workflow or step by step, and what came of them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from etl_runner.commit.close import Done, Pending, RunKey
from etl_runner.commit.open_run import Opened
from etl_runner.config.resolved import ResolvedSource
from etl_runner.execution.task import TaskOptions, run_task
from etl_runner.gcp.deployment import Deployment
from etl_runner.jsontypes import JsonObject, loads
from etl_runner.planning.plan import Plan, PlanHeader
from etl_runner.planning.write_plan import plan_name
from etl_runner.sources.base import Source
from etl_runner.state.document import State
from local.bigquery.front.faults import FaultsClient
from local.stack import ExecutionResult, Stack
from tests.conftest import Database, fresh_name

CONNECTION = "shop"


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for a true value and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return value


def sentence(ended: ExecutionResult) -> str:
    """What a failed execution tells: a function's own message, or the one that the workflow raised."""
    assert ended.state == "FAILED", ended
    body = ended.error.get("body")
    return str(body["error"]["message"] if isinstance(body, dict) else ended.error["message"])


@dataclass
class Lab:
    """One test's part of the topology."""

    stack: Stack
    database: Database
    password_file: Path
    source_id: str = field(default_factory=lambda: fresh_name("orders"))
    table: str = field(default_factory=lambda: fresh_name("loaded"))

    @property
    def faults(self) -> FaultsClient:
        """Faults of BigQuery and its log of requests."""
        return self.stack.bigquery.faults

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment's parts, in this process."""
        return Deployment(self.stack.settings)

    @property
    def path(self) -> str:
        """``project.dataset.table`` of the destination."""
        settings = self.stack.settings
        return f"{settings.project}.{settings.dataset}.{self.table}"

    def connection(self, **fields: Any) -> JsonObject:
        """The connection document of the test's database."""
        return {
            "source_type": "postgresql",
            "host": self.database.host,
            "port": self.database.port,
            "database": self.database.database,
            "username": self.database.user,
            "password": {"file": str(self.password_file)},
            **fields,
        }

    def put(self, source_id: str | None = None, *, server: JsonObject | None = None, **fields: Any) -> None:
        """Write a source document and its connection, which is ``server`` or that of the test's database."""
        source_id = source_id or self.source_id
        self.stack.put_connection(source_id, server or self.connection())
        document = {
            "source_type": "postgresql",
            "connection": source_id,
            "load_type": "transactional",
            "dest_table_name": self.table,
            **fields,
        }
        self.stack.put_source(source_id, document)

    def run(self, source_id: str | None = None, timeout: float = 120.0) -> ExecutionResult:
        """One run through the workflow."""
        return self.stack.run(source_id or self.source_id, timeout)

    def run_ok(self, source_id: str | None = None) -> JsonObject:
        """One run through the workflow that has to end well; its receipt."""
        ended = self.run(source_id)
        assert ended.state == "SUCCEEDED", ended
        receipt: JsonObject = ended.result
        assert receipt["outcome"] == "ok", receipt
        return receipt

    def run_id(self, name: str) -> str:
        """A run id that no other test uses."""
        return f"{name}-{self.source_id}"

    def open_and_plan(self, name: str) -> tuple[RunKey, PlanHeader]:
        """The first two steps of the run ``run_id(name)``, in this process."""
        opened = self.deployment.opener(self.source_id).open_run(self.run_id(name))
        assert isinstance(opened, Opened), opened
        self.deployment.plan_writer(self.source_id).write_plan(opened.key)
        return opened.key, self.plan(opened.key).header

    def plan(self, key: RunKey) -> Plan:
        """The run's plan as it is stored."""
        stored = self.deployment.staging.read(plan_name(key.run_id, key.epoch))
        assert stored is not None
        return Plan.from_jsonl(stored.data)

    def extract(self, key: RunKey, open_source: Callable[[PlanHeader], Source] | None = None) -> None:
        """All units, in this process."""

        def opened(plan: PlanHeader) -> Source:
            return self.deployment.open_source(ResolvedSource.from_json(plan.config))

        name = plan_name(key.run_id, key.epoch)
        run_task(
            self.deployment.staging,
            name,
            0,
            1,
            open_source or opened,
            options=TaskOptions(backoff_seconds=0.1),
        )

    def finalize(self, key: RunKey) -> Done:
        """The last step, asked until it is done."""
        finalizer = self.deployment.finalizer(self.source_id)
        deadline = time.monotonic() + 60
        while isinstance(result := finalizer.finalize(key), Pending):
            assert time.monotonic() < deadline, result
            time.sleep(0.05)
        return result

    def step_by_step(self, name: str) -> Done:
        """The whole run ``run_id(name)`` in this process, without the workflow."""
        key, _ = self.open_and_plan(name)
        self.extract(key)
        return self.finalize(key)

    def steps_ok(self, name: str) -> JsonObject:
        """The whole run in this process, which has to end well; its receipt."""
        done = self.step_by_step(name)
        receipt = done.receipt or {}
        assert done.outcome == "ok", (
            f"{done.outcome}: {receipt.get('reason')}\n{json.dumps(receipt, indent=1)}"
        )
        return receipt

    def state(self, source_id: str | None = None) -> State:
        """The state object as it is."""
        return self.deployment.store(source_id or self.source_id).read()

    def receipts(self, source_id: str | None = None) -> list[JsonObject]:
        """All receipts of a source."""
        prefix = f"sources/{source_id or self.source_id}/receipts/"
        state = self.deployment.state
        found = [state.read(info.name) for info in state.list(prefix)]
        return [loads(stored.data) for stored in found if stored is not None]

    @cached_property
    def bigquery(self) -> Any:
        """google-cloud-bigquery's client, past the front: faults do not meet it, the log does not have it."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        return Client(
            project=self.stack.settings.project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.stack.bigquery.process.url},
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a BigQuery query; ``{table}`` in it stands for the destination."""
        result = self.bigquery.query_and_wait(sql.replace("{table}", f"`{self.path}`"))
        return [tuple(row.values()) for row in result]

    def loaded(self, columns: str = "id, version") -> list[tuple[Any, ...]]:
        """The destination's rows, in order; none when there is no such table."""
        if not self.table_exists():
            return []
        return self.query(f"SELECT {columns} FROM {{table}} ORDER BY {columns}")

    def table_exists(self) -> bool:
        """Whether the destination is there."""
        from google.api_core.exceptions import NotFound

        try:
            self.bigquery.get_table(self.path)
        except NotFound:
            return False
        return True

    def source_rows(self, columns: str = "id, version", table: str = "orders") -> list[tuple[Any, ...]]:
        """The source's rows, in order."""
        return self.database.query(f"SELECT {columns} FROM {table} ORDER BY {columns}")

    def job_ids(self) -> list[str]:
        """Ids of this source's jobs, as the front saw them submitted, in order; also those that failed."""
        prefix = f"etl_{self.source_id}_"
        requests = self.faults.requests("POST", "/jobs")
        return [r.job_id for r in requests if r.job_id is not None and r.job_id.startswith(prefix)]

    def settled(self, source_id: str | None = None) -> State:
        """The state, whose slot has to be free."""
        state = self.state(source_id)
        assert state.slot is None, state.slot
        return state

    def check_equal(self, columns: str = "id, version") -> None:
        """Source and destination hold the same rows, and the slot is free."""
        loaded, wanted = self.loaded(columns), self.source_rows(columns)
        assert loaded == wanted
        self.settled()

    def kill_function(self, name: str) -> None:
        """SIGKILL the function's process with all of its children; the platform starts another."""
        server = self.stack.functions[name]
        pid = server.pid
        os.killpg(pid, signal.SIGKILL)
        until(lambda: server.pid != pid, f"{name} to be started again")

    def call(self, name: str, body: JsonObject, timeout: float = 120.0) -> tuple[int, Any]:
        """POST to a function as the workflow does: status and JSON of the answer; status 0 when the
        connection ended without one."""
        request = urllib.request.Request(
            self.stack.functions[name].url,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, http.client.HTTPException):
            return 0, None

    @contextmanager
    def locked(self, relation: str) -> Iterator[None]:
        """Nobody reads the table until the block ends."""
        connection = self.database.connect()
        try:
            connection.run("BEGIN")
            connection.run(f"LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE")
            yield
            connection.run("COMMIT")
        finally:
            connection.close()

    def waiting(self, name: str) -> list[int]:
        """Server processes that wait for a lock; ``name`` is the run's id, or ``plan``."""
        rows = self.database.query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND application_name LIKE :name",
            # The server cuts long names off.
            name=f"etl-runner {self.source_id}/{name[:20]}%",
        )
        return [pid for (pid,) in rows]

    @contextmanager
    def storage_stopped(self) -> Iterator[None]:
        """Cloud Storage answers nobody until the block ends; what reaches it meanwhile it does then."""
        pid = self.stack.storage._child.pid
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(pid, signal.SIGCONT)

    def close(self) -> None:
        """Close the clients."""
        if "bigquery" in self.__dict__:
            self.bigquery.close()


ORDERS = """
CREATE TABLE orders (
    id bigint NOT NULL,
    version int NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text
);
CREATE INDEX ON orders (updated_at);
"""


def orders(lab: Lab, rows: int = 5, **fields: Any) -> None:
    """A table with rows that are a day old, and a source of it."""
    lab.database.execute(ORDERS)
    add_orders(lab, rows, first=1)
    lab.put(**{"source_table_name": "orders", "timestamp_column": "updated_at", **fields})


def add_orders(lab: Lab, rows: int, first: int | None = None) -> None:
    """Further rows, each newer than the one before, the newest a moment old."""
    if first is None:
        ((first,),) = lab.database.query("SELECT coalesce(max(id), 0) + 1 FROM orders")
    lab.database.execute(
        "INSERT INTO orders (id, updated_at, note) "
        "SELECT i, clock_timestamp(), 'order ' || i "
        f"FROM generate_series({first}, {int(first) + rows - 1}) AS i"
    )
