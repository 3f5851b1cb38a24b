"""An incremental read: fix the window once, and say what it does not cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from etl_runner.config.database import DatabaseSource
from etl_runner.config.times import format_duration
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import Window
from etl_runner.sources.base import Between
from etl_runner.sources.cursors import (
    CLOCK,
    KEY_TYPES,
    LOADED_DIGITS,
    TIME_TYPES,
    Cursor,
    CursorKind,
    CursorValue,
)
from etl_runner.sources.postgres import window as rule
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.instant import Instant, observe
from etl_runner.sources.postgres.notes import notes_of_cursor, notes_of_rows
from etl_runner.sources.postgres.schema import PgColumn, Relation, Server
from etl_runner.sources.postgres.watermark import (
    check_same_source,
    horizon_of,
    left_by,
    next_watermark,
    read_value,
    starting_point,
)
from etl_runner.sources.quoting import identifier
from etl_runner.sources.window import clipped, given


@dataclass(frozen=True)
class Incremental:
    """A fixed window. ``bounds`` is None when the table has no rows to begin with."""

    cursor: Cursor
    column: PgColumn
    bounds: rule.Bounds | None
    window: Window
    next_watermark: dict[str, Any] | None
    notes: tuple[str, ...]

    @property
    def condition(self) -> str:
        """The rule as SQL, over rows of ``t``."""
        return "false" if self.bounds is None else rule.condition(self.cursor, self.bounds)

    @property
    def plain_condition(self) -> str:
        """The window alone, for estimates: the planner knows nothing of transaction numbers."""
        if self.bounds is None:
            return "false"
        parts = [f"{self.cursor.column} <= {self.cursor.literal(self.bounds.high)}"]
        if self.bounds.low is not None:
            parts.append(f"{self.cursor.column} > {self.cursor.literal(self.bounds.low)}")
        return " AND ".join(parts)

    @property
    def first(self) -> CursorValue | None:
        """Every row of the run has a cursor above this; None: no such bound."""
        return None if self.bounds is None else self.bounds.first


def cursor_of(relation: Relation, document: DatabaseSource, name: str) -> tuple[Cursor, PgColumn]:
    """The cursor column of the document.

    Raises:
        ConfigError: it is of a kind that cannot be a cursor.
    """
    column = relation.column(document.cursor_column or "")
    if column is None:
        raise PermanentError(f"{name}: the source has no cursor column")
    if document.timestamp_column:
        allowed: dict[str, CursorKind] = TIME_TYPES
        path, words = "timestamp_column", "timestamp with time zone, timestamp, date"
    else:
        allowed = dict.fromkeys(KEY_TYPES, "key")
        path, words = "incrementing_column", "smallint, integer, bigint, numeric"
    kind = allowed.get(column.type.name)
    if kind is None or column.type.element is not None:
        others = [other.name for other in relation.columns if other.type.name in allowed]
        raise ConfigError(
            name,
            (
                Problem(
                    path,
                    f"is of type {column.declared} in {relation.label}, which is no cursor",
                    found=column.name,
                    allowed=f"a column of type {words}" + (f": {', '.join(others[:20])}" if others else ""),
                ),
            ),
        )
    return Cursor(f"t.{identifier(column.name)}", kind, column.type.name, _digits(column)), column


def _digits(column: PgColumn) -> int:
    """Digits after a key's point that matter: those declared, but none that BigQuery cannot hold."""
    if column.type.name != "numeric":
        return 0
    declared = column.type.precision_and_scale
    return LOADED_DIGITS if declared is None else min(max(declared[1], 0), LOADED_DIGITS)


def fix_window(
    control: Control,
    relation: Relation,
    server: Server,
    document: DatabaseSource,
    watermark: Mapping[str, Any] | None,
    zone: str,
    name: str,
) -> Incremental:
    """Fix the window of this run.

    Args:
        control: in a READ COMMITTED transaction of ours.
        relation: what is read.
        server: who answers.
        document: the source's.
        watermark: what the last committed run left, or ``{"value": ...}`` from elsewhere.
        zone: the ``TimeZone`` that this role's sessions begin with.
        name: what errors name.

    Raises:
        ConfigError: the cursor column is of the wrong kind; a starting point is none of its values.
        PermanentError: the watermark belongs to another server or column.
    """
    cursor, column = cursor_of(relation, document, name)
    before = dict(watermark or {})
    check_same_source(before, server, cursor, column, name)
    instant = observe(control, cursor.kind, zone)
    if relation.versioned:
        rule.check_distance(horizon_of(before), instant.end)
    left = left_by(before, cursor, starting_point(control, cursor, before, document, instant, name))
    free = None
    if cursor.kind == "key":
        # A plain window stays behind by the late window, so that its default would hide small tables.
        plain_default = document.late_window is None and not relation.versioned
        keys = Decimal(0) if plain_default else document.late_keys
        late_text = f"{keys:f}"
        end = _end_of_keys(control, relation, cursor, column, left, keys)
    else:
        late = document.late_duration
        late_text = format_duration(late)
        end = _end_of_times(cursor, relation, instant.t0, instant.oldest, late)
        free = _end_of_times(cursor, relation, instant.t0, None, late)
    bounds = None
    if end is not None:
        bounds = rule.bounds_of(left, end, instant.horizon if relation.versioned else None)
    return Incremental(
        cursor=cursor,
        column=column,
        bounds=bounds,
        window=_window(cursor, column, relation, bounds, left, instant, late_text),
        next_watermark=(
            None if bounds is None else next_watermark(bounds, cursor, column, instant, server, late_text)
        ),
        notes=(
            *notes_of_cursor(relation, server, cursor, column, instant, late_text),
            *_notes_of_window(cursor, relation, instant, bounds, left, free),
            *(() if bounds is None else notes_of_rows(control, relation, cursor, column, instant)),
        ),
    )


def given_window(
    control: Control,
    relation: Relation,
    server: Server,
    document: DatabaseSource,
    watermark: Mapping[str, Any] | None,
    between: Between,
    zone: str,
    name: str,
) -> Incremental:
    """The window that a person gave, as far as it lies behind what is settled.

    What is not settled yet is left to the regular runs, which would load it once more. Arguments and errors
    are those of :func:`fix_window`.
    """
    cursor, column = cursor_of(relation, document, name)
    before = dict(watermark or {})
    check_same_source(before, server, cursor, column, name)
    instant = observe(control, cursor.kind, zone)
    left = left_by(before, cursor, starting_point(control, cursor, before, document, instant, name))
    start = read_value(control, cursor, between.start, instant, "--from", name)
    end = read_value(control, cursor, between.end, instant, "--to", name)
    low, high, notes = clipped(cursor, start, end, None if not before or left is None else left.settled, name)
    return Incremental(
        cursor=cursor,
        column=column,
        bounds=rule.Bounds(low, high, high),
        window=given(column.name, cursor, low, high),
        next_watermark=None,
        notes=notes,
    )


def _window(
    cursor: Cursor,
    column: PgColumn,
    relation: Relation,
    bounds: rule.Bounds | None,
    left: rule.Watermark | None,
    instant: Instant,
    late: str,
) -> Window:
    def text(value: CursorValue | None) -> str | None:
        return None if value is None else cursor.text(value)

    return Window(
        kind="cursor",
        column=column.name,
        low=text(left.high if left else None),
        high=text(bounds.high if bounds else None),
        late=late,
        detail={
            "t0": instant.t0,
            "oldest": instant.oldest,
            "settled": text(bounds.settled if bounds else None),
            "previous_settled": text(left.settled if left else None),
            "xid_horizon": str(instant.horizon),
            "previous_xid_horizon": str(left.horizon) if left and left.horizon is not None else None,
            "time_zone": instant.zone,
            "rule": "xmin" if relation.versioned else "plain",
        },
    )


def _end_of_keys(
    control: Control,
    relation: Relation,
    cursor: Cursor,
    column: PgColumn,
    left: rule.Watermark | None,
    late: Decimal,
) -> rule.End | None:
    """The end for keys; None: there are no rows and no run before this one."""
    greatest = control.value(
        f"SELECT max(t.{identifier(column.name)})::text FROM {relation.sql} AS t",
        f"reading the greatest {column.name}",
    )
    if greatest is None:
        return None if left is None else rule.End(left.high, left.settled)
    value: Any = cursor.parse(greatest)
    return rule.end_of_keys(cursor, value, late, plain=not relation.versioned)


def _end_of_times(
    cursor: Cursor, relation: Relation, t0_text: str, oldest_text: str | None, late: timedelta
) -> rule.End:
    clock = CLOCK if cursor.kind == "date" else cursor
    t0: Any = clock.parse(t0_text)
    oldest: Any = None if oldest_text is None else clock.parse(oldest_text)
    if cursor.kind == "date":
        return rule.end_for_dates(t0, oldest, late, plain=not relation.versioned)
    end = rule.end_of_window if relation.versioned else rule.end_of_plain_window
    return end(cursor, t0, oldest, late)


def _notes_of_window(
    cursor: Cursor,
    relation: Relation,
    instant: Instant,
    bounds: rule.Bounds | None,
    left: rule.Watermark | None,
    free: rule.End | None,
) -> list[str]:
    """What holds the window back, and what it cannot look for; ``free``: its end without transactions."""
    if bounds is None:
        return []
    notes = []
    if instant.holder is not None and free is not None and bounds.high < free.high:
        notes.append(f"the window ends at {cursor.text(bounds.high)}, held back by {instant.holder}")
    if left is not None and left.settled < left.high and not relation.versioned:
        notes.append(
            "the last run read a table and may have left rows for later, from"
            f" {cursor.text(left.settled)} to {cursor.text(left.high)}: a {relation.kind} has no transaction"
            " numbers to find them by; compare source and destination there"
        )
    return notes
