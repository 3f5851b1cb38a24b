"""The window that loses nothing: which row versions belong to a run.

Pure functions; :mod:`etl_runner.sources.postgres.instant` asks the server for what they need.

With ``lw`` the late window, ``t0`` the server's clock, ``oldest`` the earliest begin of another open
transaction and ``X`` the oldest transaction that was still running (asked in this order), the window's end
is ``high = max(low, min(t0, oldest + lw))``, strictly below both when ``lw`` is 0. A row version with cursor
``c`` written by transaction ``x`` belongs to the run when ::

    low - lw' < c <= high   and   (c > low or x >= X')   and   (x < X or c <= high - lw)

where ``X'`` and ``lw'`` are the ``X`` and ``lw`` of the last committed run (they say which row versions it
left for later, also when the document's late window has changed since). Every row version is then in exactly
one run, provided that it is committed within ``lw`` of its cursor.

``x`` comes from the system column ``xmin``, which has 32 bits: :func:`transaction_of` gives the newest
transaction number before the reading snapshot's end that ends in those bits. That is exact for every
transaction less than 2^32 before it, which :func:`check_distance` sees to for ``X'``. One kind of row can be
misjudged: one that was written more than 2^32 transactions ago with a cursor that lay in the future then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from etl_runner.errors import PermanentError
from etl_runner.sources.postgres.cursors import Cursor, CursorValue
from etl_runner.sources.quoting import all_of

XID_BITS = 0xFFFF_FFFF
FIRST_NORMAL_XID = 3
"""0 invalid, 1 bootstrap, 2 frozen: https://www.postgresql.org/docs/current/routine-vacuuming.html"""
_MARGIN = 1 << 28
"""Transactions that may pass between planning and reading."""
SNAPSHOT_END = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8)"


@dataclass(frozen=True)
class Bounds:
    """A window of cursor values; ``low`` None on a first run without a starting point."""

    low: CursorValue | None
    high: CursorValue
    late: Any
    """lw: late window of this run, in the cursor's units."""
    previous_late: Any = None
    """lw' of the last committed run, in the cursor's units."""
    previous_horizon: int | None = None
    """X' of the last committed run; None: nothing late is looked for behind ``low``."""
    horizon: int | None = None
    """X of this run; None: there is no xmin to go by."""

    @property
    def looks_back(self) -> bool:
        """Whether row versions behind ``low`` can belong to this run."""
        return (
            self.low is not None
            and bool(self.previous_late)
            and self.previous_horizon is not None
            and self.horizon is not None
        )

    @property
    def leaves_for_later(self) -> bool:
        """Whether row versions before ``high`` can be left to the next run."""
        return bool(self.late) and self.horizon is not None


def end_of_window(
    cursor: Cursor, low: CursorValue | None, t0: CursorValue, oldest: CursorValue | None, late: Any
) -> Any:
    """``high = max(low, min(t0, oldest + lw))``, strictly below both when ``lw`` is 0."""
    limits: list[Any] = [t0]
    if oldest is not None:
        limits.append(cursor.plus(oldest, late))
    high: Any = min(limits)
    if not late:
        high = cursor.minus(high, cursor.step)
    return high if low is None else max(low, high)


def end_of_plain_window(
    cursor: Cursor, low: CursorValue | None, t0: CursorValue, oldest: CursorValue | None, late: Any
) -> Any:
    """Without ``xmin``: the window stays ``lw`` behind both (strictly below them)."""
    limits: list[Any] = [t0] if oldest is None else [t0, oldest]
    first: Any = min(limits)
    high: Any = cursor.minus(cursor.minus(first, late), cursor.step)
    return high if low is None else max(low, high)


def end_for_dates(
    low: date | None, t0: datetime, oldest: datetime | None, late: timedelta, *, plain: bool
) -> date:
    """The same for a date cursor: the last day that lies wholly within the window's end.

    With a late window of a day or more a day counts as written at its beginning, else at its end.
    """
    clock = Cursor(column="", kind="timestamp", type_sql="timestamp")
    rule = end_of_plain_window if plain else end_of_window
    day: date = rule(clock, None, t0, oldest, late).date()
    if late < timedelta(days=1):
        day = max(day, date.min + timedelta(days=1)) - timedelta(days=1)
    return day if low is None or day > low else low


def transaction_of(xmin: int, end: int) -> int:
    """The 64-bit number of the transaction behind a 32-bit ``xmin``, seen by a snapshot that ends at ``end``.

    The newest number below ``end`` with these last 32 bits; 0 for the numbers that stand for "long ago".
    :func:`transaction_sql` is the same computation on the server.
    """
    if xmin < FIRST_NORMAL_XID:
        return 0
    return end - 1 - ((end - 1 - xmin) & XID_BITS)


def transaction_sql(alias: str) -> str:
    """:func:`transaction_of` for a row of ``alias``, as SQL."""
    xmin = f"{alias}.xmin::text::int8"
    end = f"({SNAPSHOT_END} - 1)"
    return f"CASE WHEN {xmin} < {FIRST_NORMAL_XID} THEN 0 ELSE {end} - (({end} - {xmin}) & {XID_BITS}) END"


def check_distance(previous: int | None, end: int) -> None:
    """Refuse a window whose transactions 32 bits can no longer tell apart.

    Args:
        previous: X' of the last committed run.
        end: the first transaction number not yet given out.

    Raises:
        PermanentError: 2^32 transactions have passed since, or the numbers went backwards.
    """
    if previous is None:
        return
    if end < previous:
        raise PermanentError(
            f"the server's transaction counter ({end}) lies behind that of the last run ({previous}): a"
            " failover has lost transactions, or this is a copy of the server; check the table with"
            " `etl-runner reconcile`, then `etl-runner reset` the source"
        )
    if end - previous > XID_BITS - _MARGIN:
        raise PermanentError(
            f"{end - previous} transactions have passed since the last run, too many to tell late rows from"
            " old ones by their 32-bit numbers; check the table with `etl-runner reconcile`, then"
            " `etl-runner reset` the source"
        )


def condition(cursor: Cursor, bounds: Bounds, alias: str = "t") -> str:
    """The rule as SQL: true for row versions that belong to the run."""
    column, low, high = cursor.column, bounds.low, bounds.high
    x = transaction_sql(alias)
    parts = [f"{column} <= {cursor.literal(high)}"]
    if low is not None and bounds.looks_back:
        parts.append(f"{column} > {cursor.literal(cursor.minus(low, bounds.previous_late))}")
        parts.append(f"{column} > {cursor.literal(low)} OR {x} >= {bounds.previous_horizon}")
    elif low is not None:
        parts.append(f"{column} > {cursor.literal(low)}")
    if bounds.leaves_for_later:
        settled = cursor.literal(cursor.minus(high, bounds.late))
        parts.append(f"{column} <= {settled} OR {x} < {bounds.horizon}")
    return all_of(parts)


def belongs(c: Any, x: int, cursor: Cursor, bounds: Bounds) -> bool:
    """The rule on values, for one row version: what :func:`condition` says in SQL."""
    low: Any = bounds.low
    high: Any = bounds.high
    if c > high:
        return False
    if low is not None and c <= low:
        if not bounds.looks_back or c <= cursor.minus(low, bounds.previous_late):
            return False
        if bounds.previous_horizon is None or x < bounds.previous_horizon:
            return False
    if bounds.leaves_for_later and bounds.horizon is not None:
        return bool(c <= cursor.minus(high, bounds.late)) or x < bounds.horizon
    return True
