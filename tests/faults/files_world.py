"""A source of files on stores in memory: the real planner, reader, converter and commit, killed anywhere."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.parquet as pq

from etl_runner.commit.close import Closer, Done, Failure, Pending, RunKey
from etl_runner.commit.finalize import Finalizer
from etl_runner.commit.open_run import Opened, Opener
from etl_runner.config.connections import GcsConnection
from etl_runner.config.files import FileSource
from etl_runner.config.parse import parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import EtlError, ObjectExists, RetryableError
from etl_runner.execution.collect import collect_verified
from etl_runner.execution.task import TaskOptions, run_task
from etl_runner.planning.planner import Planner
from etl_runner.planning.write_plan import PlanWriter, plan_name
from etl_runner.settings import Settings
from etl_runner.sources.files.direct import changed_file
from etl_runner.sources.files.source import FilesSource
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.ledger import Ledger, LedgerEntry
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.records import CommitRecords
from etl_runner.state.requests import BACKFILL_PREFIX, Backfill, Requests
from etl_runner.state.store import StateStore
from tests.faults.world import BigQueryWorld, Cut, Events, Killed, Wire
from tests.unit.files.memory import MemoryBucket

SOURCE = "sales"
TABLE = "p.d.sales"
SETTINGS = Settings(
    project="p",
    location="EU",
    bigquery_location="EU",
    dataset="d",
    config_bucket="config",
    state_bucket="state",
    staging_bucket="staging",
    max_tasks=1,
    task_slots=1,
)


_REPLACED = re.compile(
    r"MERGE INTO `(.+?)` AS T USING \(SELECT .* FROM `(.+?)`\) AS S ON FALSE "
    r"WHEN NOT MATCHED BY SOURCE AND T.`_etl_source_file` IN \((.+?)\) THEN DELETE "
    r"WHEN NOT MATCHED BY TARGET THEN INSERT .*"
)
_DELETED = re.compile(r"DELETE FROM `(.+?)` WHERE `_etl_source_file` IN \((.+?)\)")


class FilesBigQuery(BigQueryWorld):
    """Keeps whole rows, and answers what the planner asks."""

    def __init__(self, staging: MemoryObjectStore, bucket: MemoryBucket) -> None:
        super().__init__(staging)
        self.bucket = bucket
        self.before_original: Callable[[str], None] = lambda name: None
        self.schemas: dict[str, Any] = {}
        self.rejects_loaded: list[bytes] = []

    def _run(self, kind: str, job: dict[str, Any], destination: str | None) -> int:
        if kind == "query" and (found := _REPLACED.fullmatch(job["query"])):
            names = set(re.findall("'([^']*)'", found[3]))
            kept = [row for row in self.tables[found[1]] if row["_etl_source_file"] not in names]  # type: ignore[index]
            self.tables[found[1]] = [*kept, *self.tables[found[2]]]
            return len(self.tables[found[2]])
        if kind == "query" and (found := _DELETED.fullmatch(job["query"])):
            names = set(re.findall("'([^']*)'", found[2]))
            kept = [row for row in self.tables[found[1]] if row["_etl_source_file"] not in names]  # type: ignore[index]
            self.tables[found[1]] = kept
            return 0
        if kind == "load" and destination is not None:
            self.schemas[destination] = job["schema"]
            if destination.endswith("__rejects"):
                objects = [self.staging.read(uri.removeprefix("gs://staging/")) for uri in job["sourceUris"]]
                self.rejects_loaded += [stored.data for stored in objects if stored is not None]
        return super()._run(kind, job, destination)

    def _shard(self, uri: str) -> list[Any]:
        if uri.startswith("gs://inbox/"):
            # An original file, at whatever version it has now.
            name = uri.removeprefix("gs://inbox/")
            self.before_original(name)
            return list(pq.read_table(io.BytesIO(self.bucket.data(name))).to_pylist())
        stored = self.staging.read(uri.removeprefix("gs://staging/"))
        assert stored is not None, f"{uri} is gone while its job runs"
        return list(pq.read_table(io.BytesIO(stored.data)).to_pylist())

    def get_table(self, path: str) -> dict[str, Any] | None:
        return {"schema": self.schemas[path]} if path in self.schemas else None

    def dataset_location(self, path: str) -> str | None:
        return "EU"


class FilesWorld:
    """Everything that outlives a process."""

    def __init__(self, **document: Any) -> None:
        self.bucket = MemoryBucket()
        self.state = MemoryObjectStore("state")
        self.staging = MemoryObjectStore("staging")
        self.bigquery = FilesBigQuery(self.staging, self.bucket)
        self.document = {
            "source_type": "gcs",
            "connection_params": {"source_type": "gcs", "bucket": "inbox", "use_runner_account": True},
            "dest_table_name": "sales",
            "load_type": "transactional",
            "file_pattern": "**/*.csv",
            **document,
        }
        self.run_number = 0

    def resolved(self) -> ResolvedSource:
        """The source's document."""
        return parse_source(self.document, name="sources/sales.yaml", source_id=SOURCE).resolve()

    @property
    def rows(self) -> list[Any]:
        """The destination's rows."""
        return list(self.bigquery.tables.get(TABLE, []))

    def column(self, name: str) -> list[Any]:
        """One column of the destination, in order."""
        return sorted(row.get(name) for row in self.rows)

    def ledger(self) -> list[LedgerEntry]:
        """What the ledger says now."""
        return list(Ledger(self.state, SOURCE).read(StateStore(self.state, SOURCE).read()))

    def run(
        self, run_id: str | None = None, files: tuple[FileVersion, ...] | None = None, cut: Cut | None = None
    ) -> Done:
        """A whole run in one process."""
        self.run_number += 1
        return FilesProcess(self, (cut or Cut()).around).run(run_id or f"r{self.run_number}", files)

    def backfill(self, name: str, request: Backfill, cut: Cut | None = None) -> Done:
        """A backfill in one process; asked again, the same run."""
        run_id = f"{BACKFILL_PREFIX}{name}"
        with contextlib.suppress(ObjectExists):
            Requests(self.state, SOURCE).write(run_id, request)
        return self.run(run_id, cut=cut)

    def receipt(self, files: tuple[FileVersion, ...] | None = None) -> dict[str, Any]:
        """The receipt of a run of now."""
        done = self.run(files=files)
        assert done.receipt is not None
        return done.receipt


class FilesProcess:
    """The functions and the runner task, as one process that may die at any remote call."""

    def __init__(self, world: FilesWorld, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self.world = world
        state: Any = Wire(world.state, "state", around)
        self.staging: Any = Wire(world.staging, "staging", around)
        bigquery: Any = Wire(world.bigquery, "bigquery", around)
        events: Any = Wire(Events(), "events", around)
        self.bucket: Any = WiredBucket(world.bucket, around)
        self.store = StateStore(state, SOURCE, sleep=lambda _: None)
        receipts = Receipts(state, SOURCE)
        ledger = Ledger(state, SOURCE)
        closer = Closer(self.store, receipts, events)
        records = CommitRecords(state, SOURCE)
        self.finalizer = Finalizer(
            self.store,
            records,
            self.staging,
            bigquery,
            closer,
            collect_verified,
            ledger,
            lambda originals: changed_file(self.bucket, originals.files),
        )
        self.opener = Opener(self.store, receipts, closer, self.finalizer.finalize)
        self.planner = planner = Planner(
            SETTINGS,
            bigquery,
            self.open_source,
            lambda _, state: ledger.known(state),
            lambda: "there is none",
            adopted_files=lambda _, state: ledger.adopted(state),
        )
        self.plans = PlanWriter(
            self.store,
            self.staging,
            planner,
            lambda _: world.resolved(),
            SETTINGS,
            requests=Requests(state, SOURCE),
        )

    def open_source(self, resolved: ResolvedSource) -> FilesSource:
        """The source of the document, on the bucket in memory."""
        assert isinstance(resolved.document, FileSource)
        assert isinstance(resolved.connection, GcsConnection)
        return FilesSource(
            resolved.document, resolved.connection, lambda: self.bucket, source_id=resolved.source_id
        )

    def run(self, run_id: str, files: tuple[FileVersion, ...] | None = None) -> Done:
        """A whole run, each step repeated while it says so, as the workflow does."""
        opened = _repeat(lambda: self.opener.open_run(run_id))
        if not isinstance(opened, Opened):
            return Done(opened.receipt["outcome"], opened.receipt)
        return self.go_on(opened.key, files)

    def go_on(self, key: RunKey, files: tuple[FileVersion, ...] | None = None) -> Done:
        """The steps after the opening, with the workflow's failure path."""
        failure = None
        try:
            step = _repeat(lambda: self.plans.write_plan(key, files))
            if step.engine not in ("none", "bigquery"):
                _repeat(lambda: self._extract(key))
        except RetryableError:
            raise
        except EtlError as error:
            failure = Failure("extract", str(error))
        while True:
            result: Done | Pending = _repeat(lambda: self.finalizer.finalize(key, failure))
            if isinstance(result, Done):
                return result

    def _extract(self, key: RunKey) -> None:
        run_task(
            self.staging,
            plan_name(key.run_id, key.epoch),
            0,
            1,
            lambda header: self.open_source(ResolvedSource.from_json(header.config)),
            options=TaskOptions(attempts=2, backoff_seconds=0.0),
        )


class WiredBucket:
    """The source's bucket behind a wire: listing and opening are remote calls."""

    def __init__(self, bucket: MemoryBucket, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._bucket = bucket
        self._around = around

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        return iter(self._around("bucket.list", lambda: list(self._bucket.list(prefix, start))))

    def head(self, name: str) -> FileVersion | None:
        found: FileVersion | None = self._around("bucket.head", lambda: self._bucket.head(name))
        return found

    def check(self) -> str:
        return self._bucket.check()

    @contextmanager
    def open(self, file: FileVersion, start: int = 0) -> Iterator[Any]:
        self._around("bucket.open", lambda: None)
        with self._bucket.open(file, start) as stream:
            yield stream


def cut_at_every_call(make: Callable[[], FilesWorld], how: str, check: Callable[[FilesWorld], None]) -> int:
    """Cut a run at each of its remote calls in turn, in a world of its own; repeat it, run once more, and
    ``check`` the world. How many calls there were."""
    at = 0
    while True:
        world, cut = make(), Cut(at, how)
        with contextlib.suppress(Killed, EtlError):
            world.run("cut", cut=cut)
        if len(cut.calls) <= at:
            return at
        try:
            # The workflow's own repetition of the step, by another process.
            world.run("cut")
        except EtlError as error:
            raise AssertionError(f"{cut.calls[at]}: {error}") from error
        if world.run().outcome != "ok":
            raise AssertionError(f"{cut.calls[at]}: the next run fails")
        check(world)
        at += 1


def _repeat(step: Callable[[], Any]) -> Any:
    for attempt in range(3):
        try:
            return step()
        except RetryableError:
            if attempt == 2:
                raise
    raise AssertionError("unreachable")
