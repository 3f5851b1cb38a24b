"""The BigQuery source: describe, plan, read. Building it opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from etl_runner.config.connections import BigQueryConnection
from etl_runner.config.database import DatabaseSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import PlanHeader, PlannedColumn, Window
from etl_runner.sources.base import Description, DirectQuery, Extract, PlanRequest, Session, SourceColumn
from etl_runner.sources.bigquery import types, units
from etl_runner.sources.bigquery.access import Warehouse
from etl_runner.sources.bigquery.direct import direct_query, obstacle
from etl_runner.sources.bigquery.quoting import identifier
from etl_runner.sources.bigquery.reading import BigQuerySession, read_of_query, read_of_table
from etl_runner.sources.bigquery.relation import Column, Relation, look
from etl_runner.sources.bigquery.window import Incremental, cursor_of, fix_window, given_window
from etl_runner.sources.cursors import Cursor
from etl_runner.sources.named import check_named, column_of, incompatible, wanted_columns
from etl_runner.sources.sums import BigQueryDialect, Dialect
from etl_runner.sources.units import Cut, in_order

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTED = "counted by BigQuery as of the plan's instant; bytes by a dry run"
_DRY_RUN = "bytes by a dry run; rows of views and queries without a cursor are not counted before"


class BigQuerySource:
    """One table, view or query of BigQuery."""

    def __init__(
        self,
        document: DatabaseSource,
        connection: BigQueryConnection,
        open_warehouse: Callable[[], Warehouse],
        *,
        source_id: str = "source",
    ) -> None:
        """
        Args:
            document: the source's document.
            connection: which project, and whose identity reads.
            open_warehouse: opens BigQuery as that identity; called when it is needed.
            source_id: names the source in errors.
        """
        self._document = document
        self._connection = connection
        self._open_warehouse = open_warehouse
        self._source_id = source_id

    def describe(self) -> Description:
        """Columns and identity; see :class:`~etl_runner.sources.base.Source`."""
        relation = self._relation
        if self._document.cursor_column:
            cursor_of(relation, self._document, self._source_id)
        wanted = wanted_columns(self._document, relation.columns, relation.column)
        return Description(
            columns=tuple(_source_column(column) for column in wanted),
            identity=relation.path,
            primary_key=relation.primary_key,
        )

    def expression(self, column: SourceColumn, destination: BqField) -> str | None:
        """The select item that reads ``column``; the column itself where the converter casts it."""
        relation = self._relation
        found = column_of(relation.column, column.name, relation.label, self._source_id)
        item = types.by_query(found.field, destination, identifier(found.name))
        if item is None and not types.convertible(found.field, destination):
            reason = "no conversion between the two is exact"
            raise incompatible(
                found.name, relation.label, found.declared, destination, reason, self._source_id
            )
        return item or identifier(found.name)

    def plan(self, request: PlanRequest) -> Extract:
        """Fix the window, and cut it into units unless BigQuery can do it alone; see
        :class:`~etl_runner.sources.base.Source`."""
        relation = self._relation
        as_of = self._instant()
        incremental = self._incremental(request, as_of)
        where = None if incremental is None else incremental.condition
        size = self._size(request.columns, incremental, where, as_of)
        obstacle_to_direct = self._obstacle(request)
        direct = None
        cut = Cut((), "none, BigQuery reads the source itself")
        notes = [] if incremental is None else list(incremental.notes)
        if obstacle_to_direct is not None or size.rows == 0:
            cut = units.cut(
                self._warehouse, relation, incremental, size, as_of, request.unit_rows, request.max_units
            )
            notes.append(f"units: {cut.how}")
        else:
            exact = relation.kind == "table"
            direct = DirectQuery(
                direct_query(relation, request.columns, where, as_of), size.rows if exact else None
            )
            notes.append(_mismatch_note(relation.label, exact))
        items = [self._item(column) for column in request.columns]
        if relation.kind == "table":
            read = read_of_table(relation.path or "", as_of, items, where)
        else:
            read = read_of_query(relation.sql, relation.location, items, where)
        return Extract(
            window=Window(kind="all") if incremental is None else incremental.window,
            units=in_order(cut.units),
            read=read,
            next_watermark=None if incremental is None else incremental.next_watermark,
            estimated_rows=size.rows,
            estimated_bytes=size.bytes,
            estimate_how=_COUNTED if relation.kind == "table" else _DRY_RUN,
            # All units are read as of one instant, whichever session reads them.
            one_instant=True,
            notes=tuple(notes),
            direct=direct,
            not_direct=obstacle_to_direct,
        )

    def session(self, plan: PlanHeader, *, snapshot: bool) -> AbstractContextManager[Session]:
        """Open the source for reading units of ``plan``; every session sees the plan's instant."""
        del snapshot
        return self._session(plan)

    @contextmanager
    def _session(self, plan: PlanHeader) -> Iterator[BigQuerySession]:
        yield BigQuerySession(self._warehouse, plan.read)

    def test_connection(self) -> str:
        """One sentence about who answered; raises what is wrong as one sentence."""
        self._warehouse.rows("SELECT 1", self._connection.location)
        return f"BigQuery runs queries in project {self._warehouse.billing_project} for this identity"

    @property
    def dialect(self) -> Dialect:
        """How sums for a comparison are written."""
        return BigQueryDialect()

    def cursor(self) -> Cursor | None:
        """The document's cursor."""
        if not self._document.cursor_column:
            return None
        return cursor_of(self._relation, self._document, self._source_id)[0]

    def column(self, name: str) -> str:
        """A column of the table that :meth:`ask` names, as SQL text."""
        return identifier(name)

    def ask(self, sql: Callable[[str], str]) -> list[list[Any]]:
        """The rows of a query that is made from the table's own SQL."""
        relation = self._relation
        return [list(row) for row in self._warehouse.rows(sql(relation.sql), relation.location)]

    @cached_property
    def _warehouse(self) -> Warehouse:
        if self._connection.credentials is None and not self._connection.use_runner_account:
            problem = Problem(
                "credentials", "is required", allowed="a service account's key, or use_runner_account: true"
            )
            raise ConfigError(self._source_id, (problem,))
        return self._open_warehouse()

    @cached_property
    def _relation(self) -> Relation:
        relation = look(self._warehouse, self._document, self._connection, self._source_id)
        check_named(self._document, relation.columns, relation.column, relation.label, self._source_id)
        return relation

    def _instant(self) -> datetime:
        """Now, by BigQuery's clock: a table cannot be read as of an instant that it takes for the future."""
        ((micros,),) = self._warehouse.rows(
            "SELECT UNIX_MICROS(CURRENT_TIMESTAMP())", self._relation.location
        )
        return _EPOCH + timedelta(microseconds=int(micros))

    def _incremental(self, request: PlanRequest, as_of: datetime) -> Incremental | None:
        document = self._document
        if document.load_type == "catalog" or document.cursor_column is None:
            return None
        where = (self._warehouse, self._relation, document, request.watermark, as_of)
        if request.between is not None:
            return given_window(*where, request.between, self._source_id)
        return fix_window(*where, self._source_id)

    def _size(
        self,
        columns: tuple[PlannedColumn, ...],
        incremental: Incremental | None,
        where: str | None,
        as_of: datetime,
    ) -> units.Size:
        relation = self._relation
        names = ", ".join(identifier(name) for name in dict.fromkeys(column.source for column in columns))
        sql = f"FROM {relation.as_of(as_of)}" + (f" WHERE {where}" if where else "")
        found = self._warehouse.dry_run(f"SELECT {names} {sql}", relation.location)
        if incremental is not None:
            return units.Size(incremental.rows, found.bytes)
        if relation.kind != "table":
            return units.Size(None, found.bytes)
        # Without a condition BigQuery answers from metadata and bills nothing.
        ((rows,),) = self._warehouse.rows(f"SELECT COUNT(*) {sql}", relation.location)
        return units.Size(int(rows), found.bytes)

    def _obstacle(self, request: PlanRequest) -> str | None:
        destination = request.destination
        if destination is None:
            return "the destination is not known"
        if self._relation.path == destination.path:
            raise PermanentError(f"{self._source_id}: {destination.path} is source and destination at once")
        return obstacle(
            self._document, self._connection, self._warehouse, self._relation, request.columns, destination
        )

    def _item(self, column: PlannedColumn) -> list[str]:
        found = column_of(self._relation.column, column.source, self._relation.label, self._source_id)
        return [found.name, column.destination.name, found.field.type]


def _source_column(column: Column) -> SourceColumn:
    return SourceColumn(
        name=column.name,
        type=column.declared,
        natural=replace(types.natural(column.field), name=column.name),
        nullable=column.nullable,
    )


def _mismatch_note(label: str, exact: bool) -> str:
    if exact:
        return "the rows that the query must write were counted as of the same instant"
    return f"nobody can count the rows of {label} beforehand: what the query writes is taken as right"
