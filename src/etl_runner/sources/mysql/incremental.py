"""An incremental read: fix the window once, and say what it does not cover.

The window is ``low < cursor <= high``. InnoDB tells no transaction of a row, so rows that appear behind
``high`` later are lost; ``high`` therefore stays below everything that may still be written: below the oldest
open write transaction and running statement where this user may see them, else ``settle_seconds`` behind now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

from etl_runner.config.database import DatabaseSource
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import Window
from etl_runner.sources.base import Between
from etl_runner.sources.cursors import CursorValue
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.cursors import KEY_TYPES, TIME_TYPES, MyCursor
from etl_runner.sources.mysql.instant import MARGIN, Instant, observe
from etl_runner.sources.mysql.quoting import identifier
from etl_runner.sources.mysql.schema import MyColumn, Relation
from etl_runner.sources.start import check_same_cursor, starting_point
from etl_runner.sources.window import clipped, given, parsed

COUNT_LIMIT = 100_000
"""Rows that are counted exactly through an index; beyond it the note says "more than"."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Incremental:
    """A fixed window. ``high`` is None when the table has no rows to begin with."""

    cursor: MyCursor
    column: MyColumn
    low: CursorValue | None
    high: CursorValue | None
    window: Window
    next_watermark: dict[str, Any] | None
    notes: tuple[str, ...]

    @property
    def condition(self) -> str:
        """The window as SQL, over rows of ``t``."""
        if self.high is None:
            return "FALSE"
        parts = [f"{self.cursor.column} <= {self.cursor.literal(self.high)}"]
        if self.low is not None:
            parts.append(f"{self.cursor.column} > {self.cursor.literal(self.low)}")
        return " AND ".join(parts)


def cursor_of(relation: Relation, document: DatabaseSource, name: str) -> tuple[MyCursor, MyColumn]:
    """The cursor column of the document.

    Raises:
        ConfigError: it is of a kind that cannot be a cursor.
    """
    column = relation.column(document.cursor_column or "")
    if column is None:
        raise PermanentError(f"{name}: the source has no cursor column")
    if document.timestamp_column:
        allowed, path, words = TIME_TYPES, "timestamp_column", "timestamp, datetime, date"
    else:
        allowed, path, words = KEY_TYPES, "incrementing_column", "a whole number or decimal"
    kind = allowed.get(column.type.name)
    if kind is None:
        others = [other.name for other in relation.columns if other.type.name in allowed]
        problem = Problem(
            path,
            f"is of type {column.declared} in {relation.label}, which is no cursor",
            found=column.name,
            allowed=f"a column of type {words}" + (f": {', '.join(others[:20])}" if others else ""),
        )
        raise ConfigError(name, (problem,))
    digits = column.type.scale if column.type.name == "decimal" else 0
    return MyCursor(f"t.{identifier(column.name)}", kind, column.type.name, digits), column


def fix_window(
    control: Control,
    relation: Relation,
    identity: str,
    document: DatabaseSource,
    watermark: Mapping[str, Any] | None,
    name: str,
    sleep: Callable[[float], None],
) -> Incremental:
    """Fix the window of this run.

    Args:
        control: a connection, in no transaction.
        relation: what is read.
        identity: who answers.
        document: the source's.
        watermark: what the last committed run left, or ``{"value": ...}`` from elsewhere.
        name: what errors name.
        sleep: waits.

    Raises:
        ConfigError: the cursor column is of the wrong kind; a starting point is none of its values.
        PermanentError: the watermark belongs to another column.
    """
    cursor, column = cursor_of(relation, document, name)
    before = dict(watermark or {})
    check_same_cursor(before, column.name, cursor, name)
    instant = observe(control, local=cursor.kind in ("timestamp", "date"), sleep=sleep)
    low = starting_point(cursor, before, document, instant.t0.replace(tzinfo=UTC), name)
    high: Any
    if cursor.kind == "key":
        high = _greatest(control, relation, cursor, low, document.late_keys)
    else:
        high = end_of_window(cursor, low, instant, timedelta(seconds=document.settle_seconds))
    late = f"{document.late_keys:f}" if cursor.kind == "key" else None
    return Incremental(
        cursor=cursor,
        column=column,
        low=low,
        high=high,
        window=Window(
            kind="cursor",
            column=column.name,
            low=None if low is None else cursor.text(low),
            high=None if high is None else cursor.text(high),
            late=late,
            detail={
                "t0": instant.t0.isoformat(sep=" "),
                "oldest": None if instant.oldest is None else instant.oldest.isoformat(sep=" "),
                "holder": instant.holder,
                "rule": "transactions" if instant.visible else "settle_seconds",
                "time_zone": instant.zone,
            },
        ),
        next_watermark=(
            None
            if high is None
            else {
                "value": cursor.text(high),
                "column": column.name,
                "type": cursor.kind,
                "identity": identity,
            }
        ),
        notes=tuple(_notes(control, relation, cursor, column, instant, document)),
    )


def given_window(
    relation: Relation,
    document: DatabaseSource,
    watermark: Mapping[str, Any] | None,
    between: Between,
    name: str,
) -> Incremental:
    """The window that a person gave, as far as the regular runs have come. Errors are those of
    :func:`fix_window`."""
    cursor, column = cursor_of(relation, document, name)
    before = dict(watermark or {})
    check_same_cursor(before, column.name, cursor, name)
    start, end = parsed(cursor, column.declared, between, name)
    settled = None if before.get("value") is None else cursor.parse(str(before["value"]))
    low, high, notes = clipped(cursor, start, end, settled, name)
    return Incremental(cursor, column, low, high, given(column.name, cursor, low, high), None, notes)


def end_of_window(cursor: MyCursor, low: Any, instant: Instant, settle: timedelta) -> Any:
    """``high`` of a time cursor.

    With transactions visible, a margin before the clock and before the oldest of them; else ``settle`` before
    the clock. A day is read when it has ended by then. Never before ``low``.
    """
    if instant.visible:
        end = min(instant.t0, instant.oldest or instant.t0) - MARGIN
    else:
        end = instant.t0 - settle
    end -= timedelta(microseconds=1)
    high: Any
    if cursor.kind == "date":
        high = end.date() - _DAY
    else:
        high = end.replace(tzinfo=UTC) if cursor.kind == "timestamptz" else end
    return high if low is None else max(low, high)


def _greatest(control: Control, relation: Relation, cursor: MyCursor, low: Any, late: Decimal) -> Any:
    found = control.value(
        f"SELECT CAST(MAX({cursor.column}) AS CHAR) FROM {relation.sql} AS t", "reading the greatest key"
    )
    if found is None:
        return low
    value: Any = cursor.minus(cursor.parse(str(found)), late)
    return value if low is None else max(low, value)


def _notes(
    control: Control,
    relation: Relation,
    cursor: MyCursor,
    column: MyColumn,
    instant: Instant,
    document: DatabaseSource,
) -> list[str]:
    notes = []
    name = column.name
    if cursor.kind == "key":
        notes.append(
            f"rows that are committed with a {name} more than {document.late_keys:f} below the greatest"
            " visible one are lost; late_window is the number of keys that may still be missing"
        )
        if name not in relation.indexed:
            notes.append(f"{name} has no index: finding its greatest value reads the whole {relation.kind}")
    else:
        notes.append(_guarantee(name, instant, document))
        if document.late_window is not None:
            notes.append(
                "late_window has no effect on time cursors of MySQL, which tells no transaction of a row:"
                " what is committed behind the window's end later is lost"
            )
        if relation.kind == "table" and relation.engine != "InnoDB":
            notes.append(f"{relation.label} is kept by {relation.engine}, whose transactions cannot be seen")
    if instant.zone not in (None, "UTC", "+00:00"):
        notes.append(
            f"{name} has no time zone and is taken to be written in the server's ({instant.zone}); where its"
            " clock is put back, rows of the repeated hour can be lost"
        )
    if column.nullable:
        text = _count(control, relation, name, f"{cursor.column} IS NULL")
        if text != "0":
            notes.append(f"{text} rows whose {name} is NULL are not loaded")
    if cursor.kind in ("timestamptz", "timestamp") and name in relation.indexed:
        now = cursor.literal(instant.t0)
        text = _count(control, relation, name, f"{cursor.column} > {now}")
        if text != "0":
            notes.append(f"{text} rows whose {name} lies in the future wait for it")
    return notes


def _guarantee(name: str, instant: Instant, document: DatabaseSource) -> str:
    if instant.elsewhere is not None:
        return (
            f"the server is {instant.elsewhere}, and transactions of others are not seen here: rows that"
            f" arrive more than {document.settle_seconds} s (settle_seconds) after their {name} are lost"
        )
    if not instant.visible:
        return (
            "this user may not see other users' transactions (grant it PROCESS): rows that are committed"
            f" more than {document.settle_seconds} s (settle_seconds) after their {name} are lost"
        )
    text = f"rows whose {name} lies before the begin of the transaction that writes them can be lost"
    if instant.oldest is not None and instant.oldest < instant.t0 - MARGIN:
        age = (instant.t0 - instant.oldest).total_seconds()
        text += f"; the window's end is held back by connection {instant.holder}, writing for {age:.0f} s"
    return text


def _count(control: Control, relation: Relation, name: str, condition: str) -> str:
    """Exactly through an index, up to a limit; else nothing is known."""
    if name not in relation.indexed:
        return "an unknown number of"
    number = control.value(
        f"SELECT COUNT(*) FROM (SELECT 1 FROM {relation.sql} AS t WHERE {condition}"
        f" LIMIT {COUNT_LIMIT + 1}) AS counted",
        f"counting rows by {name}",
    )
    return f"more than {COUNT_LIMIT:,}" if number > COUNT_LIMIT else f"{number:,}"
