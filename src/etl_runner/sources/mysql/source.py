"""The MySQL source: describe, plan, read. Building it opens nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from etl_runner.config.connections import MySqlConnection
from etl_runner.config.database import DatabaseSource
from etl_runner.config.secrets import SecretResolver
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import PlanHeader, PlannedColumn, Window
from etl_runner.sources.base import Description, Extract, PlanRequest, Session, SourceColumn
from etl_runner.sources.cursors import Cursor
from etl_runner.sources.mysql import estimate as estimates
from etl_runner.sources.mysql import probe, schema, types, units
from etl_runner.sources.mysql.connect import Control, Target, open_control
from etl_runner.sources.mysql.incremental import Incremental, cursor_of, fix_window, given_window
from etl_runner.sources.mysql.quoting import identifier
from etl_runner.sources.mysql.schema import MyColumn, Relation
from etl_runner.sources.mysql.session import MySqlSession, open_session
from etl_runner.sources.named import check_named, column_of, incompatible, wanted_columns
from etl_runner.sources.sums import Dialect, MySqlDialect
from etl_runner.sources.units import in_order


class MySqlSource:
    """One table, view or query of a MySQL or MariaDB database."""

    def __init__(
        self,
        document: DatabaseSource,
        connection: MySqlConnection,
        secrets: SecretResolver,
        *,
        source_id: str = "source",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            document: the source's document.
            connection: how to reach the server.
            secrets: reveals the password when a connection is opened.
            source_id: names the source in errors and in the server's connection attributes.
            sleep: waits between two questions.
        """
        self._document = document
        self._connection = connection
        self._secrets = secrets
        self._source_id = source_id
        self._sleep = sleep
        self._relation: Relation | None = None

    def describe(self) -> Description:
        """Columns and identity; see :class:`~etl_runner.sources.base.Source`."""
        self._check_replica()
        with self._control() as control:
            identity = schema.identity_of(control)
            relation = self._look(control)
        if self._document.cursor_column:
            # Named in the document, so its kind is checked whether or not a window needs it.
            cursor_of(relation, self._document, self._source_id)
        return Description(
            columns=tuple(
                _source_column(column)
                for column in wanted_columns(self._document, relation.columns, relation.column)
            ),
            identity=identity,
            primary_key=relation.primary_key,
        )

    def expression(self, column: SourceColumn, destination: BqField) -> str | None:
        """The select item that reads ``column`` for ``destination``; connects unless described before."""
        return self._selection(self._described(), column.name, destination).expression

    def plan(self, request: PlanRequest) -> Extract:
        """Fix the window and cut it into units; see :class:`~etl_runner.sources.base.Source`."""
        self._check_replica()
        with self._control() as control:
            relation = self._look(control)
            items = self._items(relation, request.columns)
            incremental = self._incremental(control, relation, request)
            where = None if incremental is None else incremental.condition
            rows = estimates.estimate(control, relation, where)
            if incremental is not None and incremental.high is None:
                rows = replace(rows, rows=0)
            cut = units.cut(
                control, relation, incremental, rows, request.unit_rows, request.most_units(rows.rows)
            )
            few = bool(cut.units) and rows.rows < probe.MOST_ROWS
            if incremental and few and probe.nothing_new(control, relation, incremental.condition):
                cut = replace(cut, units=(), how="none, nothing is new")
                rows = replace(rows, rows=0)
        catalog = incremental is None
        notes = [] if incremental is None else list(incremental.notes)
        notes.append(f"units: {cut.how}")
        if catalog:
            notes.append(
                "all units are read one after the other over one connection: MySQL's connections cannot"
                " share a snapshot"
            )
            if relation.kind == "table" and relation.engine != "InnoDB":
                notes.append(
                    f"{relation.label} is kept by {relation.engine}, which has no snapshots: rows that change"
                    " while it is read may be there in either form"
                )
        return Extract(
            window=Window(kind="all") if incremental is None else incremental.window,
            units=in_order(cut.units),
            read={"items": items, "from": f"{relation.sql} AS t", "where": where},
            next_watermark=None if incremental is None else incremental.next_watermark,
            estimated_rows=rows.rows,
            estimated_bytes=rows.bytes,
            estimate_how=estimates.HOW,
            snapshot_possible=True,
            notes=tuple(notes),
            max_connections=1 if catalog else self._connection.max_connections,
        )

    def session(self, plan: PlanHeader, *, snapshot: bool) -> AbstractContextManager[Session]:
        """Open the source for reading units of ``plan``; see :class:`~etl_runner.sources.base.Source`."""
        return self._session(plan, snapshot)

    @contextmanager
    def _session(self, plan: PlanHeader, snapshot: bool) -> Iterator[MySqlSession]:
        target = self._target(f"{plan.source_id}/{plan.run_id}")
        with open_session(target, plan.read, snapshot=snapshot) as session:
            yield session

    @property
    def dialect(self) -> Dialect:
        """How sums for a comparison are written."""
        return MySqlDialect()

    def cursor(self) -> Cursor | None:
        """The document's cursor; connects unless described before."""
        if not self._document.cursor_column:
            return None
        return cursor_of(self._described(), self._document, self._source_id)[0]

    def column(self, name: str) -> str:
        """A column of the table that :meth:`ask` names, as SQL text."""
        return f"t.{identifier(name)}"

    def ask(self, sql: Callable[[str], str]) -> list[list[Any]]:
        """The rows of a query that is made from the table's own SQL; it may take an hour."""
        with self._control() as control:
            relation = self._look(control)
            rows = control.rows(sql(f"{relation.sql} AS t"), "comparing with the destination")
            return [list(row) for row in rows]

    def _check_replica(self) -> None:
        if self._connection.replica_host is not None:
            problem = Problem(
                "replica_host",
                "is not supported for MySQL, whose replicas cannot be told to have caught up with a plan;"
                " name the server to read from as host",
            )
            raise ConfigError(self._source_id, (problem,))

    def _target(self, name: str) -> Target:
        return Target(self._connection, self._secrets, f"etl-runner {name}")

    def _control(self) -> AbstractContextManager[Control]:
        return open_control(self._target(f"{self._source_id}/plan"))

    def _look(self, control: Control) -> Relation:
        document = self._document
        if document.query is not None:
            with control.transaction():
                relation = schema.query(control, document.query, self._source_id)
        elif document.source_table_name is not None:
            relation = schema.table(
                control, document.schema_name, document.source_table_name, self._source_id
            )
        else:
            raise PermanentError(f"{self._source_id}: names neither source_table_name nor query")
        check_named(self._document, relation.columns, relation.column, relation.label, self._source_id)
        self._relation = relation
        return relation

    def _described(self) -> Relation:
        if self._relation is None:
            with self._control() as control:
                return self._look(control)
        return self._relation

    def _selection(self, relation: Relation, name: str, destination: BqField) -> types.Selection:
        column = column_of(relation.column, name, relation.label, self._source_id)
        try:
            return types.select(column.type, f"t.{identifier(column.name)}", destination)
        except types.Incompatible as reason:
            raise incompatible(
                name, relation.label, column.declared, destination, reason, self._source_id
            ) from None

    def _items(self, relation: Relation, columns: tuple[PlannedColumn, ...]) -> list[list[str]]:
        result = []
        for column in columns:
            selection = self._selection(relation, column.source, column.destination)
            result.append([selection.expression, column.destination.name, selection.kind])
        return result

    def _incremental(self, control: Control, relation: Relation, request: PlanRequest) -> Incremental | None:
        document = self._document
        if document.load_type == "catalog" or document.cursor_column is None:
            return None
        if request.between is not None:
            return given_window(relation, document, request.watermark, request.between, self._source_id)
        identity = schema.identity_of(control)
        return fix_window(
            control, relation, identity, document, request.watermark, self._source_id, self._sleep
        )


def _source_column(column: MyColumn) -> SourceColumn:
    natural, note = types.natural(column.type)
    return SourceColumn(
        name=column.name,
        type=column.declared,
        natural=replace(natural, name=column.name),
        nullable=column.nullable,
        note=note,
    )
