"""An incremental read: fix the window once, and say what it does not cover."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from etl_runner.config.database import DatabaseSource
from etl_runner.config.times import format_duration, parse_start
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import Window
from etl_runner.sources.postgres import window as rule
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.cursors import (
    KEY_TYPES,
    TIME_TYPES,
    Cursor,
    CursorKind,
    CursorValue,
    late_distance,
)
from etl_runner.sources.postgres.estimate import estimate
from etl_runner.sources.postgres.instant import Instant, observe
from etl_runner.sources.postgres.schema import PgColumn, Relation, Server
from etl_runner.sources.quoting import identifier

_OFFSET = re.compile(r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$", re.IGNORECASE)
COUNT_LIMIT = 100_000
"""Rows that are counted exactly through an index; beyond it the note says "more than"."""
_FIXED_ZONES = {"UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Zulu", "Universal"}


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
        if self.bounds is None or self.bounds.low is None or not self.bounds.looks_back:
            return self.bounds.low if self.bounds else None
        value: CursorValue = self.cursor.minus(self.bounds.low, self.bounds.previous_late)
        return value


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
    return Cursor(f"t.{identifier(column.name)}", kind, column.type.name), column


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
    _same_source(before, server, cursor, column, name)
    instant = observe(control, cursor.kind, zone)
    previous_horizon = _whole(before.get("xid_horizon"))
    if relation.versioned:
        rule.check_distance(previous_horizon, instant.end)
    low = _low(control, cursor, before, document, instant, name)
    late: timedelta | Decimal = document.late_keys if cursor.kind == "key" else document.late_duration
    distance = late_distance(cursor.kind, late)
    high = _high(control, relation, cursor, column, low, instant, late)
    bounds = None
    if high is not None:
        bounds = rule.Bounds(
            low=low,
            high=high,
            late=distance,
            previous_late=_previous_late(cursor, before),
            previous_horizon=previous_horizon if relation.versioned else None,
            horizon=instant.horizon if relation.versioned else None,
        )
    late_text = f"{late:f}" if isinstance(late, Decimal) else format_duration(late)
    next_watermark = None
    if high is not None:
        next_watermark = {
            "value": cursor.text(high),
            "column": column.name,
            "type": cursor.kind,
            "xid_horizon": str(instant.horizon),
            "late": late_text,
            "identity": server.identity,
        }
    return Incremental(
        cursor=cursor,
        column=column,
        bounds=bounds,
        window=Window(
            kind="cursor",
            column=column.name,
            low=None if low is None else cursor.text(low),
            high=None if high is None else cursor.text(high),
            late=late_text,
            detail={
                "t0": instant.t0,
                "oldest": instant.oldest,
                "xid_horizon": str(instant.horizon),
                "previous_xid_horizon": None if previous_horizon is None else str(previous_horizon),
                "previous_late": before.get("late"),
                "time_zone": instant.zone,
                "rule": "xmin" if relation.versioned else "plain",
            },
        ),
        next_watermark=next_watermark,
        notes=tuple(_notes(control, relation, server, cursor, column, instant, bounds, late_text)),
    )


def _same_source(
    before: Mapping[str, Any], server: Server, cursor: Cursor, column: PgColumn, name: str
) -> None:
    identity = before.get("identity")
    if identity is not None and identity != server.identity:
        raise PermanentError(
            f"{name}: the last run read database {identity}, and this is {server.identity} (restored, moved,"
            " or another server): its transaction numbers say nothing about the old rows. Check the table"
            " with `etl-runner reconcile`, then `etl-runner reset` the source to go on from a cursor value"
        )
    for key, now in (("column", column.name), ("type", cursor.kind)):
        if before.get(key) not in (None, now):
            raise PermanentError(
                f"{name}: the last run's cursor had the {key} {before[key]}, and this one has {now};"
                " `etl-runner reset` the source to begin with the new cursor"
            )


def _low(
    control: Control,
    cursor: Cursor,
    before: Mapping[str, Any],
    document: DatabaseSource,
    instant: Instant,
    name: str,
) -> CursorValue | None:
    if before.get("value") is not None:
        if before.get("identity") is not None:
            return cursor.parse(str(before["value"]))
        return _read_value(control, cursor, str(before["value"]), instant, "watermark", name)
    if document.last_sync_value is not None:
        return _read_value(control, cursor, document.last_sync_value, instant, "last_sync_value", name)
    if document.historical_start_date is None:
        return None
    if cursor.kind == "key":
        raise ConfigError(
            name,
            (
                Problem(
                    "historical_start_date", "is no start for an incrementing_column; give last_sync_value"
                ),
            ),
        )
    # The starting point itself is loaded: the window is open at its lower end.
    clock = Cursor(column="", kind="timestamptz", type_sql="timestamptz")
    start: Any = parse_start(document.historical_start_date).at(clock.parse(instant.t0))  # type: ignore[arg-type]
    if cursor.kind == "date":
        return cursor.minus(start.date(), cursor.step)  # type: ignore[no-any-return]
    return cursor.minus(start if cursor.kind == "timestamptz" else start.replace(tzinfo=None), cursor.step)  # type: ignore[no-any-return]


def _read_value(
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


def _high(
    control: Control,
    relation: Relation,
    cursor: Cursor,
    column: PgColumn,
    low: Any,
    instant: Instant,
    late: Any,
) -> Any:
    if cursor.kind == "key":
        greatest = control.value(
            f"SELECT max(t.{identifier(column.name)})::text FROM {relation.sql} AS t",
            f"reading the greatest {column.name}",
        )
        if greatest is None:
            return low
        value: Any = cursor.parse(greatest)
        if not relation.versioned and late:
            value = value - late
        return value if low is None else max(low, value)
    clock = Cursor("", "timestamptz" if cursor.kind == "timestamptz" else "timestamp", "")
    t0: Any = clock.parse(instant.t0)
    oldest: Any = None if instant.oldest is None else clock.parse(instant.oldest)
    if cursor.kind == "date":
        return rule.end_for_dates(low, t0, oldest, late, plain=not relation.versioned)
    end = rule.end_of_window if relation.versioned else rule.end_of_plain_window
    return end(cursor, low, t0, oldest, late)


def _previous_late(cursor: Cursor, before: Mapping[str, Any]) -> Any:
    text = before.get("late")
    if text is None:
        return None
    if cursor.kind == "key":
        return Decimal(str(text))
    start = parse_start(f"-{text}")
    return late_distance(cursor.kind, start.before or timedelta(0))


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _notes(
    control: Control,
    relation: Relation,
    server: Server,
    cursor: Cursor,
    column: PgColumn,
    instant: Instant,
    bounds: rule.Bounds | None,
    late: str,
) -> list[str]:
    notes = []
    if not relation.versioned:
        notes.append(
            f"a {relation.kind} has no transaction numbers to go by: rows that are committed more than {late}"
            f" after their {column.name} are lost"
        )
    if cursor.kind == "key":
        notes.append(
            f"rows that are committed with a {column.name} more than {late} below the greatest visible one"
            " are lost; late_window is the number of keys that may still be missing"
        )
        if column.name not in relation.indexed:
            notes.append(
                f"{column.name} has no index: finding its greatest value reads the whole {relation.kind}"
            )
    elif not server.sees_all_sessions:
        notes.append(
            "this user may not see other users' open transactions (grant it pg_read_all_stats): rows that"
            f" such a transaction commits more than {late} after their {column.name} are lost"
        )
    if server.in_recovery and cursor.kind != "key":
        notes.append(
            "the host is a standby: its primary's open transactions cannot be seen; rows that are replayed"
            f" more than {late} after their {column.name} are lost"
        )
    if instant.zone is not None and cursor.kind == "timestamp":
        text = f"{column.name} has no time zone and is taken to be written in {instant.zone}"
        if instant.zone not in _FIXED_ZONES:
            text += "; where its clock is put back, late_window has to cover the repeated hour as well"
        notes.append(text)
    if bounds is None:
        return notes
    if instant.holder is not None and cursor.kind != "key" and _held_back(cursor, bounds, instant):
        notes.append(f"the window ends at {cursor.text(bounds.high)}, held back by {instant.holder}")
    notes += _not_covered(control, relation, cursor, column, instant)
    return notes


def _held_back(cursor: Cursor, bounds: rule.Bounds, instant: Instant) -> bool:
    if cursor.kind == "date":
        return instant.oldest is not None and instant.oldest[:10] < instant.t0[:10]
    t0: Any = cursor.parse(instant.t0)
    high: Any = bounds.high
    slack = cursor.step if bounds.leaves_for_later else cursor.step + bounds.late
    return bool(high < cursor.minus(t0, slack))


def _not_covered(
    control: Control, relation: Relation, cursor: Cursor, column: PgColumn, instant: Instant
) -> list[str]:
    """Rows that no window has: NULL cursors, and cursors in the future for now."""
    notes = []
    name = column.name
    if column.nullable:
        text = _count(control, relation, column, f"{cursor.column} IS NULL")
        if text is None:
            notes.append(
                f"rows whose {name} is NULL are not loaded; how many is not known ({_why(relation)})"
            )
        elif text != "0":
            notes.append(f"{text} rows whose {name} is NULL are not loaded")
    if cursor.kind in ("timestamptz", "timestamp"):
        now = cursor.literal(cursor.parse(instant.t0))
        text = _count(control, relation, column, f"{cursor.column} > {now}")
        if text is not None and text != "0":
            notes.append(f"{text} rows whose {name} lies in the future wait for it")
    return notes


def _why(relation: Relation) -> str:
    return "it is a query" if relation.oid is None else "no index and no statistics"


def _count(control: Control, relation: Relation, column: PgColumn, condition: str) -> str | None:
    """Exactly through an index, up to a limit; else as the statistics have it; None: not known."""
    doing = f"counting rows by {column.name}"
    if column.name in relation.indexed:
        number = control.value(
            f"SELECT count(*) FROM (SELECT FROM {relation.sql} AS t WHERE {condition}"
            f" LIMIT {COUNT_LIMIT + 1}) AS counted",
            doing,
        )
        return f"more than {COUNT_LIMIT:,}" if number > COUNT_LIMIT else f"{number:,}"
    if relation.oid is None:
        return None
    known = control.rows(
        "SELECT null_frac::float8 FROM pg_catalog.pg_stats s JOIN pg_catalog.pg_class c"
        " ON c.relname = s.tablename JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace AND n.nspname = s.schemaname"
        " WHERE c.oid = cast(:oid AS int8)::oid AND s.attname = cast(:name AS text)"
        " ORDER BY s.inherited DESC LIMIT 1",
        doing,
        oid=relation.oid,
        name=column.name,
    )
    if not known:
        return None
    if condition.endswith("IS NULL") and known[0][0] == 0:
        # Statistics are a sample: a few NULLs can have escaped it.
        return "0"
    rows = estimate(control, f"SELECT FROM {relation.sql} AS t WHERE {condition}", doing).rows
    # The planner never says less than one row.
    return "0" if rows <= 1 else f"about {rows:,}"
