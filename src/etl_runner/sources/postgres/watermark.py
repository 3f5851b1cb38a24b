"""Watermarks: where a run begins, and what it leaves to the next one.

A watermark is a JSON object. ``value`` is the window's end, ``settled`` and ``xid_horizon`` belong to the
window rule (:mod:`etl_runner.sources.postgres.window`); ``column``, ``type`` and ``identity`` say of what,
and ``late`` which late window the run had. One that has nothing but ``value`` was written by a person or
taken over from another system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from etl_runner.config.database import DatabaseSource
from etl_runner.config.times import parse_duration
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.sources.cursors import Cursor, CursorValue, late_distance
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.instant import Instant
from etl_runner.sources.postgres.schema import PgColumn, Server
from etl_runner.sources.postgres.window import Bounds, Watermark
from etl_runner.sources.start import check_same_cursor, historical_start

_OFFSET = re.compile(r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$", re.IGNORECASE)
_CLOCK = Cursor(column="", kind="timestamptz", type_sql="timestamptz")


def horizon_of(before: Mapping[str, Any]) -> int | None:
    """X of the last committed run; None: no run of ours left this watermark."""
    horizon = before.get("xid_horizon")
    return None if horizon is None else int(horizon)


def left_by(before: Mapping[str, Any], cursor: Cursor, low: CursorValue | None) -> Watermark | None:
    """The values of a watermark that the window rule goes by.

    Args:
        before: the watermark; ``{}``: there is none.
        cursor: the cursor column.
        low: the run's :func:`starting_point`; nothing that lies at or before one of the document, or of a
            watermark that no run of ours left, is looked at.
    """
    if low is None:
        return None
    horizon = horizon_of(before)
    if horizon is None:
        return Watermark(low, low, None)
    if before.get("settled") is not None:
        return Watermark(low, cursor.parse(str(before["settled"])), horizon)
    return Watermark(low, cursor.minus(low, _late_of(cursor, before)), horizon)


def next_watermark(
    bounds: Bounds, cursor: Cursor, column: PgColumn, instant: Instant, server: Server, late: str
) -> dict[str, Any]:
    """What the run leaves once it is committed."""
    return {
        "value": cursor.text(bounds.high),
        "settled": cursor.text(bounds.settled),
        "column": column.name,
        "type": cursor.kind,
        "xid_horizon": str(instant.horizon),
        "late": late,
        "identity": server.identity,
    }


def _late_of(cursor: Cursor, before: Mapping[str, Any]) -> Any:
    """The late window in a watermark without ``settled``, which stood for it once."""
    text = str(before.get("late") or "0")
    if cursor.kind == "key":
        return Decimal(text)
    return late_distance(cursor.kind, parse_duration(text))


def check_same_source(
    before: Mapping[str, Any], server: Server, cursor: Cursor, column: PgColumn, name: str
) -> None:
    """Refuse a watermark of another server or cursor.

    Raises:
        PermanentError: says which, and what to do.
    """
    identity = before.get("identity")
    if identity is not None and identity != server.identity:
        raise PermanentError(
            f"{name}: the last run read database {identity}, and this is {server.identity} (restored, moved,"
            " or another server): its transaction numbers say nothing about the old rows. Compare source and"
            " destination, then go on with `etl-runner reset <source> --to VALUE`"
        )
    check_same_cursor(before, column.name, cursor, name)


def starting_point(
    control: Control,
    cursor: Cursor,
    before: Mapping[str, Any],
    document: DatabaseSource,
    instant: Instant,
    name: str,
) -> CursorValue | None:
    """The value after which the run begins: the watermark's, else the document's; None: at the beginning.

    Raises:
        ConfigError: it is none of the cursor's values.
    """
    if before.get("value") is not None:
        if before.get("identity") is not None:
            return cursor.parse(str(before["value"]))
        return read_value(control, cursor, str(before["value"]), instant, "watermark", name)
    if document.last_sync_value is not None:
        return read_value(control, cursor, document.last_sync_value, instant, "last_sync_value", name)
    if document.historical_start_date is None:
        return None
    clock: Any = _CLOCK.parse(instant.t0)
    return historical_start(cursor, document.historical_start_date, clock, name)


def read_value(
    control: Control, cursor: Cursor, text: str, instant: Instant, path: str, name: str
) -> CursorValue:
    """A value as a person or an earlier system wrote it: the server reads it, with all its spellings."""
    try:
        if cursor.kind == "key":
            return cursor.parse(text.strip())
        if cursor.kind != "timestamptz" and _OFFSET.search(text.strip()):
            spelled = control.value(
                "SELECT (cast(:value AS timestamptz) AT TIME ZONE cast(:zone AS text))::text",
                f"reading {path}",
                value=text,
                zone=instant.zone or "UTC",
            )
        else:
            kind = "timestamp" if cursor.kind == "date" else cursor.kind
            spelled = control.value(
                f"SELECT cast(cast(:value AS text) AS {kind})::text", f"reading {path}", value=text
            )
        return cursor.parse(spelled.split(" ")[0] if cursor.kind == "date" else spelled)
    except (ValueError, InvalidOperation, PermanentError):
        raise ConfigError(
            name, (Problem(path, f"is no value of the cursor's type {cursor.type_sql}", found=repr(text)),)
        ) from None
