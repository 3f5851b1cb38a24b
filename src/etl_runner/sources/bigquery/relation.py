"""What is read: a table, a view or a query, and what BigQuery's metadata says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from etl_runner.config.connections import BigQueryConnection
from etl_runner.config.database import DatabaseSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.sources.bigquery.access import Warehouse
from etl_runner.sources.bigquery.quoting import identifier, instant_literal
from etl_runner.sources.bigquery.types import declared

_TIME_TRAVEL = ("TABLE", "SNAPSHOT")
"""Types of tables that can be read as of an instant and through the Storage Read API; views cannot
(https://cloud.google.com/bigquery/docs/access-historical-data#limitations,
https://cloud.google.com/bigquery/docs/reference/storage#limitations)."""
_DOTTED = 3


@dataclass(frozen=True)
class Column:
    """A column as BigQuery has it."""

    field: BqField

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def declared(self) -> str:
        """Its type, as SQL spells it."""
        return declared(self.field)

    @property
    def nullable(self) -> bool:
        return self.field.mode == "NULLABLE"


@dataclass(frozen=True)
class Relation:
    """A table, view or query."""

    kind: Literal["table", "view", "query"]
    label: str
    """For people: ``table project.dataset.name``."""
    sql: str
    """As it stands after FROM: a quoted name, or the query in parentheses."""
    columns: tuple[Column, ...]
    location: str
    path: str | None = None
    """``project.dataset.table``."""
    partition_column: str | None = None
    partition_type: str | None = None
    """HOUR, DAY, MONTH, YEAR; RANGE for ranges of whole numbers."""
    clustering: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """The column of that name, which BigQuery takes in any case."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)

    def as_of(self, instant: datetime) -> str:
        """What stands after FROM to read it as it was at an instant; views and queries are read as they
        are."""
        if self.kind != "table":
            return self.sql
        return f"{self.sql} FOR SYSTEM_TIME AS OF {instant_literal(instant)}"


def look(
    warehouse: Warehouse, document: DatabaseSource, connection: BigQueryConnection, source_id: str
) -> Relation:
    """Look up what the document names; metadata and a dry run only.

    Raises:
        ConfigError: there is no such table, or the query is none that can be read.
        PermanentError: BigQuery refuses.
    """
    if document.query is not None:
        return _query(warehouse, document.query, connection.location, source_id)
    path = table_path(document, connection, source_id)
    table = warehouse.get_table(path)
    if table is None:
        problem = Problem(
            "source_table_name",
            f"there is no table {path}, or this identity may not see it",
            found=repr(document.source_table_name),
        )
        raise ConfigError(source_id, (problem,))
    return _table(path, table)


def table_path(document: DatabaseSource, connection: BigQueryConnection, source_id: str) -> str:
    """``project.dataset.table`` of the document. A table may be written with its dataset, or with project
    and dataset, since no part of such a name can hold a dot (but for projects of a domain).

    Raises:
        ConfigError: no dataset is named.
    """
    name = document.source_table_name
    if name is None:
        raise PermanentError(f"{source_id}: names neither source_table_name nor query")
    parts = name.strip("`").rsplit(".", _DOTTED - 1)
    table = parts[-1]
    dataset = parts[-2] if len(parts) > 1 else document.schema_name or connection.dataset
    if not dataset:
        problem = Problem("schema_name", "names no dataset", allowed="the table's dataset")
        raise ConfigError(source_id, (problem,))
    project = parts[0] if len(parts) == _DOTTED else connection.project
    if len(parts) == 1 and "." in dataset:
        project, dataset = dataset.rsplit(".", 1)
    return f"{project}.{dataset}.{table}"


def _table(path: str, table: dict[str, Any]) -> Relation:
    project, dataset, name = path.rsplit(".", _DOTTED - 1)
    kind = str(table.get("type", "TABLE"))
    fields = table.get("schema", {}).get("fields", ())
    by_time = table.get("timePartitioning") or {}
    by_range = table.get("rangePartitioning") or {}
    keys = (table.get("tableConstraints") or {}).get("primaryKey") or {}
    return Relation(
        kind="table" if kind in _TIME_TRAVEL else "view",
        label=f"{kind.lower().replace('_', ' ')} {path}",
        sql=".".join(identifier(part) for part in (project, dataset, name)),
        columns=tuple(Column(BqField.from_api(field)) for field in fields),
        location=str(table.get("location") or ""),
        path=path,
        partition_column=by_time.get("field") or by_range.get("field"),
        partition_type="RANGE" if by_range else by_time.get("type"),
        clustering=tuple((table.get("clustering") or {}).get("fields", ())),
        primary_key=tuple(keys.get("columns", ())),
    )


def _query(warehouse: Warehouse, query: str, location: str | None, source_id: str) -> Relation:
    # On lines of their own, so that a comment at the query's end does not swallow the parenthesis.
    sql = f"(\n{query}\n)"
    try:
        found = warehouse.dry_run(f"SELECT * FROM {sql}", location)
    except PermanentError as error:
        raise ConfigError(source_id, (Problem("query", f"BigQuery refuses it: {error}"),)) from None
    if found.statement not in ("SELECT", ""):
        problem = Problem("query", "is no single SELECT statement", found=found.statement)
        raise ConfigError(source_id, (problem,))
    return Relation(
        kind="query",
        label="the query",
        sql=sql,
        columns=tuple(Column(field) for field in found.columns),
        location=location or found.location or "",
    )
