"""The window of an incremental read, fixed once.

Everything is read as of one instant t0 of BigQuery's clock, so that repeats read the same rows. A row counts
from the moment at which its job commits or its stream is flushed, and BigQuery tells no row when that was:
the window ends ``late_window`` before t0 (an hour unless told otherwise), and rows that arrive later than
that after their cursor are lost. For keys it ends ``late_window`` keys below the greatest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from etl_runner.config.database import DatabaseSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import Window
from etl_runner.sources.base import Between
from etl_runner.sources.bigquery.access import Warehouse
from etl_runner.sources.bigquery.quoting import identifier
from etl_runner.sources.bigquery.relation import Column, Relation
from etl_runner.sources.cursors import LOADED_DIGITS, Cursor, CursorKind, CursorValue
from etl_runner.sources.start import check_same_cursor, starting_point
from etl_runner.sources.window import clipped, given, parsed

TIME_TYPES: dict[str, CursorKind] = {"TIMESTAMP": "timestamptz", "DATETIME": "timestamp", "DATE": "date"}
KEY_TYPES: dict[str, CursorKind] = {"INT64": "key", "NUMERIC": "key", "BIGNUMERIC": "key"}
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class BqCursor(Cursor):
    """A cursor column; ``type_sql`` is its BigQuery type."""

    def literal(self, value: CursorValue) -> str:
        """The value as SQL: ``TIMESTAMP '2024-01-01 00:00:00.000000+00'``, ``NUMERIC '1.5'``, ``17``."""
        return value_literal(self.text(value), self.type_sql)


def value_literal(text: str, type_name: str) -> str:
    """A value's text as SQL of its type."""
    return text if type_name == "INT64" else f"{type_name} '{text}'"


@dataclass(frozen=True)
class Incremental:
    """A fixed window. ``high`` is None when there is nothing to begin with."""

    cursor: BqCursor
    column: Column
    low: CursorValue | None
    high: CursorValue | None
    window: Window
    next_watermark: dict[str, Any] | None
    rows: int | None
    """Rows in the window: exact for a table, as of the plan's instant; None where nobody counted."""
    notes: tuple[str, ...]

    @property
    def condition(self) -> str:
        """The window as SQL."""
        return condition(self.cursor, self.low, self.high)


def cursor_of(relation: Relation, document: DatabaseSource, name: str) -> tuple[BqCursor, Column]:
    """The cursor column of the document.

    Raises:
        ConfigError: it is of a kind that cannot be a cursor.
    """
    column = relation.column(document.cursor_column or "")
    if column is None:
        raise PermanentError(f"{name}: the source has no cursor column")
    if document.timestamp_column:
        allowed, path, words = TIME_TYPES, "timestamp_column", "TIMESTAMP, DATETIME or DATE"
    else:
        allowed, path, words = KEY_TYPES, "incrementing_column", "INT64, NUMERIC or BIGNUMERIC"
    kind = None if column.field.mode == "REPEATED" else allowed.get(column.field.type)
    if kind is None:
        others = [other.name for other in relation.columns if other.field.type in allowed]
        problem = Problem(
            path,
            f"is of type {column.declared} in {relation.label}, which is no cursor",
            found=column.name,
            allowed=f"a column of type {words}" + (f": {', '.join(others[:20])}" if others else ""),
        )
        raise ConfigError(name, (problem,))
    return BqCursor(identifier(column.name), kind, column.field.type, _digits(column.field)), column


def _digits(field: BqField) -> int:
    """Digits after a key's point.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
    """
    if field.type == "INT64" or field.type not in KEY_TYPES:
        return 0
    if field.precision is not None:
        return field.scale or 0
    return LOADED_DIGITS if field.type == "BIGNUMERIC" else 9


def fix_window(
    warehouse: Warehouse,
    relation: Relation,
    document: DatabaseSource,
    watermark: Mapping[str, Any] | None,
    t0: datetime,
    name: str,
) -> Incremental:
    """Fix the window of this run: a constant number of short queries, each of one column.

    Args:
        watermark: what the last committed run left, or ``{"value": ...}`` from elsewhere.
        t0: the plan's instant by BigQuery's clock.
        name: what errors name.

    Raises:
        ConfigError: the cursor column is of the wrong kind; a starting point is none of its values.
        PermanentError: the watermark belongs to another column.
    """
    cursor, column = cursor_of(relation, document, name)
    before = dict(watermark or {})
    check_same_cursor(before, column.name, cursor, name)
    low = starting_point(cursor, before, document, t0, name)
    ask = _Questions(warehouse, relation, cursor, t0)
    high: Any
    if cursor.kind == "key":
        late = f"{document.late_keys:f}"
        greatest = ask.greatest(low)
        high = None if greatest is None else cursor.minus(greatest, document.late_keys)
    else:
        late = document.late_window or "1h"
        high = end_of_window(cursor, t0, document.late_duration)
    if low is not None:
        high = low if high is None else max(low, high)
    nulls = ask.count(f"{cursor.column} IS NULL") if column.nullable else 0
    future = ask.count(f"{cursor.column} > {_now(cursor, t0)}") if cursor.kind != "key" else 0
    window = Window(
        kind="cursor",
        column=column.name,
        low=None if low is None else cursor.text(low),
        high=None if high is None else cursor.text(high),
        late=str(late),
        detail={"as_of": t0.isoformat()} if relation.kind == "table" else {},
    )
    mark = {"value": window.high, "column": column.name, "type": cursor.kind}
    return Incremental(
        cursor=cursor,
        column=column,
        low=low,
        high=high,
        window=window,
        next_watermark=None if high is None else mark,
        rows=0 if high is None or high == low else ask.count(condition(cursor, low, high)),
        notes=tuple(_notes(relation, cursor, column, str(late), nulls, future)),
    )


def given_window(
    warehouse: Warehouse,
    relation: Relation,
    document: DatabaseSource,
    watermark: Mapping[str, Any] | None,
    t0: datetime,
    between: Between,
    name: str,
) -> Incremental:
    """The window that a person gave, as far as the regular runs have come. Arguments and errors are those of
    :func:`fix_window`."""
    cursor, column = cursor_of(relation, document, name)
    before = dict(watermark or {})
    check_same_cursor(before, column.name, cursor, name)
    start, end = parsed(cursor, column.declared, between, name)
    settled = None if before.get("value") is None else cursor.parse(str(before["value"]))
    low, high, notes = clipped(cursor, start, end, settled, name)
    rows = _Questions(warehouse, relation, cursor, t0).count(condition(cursor, low, high))
    return Incremental(cursor, column, low, high, given(column.name, cursor, low, high), None, rows, notes)


def end_of_window(cursor: Cursor, t0: datetime, late: timedelta) -> CursorValue:
    """``high`` of a time cursor: strictly before ``late`` behind t0; a day counts when it is over by then."""
    end = t0.astimezone(UTC) - late - _MICROSECOND
    if cursor.kind == "date":
        return end.date() - _DAY
    return end if cursor.kind == "timestamptz" else end.replace(tzinfo=None)


def condition(cursor: Cursor, low: CursorValue | None, high: CursorValue | None) -> str:
    """``low < cursor <= high`` as SQL; nothing where there is no ``high``."""
    if high is None:
        return "FALSE"
    upper = f"{cursor.column} <= {cursor.literal(high)}"
    return upper if low is None else f"{cursor.column} > {cursor.literal(low)} AND {upper}"


def _now(cursor: BqCursor, t0: datetime) -> str:
    value: Any = t0.astimezone(UTC)
    if cursor.kind != "timestamptz":
        value = value.date() if cursor.kind == "date" else value.replace(tzinfo=None)
    return cursor.literal(value)


class _Questions:
    """Short queries over the cursor column, as of the plan's instant."""

    def __init__(self, warehouse: Warehouse, relation: Relation, cursor: BqCursor, t0: datetime) -> None:
        self._warehouse = warehouse
        self._location = relation.location
        self._from = relation.as_of(t0)
        self._cursor = cursor

    def count(self, where: str) -> int:
        sql = f"SELECT COUNT(*) FROM {self._from} WHERE {where}"
        ((number,),) = self._warehouse.rows(sql, self._location)
        return int(number)

    def greatest(self, low: CursorValue | None) -> Any:
        name = self._cursor.column
        where = "" if low is None else f" WHERE {name} > {self._cursor.literal(low)}"
        sql = f"SELECT CAST(MAX({name}) AS STRING) FROM {self._from}{where}"
        ((text,),) = self._warehouse.rows(sql, self._location)
        return None if text is None else self._cursor.parse(str(text))


def _notes(
    relation: Relation, cursor: BqCursor, column: Column, late: str, nulls: int, future: int
) -> list[str]:
    name = column.name
    if cursor.kind == "key":
        notes = [
            f"rows that are committed with a {name} more than {late} below the greatest one are lost;"
            " late_window is the number of keys that may still be missing"
        ]
    else:
        notes = [f"rows that are committed more than {late} (late_window) after their {name} are lost"]
    if cursor.kind in ("timestamp", "date"):
        notes.append(f"{name} has no time zone and is taken to be written in UTC")
    if relation.kind != "table":
        notes.append(
            f"{relation.label} cannot be read as of an instant: it is read as it is when the run gets there"
        )
    if nulls:
        notes.append(f"{nulls:,} rows whose {name} is NULL are not loaded")
    if future:
        notes.append(f"{future:,} rows whose {name} lies in the future wait for it")
    return notes
