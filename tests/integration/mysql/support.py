"""What the MySQL tests share: a database, a source over it, and all that the source's units give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from etl_runner.config.connections import MySqlConnection
from etl_runner.config.database import MySqlSource as Document
from etl_runner.config.secrets import EnvFileResolver, SecretValue
from etl_runner.convert.fields import BqField
from etl_runner.convert.raw import RAW_COLUMN, raw_values, split_raw
from etl_runner.planning.plan import Destination, Plan, PlanHeader, PlannedColumn
from etl_runner.sources.base import Extract, PlanRequest
from etl_runner.sources.mysql.quoting import identifier
from etl_runner.sources.mysql.source import MySqlSource
from local.mariadb import MariaDbServer


@dataclass
class Database:
    """A database of one test."""

    server: MariaDbServer
    name: str
    _connection: Any = field(default=None, repr=False)

    def connect(self, **options: Any) -> Any:
        """A new pymysql connection, to be closed by whoever asked for it."""
        return self.server.connect(self.name, **options)

    def execute(self, *statements: str) -> None:
        """Run statements; each commits by itself."""
        for statement in statements:
            self._connected().query(statement)

    def text(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows, each value as the text that the server itself prints for it."""
        # No converters: what the server sent.
        connection = self.connect(conv={}, use_unicode=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET time_zone = '+00:00'")
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def clear(self) -> None:
        """Drop all tables and views."""
        for name, kind in self.text("SHOW FULL TABLES"):
            self.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {identifier(name or '')}")

    def close(self) -> None:
        """Close the connection that :meth:`execute` uses."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self.connect()
            # Values that strict modes refuse are there in real databases.
            self._connection.query("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        return self._connection


def connection_to(database: Database, /, **fields: Any) -> MySqlConnection:
    """The connection document of a test's database."""
    values: dict[str, Any] = {
        "source_type": "mysql",
        "host": database.server.host,
        "port": database.server.port,
        "database": database.name,
        "username": database.server.user,
        "password": SecretValue(database.server.password),
    }
    return MySqlConnection.model_validate({**values, **fields})


def source_of(database: Database, connection: MySqlConnection | None = None, **fields: Any) -> MySqlSource:
    """A source; a catalog of a table unless ``fields`` say otherwise."""
    document = Document.model_validate(
        {"source_type": "mysql", "load_type": "catalog", "dest_table_name": "loaded", **fields}
    )
    return MySqlSource(
        document, connection or connection_to(database), EnvFileResolver({}), source_id="orders"
    )


def plan_of(
    source: MySqlSource,
    *,
    watermark: dict[str, Any] | None = None,
    unit_rows: int = 50_000,
    max_units: int = 9_000,
    fields: dict[str, BqField] | None = None,
) -> tuple[Plan, Extract]:
    """What the planner would store, after a round trip through its file, and what the source answered."""
    columns = []
    for column in source.describe().columns:
        destination = (fields or {}).get(column.name, column.natural)
        columns.append(
            PlannedColumn(column.name, column.type, destination, source.expression(column, destination))
        )
    extract = source.plan(PlanRequest(tuple(columns), watermark, unit_rows, max_units))
    header = PlanHeader(
        source_id="orders",
        run_id="run-1",
        epoch=1,
        created="2026-01-01T00:00:00Z",
        config={},
        config_hash="",
        source_type="mysql",
        engine="cloud_run",
        engine_reason="",
        disposition="append",
        window=extract.window,
        columns=tuple(columns),
        destination=Destination("p", "d", "t", "EU", False, ()),
        units=len(extract.units),
        tasks=1,
        slots=1,
        estimated_rows=extract.estimated_rows,
        estimated_bytes=extract.estimated_bytes,
        estimate_how=extract.estimate_how,
        read=extract.read,
        next_watermark=extract.next_watermark,
        notes=extract.notes,
    )
    return Plan.from_jsonl(Plan(header, extract.units).to_jsonl()), extract


@dataclass
class Read:
    """All rows of a plan: values by column, and the raw values of each row."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    types: dict[str, pa.DataType] = field(default_factory=dict)
    raw: list[dict[str, str]] = field(default_factory=list)
    rows_of_unit: dict[str, int] = field(default_factory=dict)
    batches: list[pa.RecordBatch] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(self.rows_of_unit.values())


def read_all(source: MySqlSource, plan: Plan, *, snapshot: bool = False) -> Read:
    """Read every unit of a plan."""
    result = Read(columns={column.destination.name: [] for column in plan.header.columns})
    with source.session(plan.header, snapshot=snapshot) as session, session.reader() as reader:
        for unit in plan.units:
            result.rows_of_unit[unit.id] = 0
            for batch in (rows.batch for rows in reader.read(unit)):
                result.batches.append(batch)
                rest, raw = split_raw(batch)
                assert RAW_COLUMN not in rest.schema.names
                result.rows_of_unit[unit.id] += rest.num_rows
                for name in rest.schema.names:
                    column = rest.column(name)
                    result.types[name] = column.type
                    result.columns[name] += column.to_pylist()
                result.raw += (
                    [{}] * rest.num_rows if raw is None else [raw_values(text) for text in raw.to_pylist()]
                )
    return result
