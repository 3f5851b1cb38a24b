"""Plans, sources and stores for the tests of execution/."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl_runner.convert.fields import BqField
from etl_runner.errors import RetryableError
from etl_runner.execution.manifest import Manifest
from etl_runner.planning.plan import Destination, Plan, PlanHeader, PlannedColumn, Window, WorkUnit
from etl_runner.sources.base import Description, Extract, PlanRequest, Rows, SourceColumn
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectInfo, StoredObject

PLAN_NAME = "runs/run1/7/plan.jsonl"
COLUMNS = (
    PlannedColumn("id", "bigint", BqField("id", "INT64", "REQUIRED")),
    PlannedColumn("name", "text", BqField("name", "STRING")),
    PlannedColumn("amount", "numeric(12,2)", BqField("amount", "NUMERIC", precision=12, scale=2)),
)


def make_plan(units: int = 3, *, rows: int = 10, **changes: Any) -> Plan:
    """Unit k holds the ids from k*rows on."""
    header = PlanHeader(
        source_id="orders",
        run_id="run1",
        epoch=7,
        created="2026-01-02T03:04:05+00:00",
        config={},
        config_hash="h",
        source_type="postgresql",
        engine="cloud_run",
        engine_reason="test",
        disposition="append",
        window=Window("all"),
        columns=COLUMNS,
        destination=Destination(
            "p", "d", "t", "EU", exists=False, schema=tuple(c.destination for c in COLUMNS)
        ),
        units=units,
        tasks=1,
        slots=2,
        estimated_rows=None,
        estimated_bytes=None,
        estimate_how="test",
    )
    work = tuple(
        WorkUnit(f"u{k:05d}", "range", {"low": k * rows, "high": (k + 1) * rows}, f"unit {k}")
        for k in range(units)
    )
    return Plan(replace(header, **changes), work)


def batch_of(ids: Sequence[int | None], amounts: Sequence[str] | None = None) -> pa.RecordBatch:
    """A batch as the source sends it: amounts as text."""
    return pa.record_batch(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array([f"name {number}" for number in ids], pa.string()),
            "amount": pa.array(amounts or [f"{number or 0}.25" for number in ids], pa.string()),
        }
    )


class FakeSource:
    """Serves a plan's ranges in two batches a unit. ``trouble(unit, batch)`` may raise before a batch."""

    def __init__(
        self,
        trouble: Callable[[WorkUnit, int], None] = lambda unit, number: None,
        batches: Callable[[WorkUnit], list[pa.RecordBatch]] | None = None,
    ) -> None:
        self.trouble = trouble
        self.batches = batches or self._batches
        self.sessions = 0
        self.readers = 0
        self.snapshots: list[bool] = []

    @staticmethod
    def _batches(unit: WorkUnit) -> list[pa.RecordBatch]:
        low, high = unit.spec["low"], unit.spec["high"]
        middle = (low + high) // 2
        return [batch_of(range(low, middle)), batch_of(range(middle, high))]

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        for number, batch in enumerate(self.batches(unit)):
            self.trouble(unit, number)
            yield Rows(batch)

    def describe(self) -> Description:
        raise AssertionError("planning is over")

    def expression(self, column: SourceColumn, destination: BqField) -> str | None:
        raise AssertionError("planning is over")

    def plan(self, request: PlanRequest) -> Extract:
        raise AssertionError("planning is over")

    @contextmanager
    def reader(self) -> Iterator[FakeSource]:
        self.readers += 1
        yield self

    @contextmanager
    def session(self, plan: PlanHeader, *, snapshot: bool) -> Iterator[FakeSource]:
        self.sessions += 1
        self.snapshots.append(snapshot)
        yield self


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, no cleaning up either."""


class FaultyStore(MemoryObjectStore):
    """Counts calls, and at the call number ``at`` does what ``how`` says: ``before`` the effect, or
    ``after`` it, the call raises; with ``error`` Killed, every later call raises too."""

    def __init__(
        self, at: int | None = None, how: str = "before", error: type[BaseException] = RetryableError
    ) -> None:
        super().__init__()
        self.at, self.how, self.error = at, how, error
        self.calls: list[str] = []
        self._dead = False
        self._gate = threading.Lock()

    def revive(self) -> None:
        """From now on all is well."""
        self.at, self._dead = None, False

    def _fail(self) -> None:
        self._dead = self.error is Killed
        raise self.error("the store is out of reach")

    def _call(self, label: str, effect: Callable[[], Any]) -> Any:
        with self._gate:
            if self._dead:
                raise Killed
            number = len(self.calls)
            self.calls.append(label)
        if number == self.at and self.how == "before":
            self._fail()
        result = effect()
        if number == self.at:
            self._fail()
        return result

    def read(self, name: str) -> StoredObject | None:
        found: StoredObject | None = self._call(f"read {name}", lambda: MemoryObjectStore.read(self, name))
        return found

    def create(
        self,
        name: str,
        data: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        del metadata
        return int(self._call(f"create {name}", lambda: MemoryObjectStore.create(self, name, data)))

    def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
        data = Path(path).read_bytes()
        return ObjectInfo(name, len(data), self.create(name, data, content_type))

    def delete(self, name: str) -> None:
        self._call(f"delete {name}", lambda: MemoryObjectStore.delete(self, name))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found: Iterator[ObjectInfo] = self._call(
            f"list {prefix}", lambda: MemoryObjectStore.list(self, prefix)
        )
        return found


def stored(plan: Plan, store: MemoryObjectStore | None = None) -> MemoryObjectStore:
    """A store that holds the plan."""
    store = store or MemoryObjectStore()
    MemoryObjectStore.create(store, PLAN_NAME, plan.to_jsonl())
    return store


def rows_of(store: MemoryObjectStore, manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """All rows of the shards that the manifests name."""
    rows: list[dict[str, Any]] = []
    for manifest in manifests:
        for shard in manifest.shards:
            found = MemoryObjectStore.read(store, shard.name)
            assert found is not None, shard.name
            rows += pq.read_table(pa.BufferReader(found.data)).to_pylist()
    return rows


def names(store: MemoryObjectStore, prefix: str = "") -> list[str]:
    """The names of all objects."""
    return [info.name for info in MemoryObjectStore.list(store, prefix)]
