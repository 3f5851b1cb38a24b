"""One cell of the matrix: rows at a source, a run, changes there, another run, and both ends compared.

Runs are done by the deployment's own steps in this process (open, plan, the task, finalize), since new
processes for every run would cost more than the runs; cells ``through`` the workflow start those, too. Each
cell has tables of its own, which are dropped at its end.
"""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from etl_runner.commit.close import Done, Pending
from etl_runner.commit.open_run import Opened
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import EtlError, PermanentError
from etl_runner.execution.task import run_task
from etl_runner.gcp import clients
from etl_runner.gcp.deployment import Deployment
from etl_runner.planning.write_plan import plan_name
from etl_runner.sources.mysql.instant import MARGIN
from local.matrix.databases import Database, texts_of
from local.matrix.files import BAD, FORMATS
from local.matrix.rows import Sum, rows, sum_of
from local.stack import Stack

STRATEGIES = ("transactional", "catalog", "upsert")
FIRST, MORE, CHANGED = 300, 100, 50
_RUNS = itertools.count(1)
_TYPED = "id INT64, name STRING, amount NUMERIC, at TIMESTAMP, flag BOOL, day DATE"


@dataclass(frozen=True)
class Cell:
    """A cell's place in the table."""

    source: str
    format: str
    strategy: str
    engine: str = "auto"
    """The source document's."""
    through: bool = False
    """Through the workflow, with the functions' and the job's own processes."""

    @property
    def name(self) -> str:
        """Its source id and its tables' name."""
        engine = "" if self.engine == "auto" else f"_{self.engine}"
        workflow = "_workflow" if self.through else ""
        return f"m_{self.source}_{self.format}_{self.strategy}{engine}{workflow}".replace(".", "_")


@dataclass(frozen=True)
class Result:
    """What came of a cell: ``read`` rows of all runs, ``out`` rows in the destination."""

    cell: Cell
    read: int = 0
    out: int = 0
    rejects: int = 0
    expected: Sum | None = None
    found: Sum | None = None
    rejects_expected: int = 0
    engine: str = ""
    """What extracted."""
    error: str | None = None

    @property
    def agrees(self) -> bool:
        """Both ends hold the same rows, what was rejected is what had to be, and the engine is the one that
        the cell is about."""
        return (
            self.error is None
            and self.found == self.expected
            and self.rejects == self.rejects_expected
            and self.cell.engine in ("auto", self.engine)
        )


class Place:
    """Where files are put: one bucket of one cloud."""

    def __init__(self, connection: dict[str, Any], put: Callable[[str, bytes], object]) -> None:
        self.connection = connection
        self.put = put


class Cells:
    """Does cells on a running topology."""

    def __init__(self, stack: Stack, tampered: str | None = None) -> None:
        """``tampered`` names the cell in whose destination one value is changed before the ends are compared:
        it must not agree."""
        self._stack = stack
        self._tampered = tampered
        # Nobody listens for the runs' events.
        self._deployment = Deployment(replace(stack.settings, events_topic=None))
        self._bigquery = clients.bigquery_client(stack.settings)
        self._dataset = stack.settings.dataset

    def database(self, cell: Cell, database: Database) -> Result:
        """A table of a database."""
        table = cell.name
        database.create(table)
        database.write(table, rows(1, FIRST))
        keys = {} if cell.strategy == "catalog" else {"timestamp_column": "at"}
        if cell.source == "bigquery":
            # The rows are there before their times are looked at: nothing is late.
            keys |= {"late_window": "0"} if keys else {}
        self._put(cell, database.connection(), source_table_name=table, **keys)

        def change() -> None:
            # A window of MySQL ends this much before the clock: later rows would wait for a third run.
            now = dt.datetime.now(dt.UTC) - (MARGIN if cell.source == "mysql" else dt.timedelta())
            if cell.strategy != "transactional":
                database.write(table, rows(1, CHANGED, 2, now))
            if cell.strategy == "catalog":
                database.delete(table, CHANGED // 2)
            database.write(table, rows(FIRST + 1, MORE, since=now))

        result = self._twice(cell, change, lambda: database.sum(table), 0)
        database.drop(table)
        return result

    def files(self, cell: Cell, place: Place) -> Result:
        """Files of a bucket; each run finds a new one."""
        write = FORMATS[cell.format]
        bad = 0 if cell.format == "parquet" else BAD
        first, now = rows(1, FIRST), dt.datetime.now(dt.UTC)
        more = rows(FIRST + 1, MORE, since=now)
        if cell.strategy != "transactional":
            more = [*rows(1, CHANGED, 2, now), *more]
        if cell.format.startswith("json"):
            # JSON knows no dates: the destination says what its texts are.
            self._query(f"CREATE TABLE `{self._dataset}.{cell.name}` ({_TYPED})")
        place.put(f"{cell.name}/1.{cell.format}", write(first, bad=True))
        keys: dict[str, Any] = {"timestamp_column": "at"} if cell.strategy == "upsert" else {}
        if cell.engine == "bigquery":
            # Loaded as they are; a catalog in one job, the others by way of a staging table.
            keys |= {"metadata_columns": False, "on_bad_row": "fail"}
            keys |= {"exact_generation": False} if cell.strategy == "catalog" else {}
        pattern = f"{cell.name}/*.{cell.format}"
        self._put(cell, place.connection, file_pattern=pattern, order_by="name", **keys)
        held = {row.id: row for row in first}
        if cell.strategy == "catalog":
            held = {}
        held.update({row.id: row for row in more})
        expected = sum_of(row.texts for row in held.values())
        return self._twice(
            cell,
            lambda: place.put(f"{cell.name}/2.{cell.format}", write(more, bad=False)),
            lambda: expected,
            bad,
        )

    def _put(self, cell: Cell, connection: dict[str, Any], **fields: Any) -> None:
        self._stack.put_connection(cell.name, connection)
        document = {
            "source_type": cell.source,
            "connection": cell.name,
            "load_type": cell.strategy,
            "dest_table_name": cell.name,
            "on_bad_row": "reject",
            "engine": cell.engine,
            **({"primary_key_column": "id"} if cell.strategy == "upsert" else {}),
            **fields,
        }
        self._stack.put_source(cell.name, document)

    def _twice(
        self, cell: Cell, change: Callable[[], object], expected: Callable[[], Sum], rejects: int
    ) -> Result:
        try:
            first = self._run(cell)
            change()
            second = self._run(cell)
            if cell.name == self._tampered:
                self._query(f"UPDATE `{self._dataset}.{cell.name}` SET flag = NOT flag WHERE id = {CHANGED}")
            wanted, found = expected(), self._sum(cell.name)
        except EtlError as error:
            return Result(cell, error=str(error))
        finally:
            # The stand-in looks at all its tables for every query.
            for table in (cell.name, f"{cell.name}__rejects"):
                self._query(f"DROP TABLE IF EXISTS `{self._dataset}.{table}`")
        return Result(
            cell,
            read=first["rows_read"] + second["rows_read"],
            out=found.rows,
            rejects=first["rejects"] + second["rejects"],
            expected=wanted,
            found=found,
            rejects_expected=rejects,
            engine=second["engine"],
        )

    def _run(self, cell: Cell) -> dict[str, Any]:
        """One run; its receipt.

        Raises:
            EtlError: it did not end well.
        """
        source_id = cell.name
        if cell.through:
            execution = self._stack.run(source_id)
            receipt = self._deployment.receipts(source_id).read(execution.execution)
            if execution.state != "SUCCEEDED" or receipt is None:
                raise PermanentError(f"{source_id}: the workflow {execution.state}: {execution.error}")
            return receipt
        deployment = self._deployment
        opened = deployment.opener(source_id).open_run(f"matrix-{next(_RUNS)}")
        if not isinstance(opened, Opened):
            raise PermanentError(f"{source_id}: another run holds the slot")
        key = opened.key
        step = deployment.plan_writer(source_id).write_plan(key)
        plan = plan_name(key.run_id, key.epoch)
        if step.engine == "dataflow":
            _by_pipeline(deployment, plan)
        elif step.engine == "cloud_run":
            run_task(
                deployment.staging,
                plan,
                0,
                1,
                lambda header: deployment.open_source(ResolvedSource.from_json(header.config)),
            )
        finalizer = deployment.finalizer(source_id)
        while isinstance(result := finalizer.finalize(key), Pending):
            time.sleep(0.05)
        return _receipt(result)

    def _sum(self, table: str) -> Sum:
        return sum_of(self._query(texts_of(f"{self._dataset}.{table}")))

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self._bigquery.query_and_wait(sql)]


def _by_pipeline(deployment: Deployment, plan: str) -> None:
    """The units of a plan through the pipeline, with workers that are built as those of Dataflow."""
    # Beam takes seconds to import, and most cells need none.
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from etl_runner.execution.beam.pipeline import build, deployed_parts

    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    build(pipeline, plan, partial(deployed_parts, deployment.settings))
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        raise PermanentError(f"the pipeline failed: {error}") from error


def _receipt(done: Done) -> dict[str, Any]:
    receipt = done.receipt or {}
    if done.outcome != "ok":
        raise PermanentError(str(receipt.get("reason") or "the run left no receipt"))
    return receipt
