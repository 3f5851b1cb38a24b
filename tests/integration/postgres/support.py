"""What the PostgreSQL tests share: a source over a test's database, and all that its units give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from etl_runner.config.connections import PostgresConnection
from etl_runner.config.database import PostgresSource as Document
from etl_runner.config.secrets import EnvFileResolver, SecretValue
from etl_runner.convert.fields import BqField
from etl_runner.convert.raw import RAW_COLUMN, raw_values, split_raw
from etl_runner.planning.plan import Destination, Plan, PlanHeader, PlannedColumn
from etl_runner.sources.base import Extract, PlanRequest
from etl_runner.sources.postgres.source import PostgresSource
from tests.conftest import Database


def connection_to(database: Database, /, **fields: Any) -> PostgresConnection:
    """The connection document of a test's database."""
    values: dict[str, Any] = {
        "source_type": "postgresql",
        "host": database.host,
        "port": database.port,
        "database": database.database,
        "username": database.user,
        "password": SecretValue(database.password) if database.password else None,
    }
    return PostgresConnection.model_validate({**values, **fields})


def source_of(
    database: Database, connection: PostgresConnection | None = None, **fields: Any
) -> PostgresSource:
    """A source; a catalog of a table unless ``fields`` say otherwise."""
    document = Document.model_validate(
        {"source_type": "postgresql", "load_type": "catalog", "dest_table_name": "loaded", **fields}
    )
    return PostgresSource(
        document, connection or connection_to(database), EnvFileResolver({}), source_id="orders"
    )


def plan_of(
    source: PostgresSource,
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
        source_type="postgresql",
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
    """All rows of a plan: values by column, and the raw values of rows that have any."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    types: dict[str, pa.DataType] = field(default_factory=dict)
    raw: list[dict[str, str]] = field(default_factory=list)
    rows_of_unit: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(self.rows_of_unit.values())


def read_all(source: PostgresSource, plan: Plan, *, snapshot: bool = False) -> Read:
    """Read every unit of a plan."""
    result = Read(columns={column.destination.name: [] for column in plan.header.columns})
    with source.session(plan.header, snapshot=snapshot) as session, session.reader() as reader:
        for unit in plan.units:
            result.rows_of_unit[unit.id] = 0
            for batch in (rows.batch for rows in reader.read(unit)):
                rest, raw = split_raw(batch)
                assert RAW_COLUMN not in rest.schema.names
                result.rows_of_unit[unit.id] += rest.num_rows
                for name in rest.schema.names:
                    column = rest.column(name)
                    result.types[name] = column.type
                    # A time of 24:00:00 or a NaN is a matter of values, so they are taken as Arrow has them.
                    result.columns[name] += column.to_pylist()
                result.raw += (
                    [{}] * rest.num_rows if raw is None else [raw_values(text) for text in raw.to_pylist()]
                )
    return result
