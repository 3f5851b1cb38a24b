"""A deployment in memory for the command's tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from etl_runner import jsontypes
from etl_runner.cli.execution import Execution
from etl_runner.cli.main import app
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.secrets import EnvFileResolver, SecretResolver
from etl_runner.convert.fields import BqField
from etl_runner.execution.manifest import Manifest, manifest_name
from etl_runner.history.drain import Target
from etl_runner.history.history import History
from etl_runner.planning.plan import (
    Destination,
    Plan,
    PlanHeader,
    PlannedColumn,
    Window,
    WorkUnit,
    run_prefix,
)
from etl_runner.settings import Settings
from etl_runner.sources.base import Source
from etl_runner.state.document import Last, Slot, State
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore

RECEIPT: dict[str, Any] = {
    "source_id": "orders",
    "run_id": "r1",
    "epoch": 1,
    "outcome": "ok",
    "started": "2026-01-02T03:04:05.000000+00:00",
    "finished": "2026-01-02T03:04:07.500000+00:00",
    "window": {"column": "at", "low": None, "high": "2026-01-02 03:04:05+00", "late": "1h"},
    "units": 3,
    "rows_loaded": 150000,
    "rejects": 0,
    "bytes": 1048576,
    "jobs": ["etl_orders_1_r1_1"],
    "destination": "p.d.orders",
    "watermark_after": {"value": "2026-01-02 03:04:05+00", "xid": "771"},
}


def make_plan(units: int = 2, *, snapshot: bool = False) -> Plan:
    """A plan of run r1 of orders, epoch 1."""
    fields = (BqField("id", "INT64"), BqField("at", "TIMESTAMP"))
    columns = (
        PlannedColumn("id", "bigint", fields[0], '"id"'),
        PlannedColumn("at", "timestamp with time zone", fields[1], '"at"'),
    )
    header = PlanHeader(
        source_id="orders",
        run_id="r1",
        epoch=1,
        created="2026-01-02T03:04:05+00:00",
        config={},
        config_hash="0",
        source_type="postgresql",
        engine="cloud_run",
        engine_reason="below the threshold of 1,000,000 rows",
        disposition="append",
        window=Window("cursor", "at", None, "2026-01-02 03:04:05+00", "1h"),
        columns=columns,
        destination=Destination("p", "d", "orders", "EU", False, fields, (), "at", "DAY"),
        units=units,
        tasks=1,
        slots=2,
        estimated_rows=100,
        estimated_bytes=1000,
        estimate_how="pg_class",
        snapshot=snapshot,
        notes=("session 4711 holds the window back",),
    )
    made = tuple(WorkUnit(f"u{n:05}", "range", {}, f"at [{n}, {n + 1})", 50) for n in range(units))
    return Plan(header, made)


class ScriptedExecutions:
    """Plays a script: each look at the execution runs the next step and gives what it returns."""

    def __init__(self) -> None:
        self.script: list[Callable[[], Execution]] = []
        self.started: list[str] = []

    def start(self, source_id: str, run_id: str | None = None) -> Execution:
        self.started.append(source_id)
        return self.execution("active")

    def get(self, execution: Execution) -> Execution:
        return self.script.pop(0)()

    def find(self, run_id: str) -> Execution | None:
        return None

    def cancel(self, execution: Execution) -> None:
        raise AssertionError("nothing is to be cancelled")

    def execution(self, state: Any, **more: Any) -> Execution:
        return Execution("projects/p/locations/l/workflows/etl/executions/r1", state, **more)


class FixedPlanner:
    """Gives a fixed plan, or raises a fixed error."""

    def __init__(self) -> None:
        self.plan: Plan | Exception = make_plan()

    def make_plan(self, resolved: object, key: object, state: State) -> Plan:
        if isinstance(self.plan, Exception):
            raise self.plan
        return self.plan


@dataclass
class FakeDeployment:
    config: MemoryObjectStore = field(default_factory=lambda: MemoryObjectStore("config"))
    state: MemoryObjectStore = field(default_factory=lambda: MemoryObjectStore("state"))
    staging: MemoryObjectStore = field(default_factory=lambda: MemoryObjectStore("staging"))
    executions: ScriptedExecutions = field(default_factory=ScriptedExecutions)
    fixed_planner: FixedPlanner = field(default_factory=FixedPlanner)

    settings: Settings = field(
        default_factory=lambda: Settings("p", "l", "EU", "d", "config", "state", "staging")
    )
    secrets: SecretResolver = field(default_factory=lambda: EnvFileResolver({"PASSWORD": "x"}))

    def open_source(self, resolved: ResolvedSource) -> Source:
        raise AssertionError("a source was opened")

    @property
    def jobs(self) -> Any:
        raise AssertionError("BigQuery was asked")

    @property
    def history_target(self) -> Target:
        return Target("p", "d", "EU")

    @property
    def history(self) -> History:
        return History(self.state, self.staging, lambda: self.jobs, self.history_target)

    def planner(self) -> FixedPlanner:
        return self.fixed_planner

    def invoke(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), obj=self)

    def json(self, *arguments: str) -> tuple[int, Any]:
        """Exit code and the one document on stdout."""
        result = self.invoke(*arguments, "--json")
        return result.exit_code, json.loads(result.stdout)

    def add_source(self, source_id: str = "orders", **changes: Any) -> None:
        connection = {
            "source_type": "postgresql",
            "host": "db.example.com",
            "database": "sales",
            "username": "etl",
            "password": {"env": "PASSWORD"},
        }
        document = {
            "source_type": "postgresql",
            "connection": "warehouse",
            "source_table_name": "orders",
            "load_type": "transactional",
            "timestamp_column": "at",
            "dest_table_name": "orders",
            **changes,
        }
        if self.config.read("connections/warehouse.json") is None:
            self.config.create("connections/warehouse.json", jsontypes.dumps(connection))
        self.config.create(f"sources/{source_id}.json", jsontypes.dumps(document))

    def put_state(self, state: State, source_id: str = "orders") -> None:
        StateStore(self.state, source_id, sleep=lambda seconds: None).change(lambda current: state)

    def hold(self, phase: Any = "extracting") -> None:
        """Run r1 of orders holds the slot."""
        self.put_state(State(epoch=1, slot=Slot("r1", 1, "2026-01-02T04:00:00+00:00", phase)))

    def finish(self, receipt: dict[str, Any] = RECEIPT, paused: str | None = None) -> None:
        """Run r1 of orders is over."""
        last = Last("r1", 1, receipt["outcome"], receipt)
        self.put_state(State(receipt.get("watermark_after"), epoch=1, last=last, paused=paused))
        Receipts(self.state, "orders").write(receipt)

    def put_plan(self, plan: Plan) -> None:
        self.staging.create(f"{run_prefix('r1', 1)}plan.jsonl", plan.to_jsonl())

    def put_manifest(self, unit: int, rows: int = 50, snapshot: str | None = None, rejects: int = 0) -> None:
        name = f"u{unit:05}"
        manifest = Manifest(name, "a", rows, rows + rejects, rejects, rows * 10, (), snapshot=snapshot)
        self.staging.create(manifest_name("r1", 1, name, snapshot), jsontypes.dumps(manifest.to_json()))


@pytest.fixture
def deployment() -> FakeDeployment:
    return FakeDeployment()


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours, a wide page: tests read what people read."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def lines(result: Result) -> Sequence[str]:
    return [line.rstrip() for line in result.stdout.splitlines()]
