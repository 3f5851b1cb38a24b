"""The PostgreSQL source: describe, plan, read. Building it opens nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from etl_runner.config.connections import PostgresConnection
from etl_runner.config.database import DatabaseSource
from etl_runner.config.secrets import SecretResolver
from etl_runner.convert.fields import BqField
from etl_runner.convert.raw import RAW_COLUMN
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlanHeader, PlannedColumn, Window
from etl_runner.sources.base import Description, Extract, PlanRequest, Session, SourceColumn
from etl_runner.sources.cursors import Cursor
from etl_runner.sources.named import check_named, column_of, incompatible, wanted_columns
from etl_runner.sources.postgres import estimate as estimates
from etl_runner.sources.postgres import probe, schema, types, units
from etl_runner.sources.postgres.connect import Control, Target, open_control
from etl_runner.sources.postgres.incremental import Incremental, cursor_of, fix_window, given_window
from etl_runner.sources.postgres.instant import zone_of
from etl_runner.sources.postgres.schema import PgColumn, Relation, Server
from etl_runner.sources.postgres.session import PostgresSession, open_session, select_items
from etl_runner.sources.quoting import identifier
from etl_runner.sources.sums import Dialect, PostgresDialect
from etl_runner.sources.units import in_order

COMPARE_SECONDS = 3_600
"""A comparison reads the whole table."""


class PostgresSource:
    """One table, view or query of a PostgreSQL database."""

    def __init__(
        self,
        document: DatabaseSource,
        connection: PostgresConnection,
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
            source_id: names the source in errors and in the server's list of sessions.
            sleep: waits between looks at a replica.
        """
        self._document = document
        self._connection = connection
        self._secrets = secrets
        self._source_id = source_id
        self._sleep = sleep
        self._relation: Relation | None = None

    def describe(self) -> Description:
        """Columns and identity; see :class:`~etl_runner.sources.base.Source`."""
        with self._control() as control, control.transaction():
            server = schema.server_of(control)
            relation = self._look(control)
        if self._document.cursor_column:
            # Named in the document, so its kind is checked whether or not a window needs it.
            cursor_of(relation, self._document, self._source_id)
        return Description(
            columns=tuple(
                _source_column(column)
                for column in wanted_columns(self._document, relation.columns, relation.column)
            ),
            identity=server.identity,
            primary_key=relation.primary_key,
            notes=tuple(_relation_notes(relation)),
        )

    def expression(self, column: SourceColumn, destination: BqField) -> str | None:
        """The select item that reads ``column`` for ``destination``; connects unless described before."""
        return self._selection(self._described(), column.name, destination).expression

    def plan(self, request: PlanRequest) -> Extract:
        """Fix the window and cut it into units; see :class:`~etl_runner.sources.base.Source`."""
        with self._control() as control:
            # Before any transaction of ours, which sets another zone.
            zone = zone_of(control)
            with control.transaction():
                server = schema.server_of(control)
                relation = self._look(control)
                selections = self._selections(relation, request.columns)
                incremental = self._incremental(control, relation, server, request, zone)
                horizon = control.value(
                    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text", "taking a snapshot"
                )
                if incremental is not None:
                    horizon = incremental.window.detail.get("xid_horizon", horizon)
                rows = self._estimate(control, relation, request.columns, incremental)
                cut = units.cut(
                    control, relation, incremental, rows, request.unit_rows, request.most_units(rows.rows)
                )
            few = bool(cut.units) and rows.rows < probe.MOST_ROWS
            if incremental and few and probe.nothing_new(control, relation, incremental.condition):
                cut = replace(cut, units=(), how="none, nothing is new")
                rows = replace(rows, rows=0)
        notes = _relation_notes(relation)
        if incremental is not None:
            notes += incremental.notes
        notes.append(f"units: {cut.how}")
        return Extract(
            window=Window(kind="all") if incremental is None else incremental.window,
            units=in_order(cut.units),
            read={
                "items": select_items(*types.guarded_items(selections), RAW_COLUMN),
                "binary": select_items(*types.binary_items(selections), RAW_COLUMN),
                "from": f"{relation.sql} AS t",
                "where": None if incremental is None else incremental.condition,
                "identity": server.identity,
                "xid_horizon": horizon,
            },
            next_watermark=None if incremental is None else incremental.next_watermark,
            estimated_rows=rows.rows,
            estimated_bytes=rows.bytes,
            estimate_how=estimates.HOW,
            snapshot_possible=True,
            notes=tuple(notes),
            max_connections=self._connection.max_connections,
        )

    def session(self, plan: PlanHeader, *, snapshot: bool) -> AbstractContextManager[Session]:
        """Open the source for reading units of ``plan``; see :class:`~etl_runner.sources.base.Source`."""
        return self._session(plan, snapshot)

    @contextmanager
    def _session(self, plan: PlanHeader, snapshot: bool) -> Iterator[PostgresSession]:
        target = self._target(f"{plan.source_id}/{plan.run_id}")
        with open_session(target, plan.read, snapshot=snapshot, sleep=self._sleep) as session:
            yield session

    @property
    def dialect(self) -> Dialect:
        """How sums for a comparison are written."""
        return PostgresDialect()

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
        with self._control() as control, control.transaction(timeout_seconds=COMPARE_SECONDS):
            relation = self._look(control)
            return list(control.rows(sql(f"{relation.sql} AS t"), "comparing with the destination"))

    def _target(self, name: str) -> Target:
        return Target(self._connection, self._secrets, f"etl-runner {name}")

    def _control(self) -> AbstractContextManager[Control]:
        return open_control(self._target(f"{self._source_id}/plan"))

    def _look(self, control: Control) -> Relation:
        document = self._document
        if document.query is not None:
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
            with self._control() as control, control.transaction():
                return self._look(control)
        return self._relation

    def _selection(self, relation: Relation, name: str, destination: BqField) -> types.Selection:
        column = column_of(relation.column, name, relation.label, self._source_id)
        try:
            return types.select(column.type, f"t.{identifier(name)}", destination)
        except types.Incompatible as reason:
            raise incompatible(
                name, relation.label, column.declared, destination, reason, self._source_id
            ) from None

    def _selections(
        self, relation: Relation, columns: tuple[PlannedColumn, ...]
    ) -> dict[str, types.Selection]:
        return {
            column.destination.name: self._selection(relation, column.source, column.destination)
            for column in columns
        }

    def _incremental(
        self, control: Control, relation: Relation, server: Server, request: PlanRequest, zone: str
    ) -> Incremental | None:
        document = self._document
        if document.load_type == "catalog" or document.cursor_column is None:
            return None
        if request.between is not None:
            return given_window(
                control,
                relation,
                server,
                document,
                request.watermark,
                request.between,
                zone,
                self._source_id,
            )
        return fix_window(control, relation, server, document, request.watermark, zone, self._source_id)

    def _estimate(
        self,
        control: Control,
        relation: Relation,
        columns: tuple[PlannedColumn, ...],
        incremental: Incremental | None,
    ) -> estimates.Estimate:
        names = ", ".join(f"t.{identifier(name)}" for name in dict.fromkeys(c.source for c in columns))
        where = "" if incremental is None else f" WHERE {incremental.plain_condition}"
        found = estimates.estimate(control, f"SELECT {names} FROM {relation.sql} AS t{where}")
        if incremental is not None and incremental.bounds is None:
            return replace(found, rows=0)
        return replace(found, rows=math.ceil(found.rows))


def _source_column(column: PgColumn) -> SourceColumn:
    natural, note = types.natural(column.type)
    notes = [text for text in (column.note, note) if text]
    return SourceColumn(
        name=column.name,
        type=column.declared,
        natural=replace(natural, name=column.name),
        nullable=column.nullable,
        note="; ".join(notes) or None,
    )


def _relation_notes(relation: Relation) -> list[str]:
    notes = []
    if relation.filtered:
        notes.append(
            f"row-level security of {relation.label} applies to this user: rows that its policies hide are"
            " not read"
        )
    if relation.kind in ("table", "partitioned table") and not relation.analyzed:
        notes.append(f"{relation.label} was never analysed: its rows are guessed from its size; run ANALYZE")
    return notes
