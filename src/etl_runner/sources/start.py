"""Where an incremental run begins: after the watermark, else where the document says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import InvalidOperation
from typing import Any

from etl_runner.config.database import DatabaseSource
from etl_runner.config.times import parse_start
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.sources.cursors import Cursor, CursorValue


def check_same_cursor(before: Mapping[str, Any], column: str, cursor: Cursor, name: str) -> None:
    """Refuse a watermark of another cursor.

    Raises:
        PermanentError: says which, and what to do.
    """
    for key, now in (("column", column), ("type", cursor.kind)):
        if before.get(key) not in (None, now):
            raise PermanentError(
                f"{name}: the last run's cursor had the {key} {before[key]}, and this one has {now};"
                " begin with the new cursor by `etl-runner reset <source> --to VALUE`"
            )


def starting_point(
    cursor: Cursor, before: Mapping[str, Any], document: DatabaseSource, now: datetime, name: str
) -> CursorValue | None:
    """The value after which the run begins: the watermark's, else the document's; None: at the beginning.

    Args:
        before: the watermark; ``{}``: there is none.
        now: the server's clock in UTC, which relative starts count from.
        name: what errors name.

    Raises:
        ConfigError: it is none of the cursor's values.
    """
    if before.get("value") is not None:
        return _parsed(cursor, str(before["value"]), "watermark", name)
    if document.last_sync_value is not None:
        return _parsed(cursor, str(document.last_sync_value).strip(), "last_sync_value", name)
    if document.historical_start_date is None:
        return None
    return historical_start(cursor, document.historical_start_date, now, name)


def historical_start(cursor: Cursor, written: str, now: datetime, name: str) -> CursorValue:
    """The value just before ``historical_start_date``, which is loaded itself: windows are open at their
    lower end.

    Raises:
        ConfigError: the cursor is a key.
    """
    if cursor.kind == "key":
        problem = Problem(
            "historical_start_date", "is no start for an incrementing_column; give last_sync_value"
        )
        raise ConfigError(name, (problem,))
    start: Any = parse_start(written).at(now.astimezone(UTC))
    if cursor.kind == "date":
        start = start.date()
    elif cursor.kind == "timestamp":
        start = start.replace(tzinfo=None)
    low: CursorValue = cursor.minus(start, cursor.step)
    return low


def _parsed(cursor: Cursor, text: str, path: str, name: str) -> CursorValue:
    try:
        if cursor.kind == "date":
            return datetime.fromisoformat(text).date()
        if cursor.kind == "timestamp" and datetime.fromisoformat(text).tzinfo is not None:
            raise ValueError("a wall clock has no zone")
        return cursor.parse(text)
    except (ValueError, InvalidOperation):
        problem = Problem(path, f"is no value of the cursor's type {cursor.type_sql}", found=repr(text))
        raise ConfigError(name, (problem,)) from None
