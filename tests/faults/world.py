"""A small world in which every remote call can be cut: source, objects, BigQuery, and one run after another.

The protocol's own code runs unchanged; only what lies behind its collaborators is made here, with the
semantics of the real services: generations and create-only writes, job ids that are burnt by their first
use, jobs that are atomic and go on when their submitter dies.
"""

from __future__ import annotations

import io
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from etl_runner import jsontypes
from etl_runner.commit.close import Closer, Done, Failure, RunKey
from etl_runner.commit.finalize import Finalizer
from etl_runner.commit.jobs import JobExists, JobStatus, destination_of
from etl_runner.commit.open_run import Finished, Opened, Opener, Skipped
from etl_runner.convert.fields import BqField
from etl_runner.errors import EtlError, JobRefused, ObjectExists, PermanentError, RetryableError
from etl_runner.execution.collect import collect_verified
from etl_runner.execution.manifest import Manifest, Shard, manifest_name, rejects_name, shard_name
from etl_runner.planning.plan import Destination, Plan, PlanHeader, PlannedColumn, Window, WorkUnit
from etl_runner.planning.write_plan import PlanWriter
from etl_runner.state.ledger import Ledger
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.records import CommitRecords
from etl_runner.state.store import StateStore

SOURCE = "orders"
TABLE = "p.d.orders"


class Killed(BaseException):
    """The process is gone; no handler of the code under test may see it."""


class BigQueryWorld:
    """Tables and jobs. Loads read the real Parquet bytes from the staging store."""

    def __init__(self, staging: MemoryObjectStore) -> None:
        self.staging = staging
        self.tables: dict[str, list[int]] = {}
        self.jobs: dict[str, JobStatus] = {}
        self.submitted: list[str] = []
        self.failures: list[str] = []
        """Reasons with which the next jobs fail."""
        self.rejects_failures: list[str] = []
        """The same for the next jobs that load rejects; ``refused`` refuses one."""
        self.rejected: list[tuple[str, str, int]] = []
        """Run, unit and row of what is in the rejects table."""
        self.refusals = 0
        """So many next submissions of loads and queries are refused."""
        self.miscount = 0
        self.lock = threading.Lock()

    def get(self, job_id: str, location: str) -> JobStatus | None:
        assert location == "EU"
        return self.jobs.get(job_id)

    def insert(self, job_id: str, location: str, configuration: dict[str, Any]) -> JobStatus:
        assert location == "EU"
        with self.lock:
            if job_id in self.jobs:
                raise JobExists(job_id)
            tombstone = "etl_tombstone" in configuration["labels"]
            rejects = "etl_rejects" in configuration["labels"]
            failures = self.rejects_failures if rejects else self.failures
            if self.refusals and not tombstone and not rejects:
                self.refusals -= 1
                raise JobRefused("the request is invalid")
            if failures[:1] == ["refused"] and not tombstone:
                failures.pop(0)
                raise JobRefused("the request is invalid")
            kind = "load" if "load" in configuration else "query"
            status = JobStatus(
                job_id,
                kind,
                "DONE",
                configuration["labels"],
                destination_of(configuration),
                query=configuration.get("query", {}).get("query"),
            )
            self.submitted.append(job_id)
            if failures and not tombstone:
                status = replace(status, reason=failures.pop(0), message="told to fail")
            else:
                status = replace(status, rows=self._run(kind, configuration[kind], status.destination))
            self.jobs[job_id] = status
            return status

    def create_table(self, table: dict[str, Any]) -> None:
        self.tables.setdefault(_path(table["tableReference"]), [])

    def add_columns(self, table: dict[str, Any]) -> None:
        assert _path(table["tableReference"]) in self.tables

    def delete_table(self, path: str) -> None:
        self.tables.pop(path, None)

    def _run(self, kind: str, job: dict[str, Any], destination: str | None) -> int:
        if kind == "query" and (reads := _DIRECT.search(job["query"])):
            return self._read_source(job, range(int(reads[1]) + 1, int(reads[2]) + 1), destination)
        if kind == "load":
            assert destination is not None
            if job["sourceFormat"] == "NEWLINE_DELIMITED_JSON":
                return self._load_rejects(destination, job)
            rows = [row for uri in job["sourceUris"] for row in self._shard(uri)]
            if job["createDisposition"] == "CREATE_NEVER":
                assert destination in self.tables
            self._write(destination, rows, job["writeDisposition"])
            return len(rows) + self.miscount
        if found := re.fullmatch(r"INSERT INTO `(.+?)` .* FROM `(.+?)`", job["query"]):
            self._write(found[1], self.tables[found[2]], "WRITE_APPEND")
            return len(self.tables[found[2]]) + self.miscount
        if found := re.fullmatch(
            r"MERGE INTO `(.+?)` AS T USING \(SELECT .* FROM `(.+?)`\) AS S ON FALSE "
            r"WHEN NOT MATCHED BY SOURCE AND T.`id` > (\d+) AND T.`id` <= (\d+) THEN DELETE "
            r"WHEN NOT MATCHED BY TARGET THEN INSERT .*",
            job["query"],
        ):
            low, high = int(found[3]), int(found[4])
            kept = [row for row in self.tables[found[1]] if not low < row <= high]
            self.tables[found[1]] = [*kept, *self.tables[found[2]]]
            return len(self.tables[found[2]])
        if found := re.fullmatch(
            r"MERGE INTO `(.+?)` AS T USING .* FROM `(.+?)`\).* VALUES .*", job["query"]
        ):
            staged = self.tables[found[2]]
            self.tables[found[1]] = sorted({*self.tables.get(found[1], []), *staged})
            return len(set(staged))
        if found := re.fullmatch(r"TRUNCATE TABLE `(.+?)`", job["query"]):
            self.tables[found[1]] = []
            return 0
        if destination is not None and (
            found := re.search(r" LEFT JOIN `(.+?)` ON etl_any = 1$", job["query"])
        ):
            # Published unless it is empty.
            assert self.tables[found[1]]
            self._write(destination, self.tables[found[1]], job["writeDisposition"])
            return len(self.tables[found[1]]) + self.miscount
        if destination is not None and (found := re.fullmatch(r"SELECT .* FROM `(.+?)`", job["query"])):
            self._write(destination, self.tables[found[1]], job["writeDisposition"])
            return len(self.tables[found[1]]) + self.miscount
        assert job["query"].startswith("SELECT 1"), job
        return 1

    def _load_rejects(self, destination: str, job: dict[str, Any]) -> int:
        assert destination.endswith("__rejects")
        assert destination in self.tables
        lines = []
        for uri in job["sourceUris"]:
            stored = self.staging.read(uri.removeprefix("gs://staging/"))
            assert stored is not None, f"{uri} is gone while its job runs"
            lines += [jsontypes.loads(line) for line in stored.data.splitlines()]
        self.rejected += [(line["run_id"], line["unit"], line["row"]) for line in lines]
        return len(lines)

    def _read_source(self, job: dict[str, Any], rows: range, destination: str | None) -> int:
        """A query from the source itself: each row of the range, into a table or merged."""
        query = job["query"]
        if found := re.match(r"INSERT INTO `(.+?)` ", query):
            self._write(found[1], list(rows), "WRITE_APPEND")
        elif found := re.match(r"MERGE INTO `(.+?)` AS T ", query):
            self.tables[found[1]] = sorted({*self.tables.get(found[1], []), *rows})
        else:
            assert destination is not None
            assert destination in self.tables
            self._write(destination, list(rows), job["writeDisposition"])
        return len(rows) + self.miscount

    def _write(self, table: str, rows: list[int], disposition: str) -> None:
        kept = self.tables.get(table, []) if disposition == "WRITE_APPEND" else []
        self.tables[table] = [*kept, *rows]

    def _shard(self, uri: str) -> list[int]:
        stored = self.staging.read(uri.removeprefix("gs://staging/"))
        assert stored is not None, f"{uri} is gone while its job runs"
        return list(_ids(stored.data))


_DIRECT = re.compile(r"FROM `s.orders` WHERE id > (\d+) AND id <= (\d+)")
"""How a run of the engine ``bigquery`` reads the source."""


_PUT_ASIDE = re.compile(r" LEFT JOIN `(.+?)` ON etl_any = 1$")


def _path(reference: dict[str, str]) -> str:
    return f"{reference['projectId']}.{reference['datasetId']}.{reference['tableId']}"


@dataclass
class Cut:
    """Where and how remote calls are cut: at call ``at`` (counted from 0), once."""

    at: int | None = None
    how: str = "before"
    """``before``: killed before the effect. ``after``: killed after it. ``lost``: the effect happens, the
    response does not arrive, the process lives."""
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    dead: bool = False

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Make one remote call, or what is left of it."""
        with self.lock:
            if self.dead:
                raise Killed(name)
            number = len(self.calls)
            self.calls.append(name)
        if number != self.at:
            return call()
        if self.how == "before":
            self.dead = True
            raise Killed(name)
        try:
            call()
        finally:
            if self.how == "after":
                self.dead = True
        if self.how == "after":
            raise Killed(name)
        raise RetryableError(f"{name}: the response was lost")


class Wire:
    """A collaborator behind a wire: every method call goes through ``around``."""

    def __init__(self, target: Any, name: str, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._target = target
        self._name = name
        self._around = around

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._target, method)
        if method == "uri":
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            def effect() -> Any:
                result = real(*args, **kwargs)
                return list(result) if isinstance(result, Iterator) else result

            return self._around(f"{self._name}.{method}", effect)

        return call


class Events:
    """Remembers what was published."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []

    def publish(self, receipt: dict[str, Any]) -> None:
        self.published.append(receipt)


class World:
    """Everything that outlives a process, and the settings of the one source."""

    def __init__(self, *, disposition: str = "append", staged: bool = False, unit_rows: int = 3) -> None:
        self.state = MemoryObjectStore("state")
        self.staging = MemoryObjectStore("staging")
        self.bigquery = BigQueryWorld(self.staging)
        self.events = Events()
        self.disposition = disposition
        self.staged = staged
        self.direct: Literal["counted", "uncounted"] | None = None
        """BigQuery reads the source itself, its rows counted before or not."""
        self.unit_rows = unit_rows
        self.allow_empty = False
        self.rejects = 0
        """So many bad rows are in every unit."""
        self.all_bad = False
        """Every row is a bad one."""
        self.rows = 5
        """The source's rows are the numbers 1 to ``rows``."""
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.attempts = itertools.count()

    @property
    def table(self) -> list[int]:
        """The destination's rows."""
        return self.bigquery.tables.get(TABLE, [])

    def clock(self) -> datetime:
        """The world's time."""
        return self.now

    def later(self, **delta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**delta)

    def process(self, cut: Cut | None = None, around: Any = None) -> Process:
        """A process of ours, its wires cut as told."""
        return Process(self, around or (cut or Cut()).around)

    def check_rejects(self) -> None:
        """The rejects table has those of each committed run once, as its receipt says, and no others."""
        found = self.bigquery.rejected
        assert len(found) == len(set(found)), found
        receipts = {receipt["run_id"]: receipt for receipt in Receipts(self.state, SOURCE).all()}
        last = StateStore(self.state, SOURCE).read().last
        if last is not None:
            receipts.setdefault(last.run_id, last.receipt)
        for run_id, receipt in receipts.items():
            told = receipt.get("rejects_table", {}).get("outcome")
            wanted = receipt["rejects"] if receipt["outcome"] == "ok" and told == "loaded" else 0
            assert sum(run == run_id for run, _, _ in found) == wanted, (receipt, found)
            if receipt["outcome"] == "ok" and receipt["rejects"]:
                assert told is not None
        assert {run for run, _, _ in found} <= set(receipts)

    def check(self) -> None:
        """The table has each row of the source exactly once; nothing is held; nothing is left over."""
        self.check_rejects()
        assert sorted(self.table) == list(range(1, self.rows + 1)), self.table
        store = StateStore(self.state, SOURCE)
        state = store.read()
        assert state.slot is None
        assert state.paused is None
        assert state.watermark == {"value": self.rows}
        receipts = {receipt["epoch"]: receipt for receipt in Receipts(self.state, SOURCE).all()}
        # The last run's receipt may wait for the next opener; all earlier ones are there.
        missing = set(range(1, state.epoch + 1)) - set(receipts) - {state.last.epoch if state.last else 0}
        assert not missing, f"no receipt for epochs {missing}"
        loaded = sum(receipt["rows_loaded"] for receipt in receipts.values() if receipt["outcome"] == "ok")
        if self.disposition == "append" and state.last and state.last.epoch in receipts:
            assert loaded == self.rows


class Process:
    """The functions and the runner task, as one process that may die at any remote call."""

    def __init__(self, world: World, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self.world = world
        state: Any = Wire(world.state, "state", around)
        self.staging: Any = Wire(world.staging, "staging", around)
        bigquery: Any = Wire(world.bigquery, "bigquery", around)
        events: Any = Wire(world.events, "events", around)
        self.store = StateStore(state, SOURCE, sleep=lambda _: None)
        receipts = Receipts(state, SOURCE)
        closer = Closer(self.store, receipts, events, world.clock)
        records = CommitRecords(state, SOURCE)
        self.finalizer = Finalizer(
            self.store, records, self.staging, bigquery, closer, collect_verified, Ledger(state, SOURCE)
        )
        self.opener = Opener(self.store, receipts, closer, self.finalizer.finalize)
        planner: Any = self
        nothing: Any = None
        self.plans = PlanWriter(self.store, self.staging, planner, lambda _: nothing, nothing, world.clock)

    def run(self, run_id: str) -> Done | Skipped | Finished:
        """A whole run, each step repeated while it says so, as the workflow does."""
        opened: Opened | Skipped | Finished = _repeat(lambda: self.opener.open_run(run_id))
        if not isinstance(opened, Opened):
            return opened
        return self.go_on(opened.key)

    def go_on(self, key: RunKey) -> Done:
        """The steps after the opening, with the workflow's failure path."""
        failure = None
        try:
            step = _repeat(lambda: self.plans.write_plan(key))
            _repeat(lambda: self.extract(step.plan_uri.removeprefix("gs://staging/")))
        except EtlError as error:
            failure = Failure("extract", str(error))
        return self.finalize(key, failure)

    def finalize(self, key: RunKey, failure: Failure | None = None) -> Done:
        """Call finalize until it is done."""
        for _ in range(50):
            result = _repeat(lambda: self.finalizer.finalize(key, failure))
            if isinstance(result, Done):
                # Done means that the run is over, and says how it ended.
                assert result.outcome is not None
                return result
        raise AssertionError("finalize never ends")

    def make_plan(self, resolved: None, key: RunKey, state: Any, files: None = None) -> Plan:
        """Stands for the planner: what is new, cut into units."""
        world = self.world
        low = state.watermark["value"] if state.watermark and world.disposition != "replace" else 0
        high = world.rows
        bounds = list(range(low, high, world.unit_rows))
        units = tuple(
            WorkUnit(f"u{n:05}", "range", {"low": start, "high": min(start + world.unit_rows, high)}, "")
            for n, start in enumerate(bounds)
        )
        direct = None
        if world.direct is not None and high > low:
            query = f"SELECT id FROM `s.orders` WHERE id > {low} AND id <= {high}"
            direct = {"query": query, "rows": high - low if world.direct == "counted" else None}
            units = ()
        fields = (BqField("id", "INT64"), *((BqField("at", "DATETIME"),) if world.staged else ()))
        return Plan(
            PlanHeader(
                source_id=key.source_id,
                run_id=key.run_id,
                epoch=key.epoch,
                created=world.now.isoformat(),
                config={},
                config_hash="",
                source_type="postgresql",
                engine="bigquery" if direct else "cloud_run" if units else "none",
                direct=direct,
                engine_reason="",
                disposition=world.disposition,  # type: ignore[arg-type]
                window=Window("cursor", "id", str(low), str(high)),
                columns=tuple(PlannedColumn(item.name, "bigint", item) for item in fields),
                destination=Destination(
                    "p", "d", "orders", "EU", exists=TABLE in world.bigquery.tables, schema=fields
                ),
                units=len(units),
                tasks=1,
                slots=1,
                estimated_rows=high - low,
                estimated_bytes=None,
                estimate_how="counted",
                next_watermark={"value": high},
                allow_empty=world.allow_empty,
                on_bad_row="reject",
                max_rejects=1_000,
                merge_keys=("id",) if world.disposition == "merge" else (),
                merge_order="id" if world.disposition == "replace_range" else None,
            ),
            units,
        )

    def extract(self, plan_name: str) -> None:
        """Stands for the runner task: every unit that has no manifest yet."""
        stored = self.staging.read(plan_name)
        if stored is None:
            raise PermanentError(f"plan {plan_name} is gone")
        plan = Plan.from_jsonl(stored.data)
        header = plan.header
        for unit in plan.units:
            name = manifest_name(header.run_id, header.epoch, unit.id)
            if self.staging.read(name) is not None:
                continue
            attempt = f"a{next(self.world.attempts)}"
            rows = list(range(unit.spec["low"] + 1, unit.spec["high"] + 1))
            bad = len(rows) if self.world.all_bad else self.world.rejects
            good = [] if self.world.all_bad else rows
            shards: tuple[Shard, ...] = ()
            rejects = None
            if good:
                data = _parquet(tuple(good))
                shard = shard_name(header.run_id, header.epoch, unit.id, attempt, 0)
                self.staging.create(shard, data)
                shards = (Shard(shard, len(good), len(data)),)
            if bad:
                rejects = rejects_name(header.run_id, header.epoch, unit.id, attempt)
                lines = [
                    jsontypes.dumps({"run_id": header.run_id, "unit": unit.id, "row": row})
                    for row in range(bad)
                ]
                self.staging.create(rejects, b"\n".join(lines))
            size = sum(shard.bytes for shard in shards)
            manifest = Manifest(
                unit.id, attempt, len(good), len(good) + bad, bad, size, shards, rejects_object=rejects
            )
            try:
                self.staging.create(name, jsontypes.dumps(manifest.to_json()))
            except ObjectExists:
                continue


@cache
def _parquet(rows: tuple[int, ...]) -> bytes:
    """A shard. Worlds are made by the thousand, of the same few rows."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(rows, pa.int64())}), buffer)
    return buffer.getvalue()


@cache
def _ids(shard: bytes) -> tuple[int, ...]:
    return tuple(pq.read_table(io.BytesIO(shard), use_threads=False).column("id").to_pylist())


def _repeat(step: Callable[[], Any]) -> Any:
    """A workflow step: repeated on what is retryable."""
    for _ in range(20):
        try:
            return step()
        except RetryableError:
            continue
    raise AssertionError("retryable for ever")
