"""The load: a table in PostgreSQL, one run through the workflow, both ends compared."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from etl_runner.cli.deployment import cloud_deployment
from etl_runner.cli.progress import Progress
from etl_runner.cli.run import follow
from etl_runner.cli.show import seconds_between
from etl_runner.cli.watch import Watch
from etl_runner.errors import PermanentError
from etl_runner.gcp.clients import bigquery_client
from etl_runner.planning.launch import job_name
from local.demo.checksums import Sum, columns_of, destination_sum, source_sum
from local.demo_large import lineitem
from local.demo_large.memory import PeakMemory
from local.stack import Stack

TABLE = "lineitem"
_TAMPERING = "UPDATE `{table}` SET l_quantity = l_quantity + 1 WHERE l_orderkey = 1 AND l_linenumber = 2"


@dataclass(frozen=True)
class Loaded:
    """A run that ended well. Seconds are wall time; ``extract_seconds`` go from the plan, which the workflow
    hands to Dataflow, to the commit, the start of the workers included."""

    rows: int
    units: int
    engine: str
    engine_reason: str
    run_seconds: float
    extract_seconds: float
    worker_peaks_mb: list[float] = field(default_factory=list)
    """Peak memory of each worker process, the largest first; empty where the system does not tell."""
    pipeline_peak_mb: float | None = None

    @property
    def rows_per_second(self) -> float:
        """Of the whole run, from the workflow's start to the receipt."""
        return self.rows / self.run_seconds

    @property
    def extract_rows_per_second(self) -> float:
        """Of the extraction alone."""
        return self.rows / self.extract_seconds

    def to_json(self) -> dict[str, Any]:
        rates = {
            "rows_per_second": round(self.rows_per_second),
            "extract_rows_per_second": round(self.extract_rows_per_second),
        }
        return {**asdict(self), **rates}


class Load:
    """One table's way on a running topology. ``name`` is that of the source, its database and its
    destination, so that several may share a topology."""

    def __init__(self, stack: Stack, name: str, password_file: Path, *, engine: str = "auto") -> None:
        self._stack = stack
        self._name = name
        self._password_file = password_file
        self._engine = engine
        self._deployment = cloud_deployment(stack.settings)
        self._bigquery = bigquery_client(stack.settings)

    def fill(self, scale: float) -> int:
        """Make the database, the account that reads it, and the documents; the table's rows."""
        postgres, reader, password = self._stack.postgres, f"{self._name}_reader", secrets.token_urlsafe(18)
        postgres.create_database(self._name)
        with postgres.connect(self._name) as connection:
            rows = lineitem.fill(connection, scale)
            connection.run(f"CREATE ROLE {reader} LOGIN PASSWORD '{password}'")
            connection.run(f"GRANT pg_read_all_data, pg_read_all_stats TO {reader}")
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)
        connection_params = {
            "source_type": "postgresql",
            "host": postgres.host,
            "port": postgres.port,
            "database": self._name,
            "username": reader,
            "password": {"file": str(self._password_file)},
            "sslmode": "disable",
        }
        document = {
            "source_type": "postgresql",
            "connection_params": connection_params,
            "source_table_name": TABLE,
            "load_type": "transactional",
            "incrementing_column": "l_orderkey",
            "dest_table_name": self._name,
            "engine": self._engine,
        }
        self._stack.put_source(self._name, document)
        return rows

    def run(self, watch: Watch) -> Loaded:
        """Load it through the workflow.

        Raises:
            PermanentError: the run did not end well.
        """
        phases = _Phases(watch)
        execution = self._deployment.executions.start(self._name)
        name = job_name(execution.run_id)

        def group() -> int | None:
            return next((job.pid for job in self._stack.dataflow.jobs(name)), None)

        with PeakMemory(group) as memory, phases:
            ended = follow(self._deployment, self._name, execution, phases)
        receipt = ended.receipt or {}
        if ended.outcome != "ok":
            raise PermanentError(f"the run {ended.outcome}: {ended.error or receipt.get('reason')}")
        return Loaded(
            rows=receipt["rows_loaded"],
            units=receipt["units"],
            engine=receipt["engine"],
            engine_reason=receipt["engine_reason"],
            run_seconds=seconds_between(receipt["started"], receipt["finished"]) or 0.0,
            extract_seconds=phases.extraction,
            worker_peaks_mb=[round(peak, 1) for peak in memory.workers],
            pipeline_peak_mb=round(memory.others[0], 1) if memory.others else None,
        )

    def tamper(self) -> None:
        """Change one value of one row in the destination."""
        self._bigquery.query(_TAMPERING.format(table=self.path)).result()

    def sums(self) -> tuple[Sum, Sum]:
        """Count and checksum of source and destination, each computed by its own server."""
        with self._stack.postgres.connect(self._name) as connection, ThreadPoolExecutor(1) as pool:
            columns = columns_of(connection, TABLE)
            there = pool.submit(destination_sum, self._bigquery, self.path, columns)
            return source_sum(connection, TABLE, columns), there.result()

    def drop(self) -> None:
        """Take database and account away again."""
        self._stack.postgres.drop_database(self._name)
        with self._stack.postgres.connect() as connection:
            connection.run(f"DROP ROLE IF EXISTS {self._name}_reader")

    @property
    def path(self) -> str:
        """``project.dataset.table`` of the destination."""
        settings = self._stack.settings
        return f"{settings.project}.{settings.dataset}.{self._name}"


class _Phases:
    """Hands looks on and keeps when the extraction was first and last seen."""

    def __init__(self, watch: Watch, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._clock = clock
        self._began: float | None = None
        self._ended: float | None = None

    @property
    def extraction(self) -> float:
        """Seconds of the extraction, to half a second, which lies between two looks."""
        return (self._ended or 0.0) - (self._began or 0.0)

    def update(self, progress: Progress) -> None:
        now = self._clock()
        if progress.phase == "extracting" and self._began is None:
            self._began = now
        if progress.phase in ("committing", "done") and self._ended is None:
            self._ended = now
        self._watch.update(progress)

    def __enter__(self) -> _Phases:
        self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, error, trace)
