"""The window that loses nothing: which row versions belong to a run.

Pure functions; :mod:`etl_runner.sources.postgres.instant` asks the server for what they need.

With ``lw`` the late window, ``t0`` the server's clock, ``oldest`` the earliest begin of another open
transaction and ``X`` the oldest transaction that was still running (asked in this order), a run ends at ::

    bound    = min(t0, oldest + lw) - one step
    high'    = max(high, bound)             settled' = max(settled, bound - lw)

where ``high``, ``settled`` and ``X`` are what the last committed run left in the watermark. A row version
with cursor ``c`` written by transaction ``x`` belongs to the run when ::

    settled < c <= high'   and   (c > high or x >= X)   and   (x < X' or c <= settled')

Every row version is then in exactly one run, provided that its cursor does not lie before the begin of its
transaction, or that it is committed within ``lw`` of its cursor. ``lw`` may change from run to run:
``settled`` is what was promised, and never moves back (``docs/adr/0007-settled-bound.md`` says why).

In :class:`Bounds` the last run's values are ``low``, ``floor`` and ``previous_horizon``, and the run's own
are ``high``, ``settled`` and ``horizon``. Days and keys end otherwise (:func:`end_for_dates`,
:func:`end_of_keys`), and belong to a run by the same rule.

``x`` comes from the system column ``xmin``, which has 32 bits: :func:`transaction_of` gives the newest
transaction number before the reading snapshot's end that ends in those bits. That is exact for every
transaction less than 2^32 before it, which :func:`check_distance` sees to for the last run's ``X``. One kind
of row can be misjudged: one that was written more than 2^32 transactions ago with a cursor that lay in the
future then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from etl_runner.errors import PermanentError
from etl_runner.sources.cursors import CLOCK, DAYS, Cursor, CursorValue
from etl_runner.sources.quoting import all_of

XID_BITS = 0xFFFF_FFFF
FIRST_NORMAL_XID = 3
"""0 invalid, 1 bootstrap, 2 frozen: https://www.postgresql.org/docs/current/routine-vacuuming.html"""
_MARGIN = 1 << 28
"""Transactions that may pass between planning and reading."""
SNAPSHOT_END = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8)"
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Watermark:
    """What a committed run leaves to the next one."""

    high: Any
    settled: Any
    """Nothing at or below it is looked at again; equal to ``high``: nothing was left for later."""
    horizon: int | None
    """X; None for a starting point that no run of ours left: nothing behind it is looked for."""


@dataclass(frozen=True)
class End:
    """Where a window could end, whatever the last run left."""

    high: Any
    settled: Any
    """Row versions up to here are taken whatever their transaction; those above it may be left for later."""


@dataclass(frozen=True)
class Bounds:
    """A window of cursor values; ``low`` None on a first run without a starting point."""

    low: CursorValue | None
    high: CursorValue
    settled: CursorValue
    floor: CursorValue | None = None
    """The last run's ``settled``."""
    previous_horizon: int | None = None
    """The last run's X; None: nothing late is looked for behind ``low``."""
    horizon: int | None = None
    """X of this run; None: there is no xmin to go by."""

    @property
    def looks_back(self) -> bool:
        """Whether row versions behind ``low`` can belong to this run."""
        low: Any = self.low
        floor: Any = self.floor
        if low is None or floor is None or self.previous_horizon is None or self.horizon is None:
            return False
        return bool(floor < low)

    @property
    def leaves_for_later(self) -> bool:
        """Whether row versions up to ``high`` can be left to the next run."""
        high: Any = self.high
        return self.horizon is not None and self.settled < high

    @property
    def first(self) -> CursorValue | None:
        """Every row version of the run has a cursor above this; None: no such bound."""
        return self.floor if self.looks_back else self.low


def bounds_of(before: Watermark | None, end: End, horizon: int | None) -> Bounds:
    """The window of a run.

    Args:
        before: what the last committed run left; None: there is no starting point.
        end: where the window could end.
        horizon: X; None where there is no xmin to go by: nothing can be left for later then.
    """
    if before is None:
        return Bounds(None, end.high, end.high if horizon is None else end.settled, horizon=horizon)
    high = max(before.high, end.high)
    if horizon is None:
        return Bounds(before.high, high, high)
    settled = max(before.settled, end.settled)
    return Bounds(before.high, high, settled, before.settled, before.horizon, horizon)


def end_of_window(cursor: Cursor, t0: Any, oldest: Any, late: Any) -> End:
    """The end for times: strictly below the clock and below ``oldest + late``.

    Strictly, because ``now()`` is the begin of a transaction to the microsecond: the row that the oldest
    transaction will commit with it must not be settled.
    """
    limit = t0 if oldest is None else min(t0, cursor.plus(oldest, late))
    bound = cursor.minus(limit, cursor.step)
    return End(bound, cursor.minus(bound, late))


def end_of_plain_window(cursor: Cursor, t0: Any, oldest: Any, late: Any) -> End:
    """The end for times without ``xmin``: ``late`` behind the clock and the oldest transaction, strictly."""
    limit = t0 if oldest is None else min(t0, oldest)
    bound = cursor.minus(cursor.minus(limit, late), cursor.step)
    return End(bound, bound)


def end_for_dates(t0: datetime, oldest: datetime | None, late: timedelta, *, plain: bool) -> End:
    """The end for days, ``t0`` and ``oldest`` in the zone of the days.

    With a late window of a day or more the running day is read as well, else it waits for its end. A day is
    settled only once it lies wholly below the settled instant: a transaction that began during the day and
    is still open can have written rows of it.
    """
    rule = end_of_plain_window if plain else end_of_window
    instant = rule(CLOCK, t0, oldest, late)
    day = instant.high.date()
    high = day if late >= _DAY else DAYS.minus(day, _DAY)
    return End(high, high if plain else DAYS.minus(instant.settled.date(), _DAY))


def end_of_keys(cursor: Cursor, greatest: Decimal, late: Decimal, *, plain: bool) -> End:
    """The end for increasing keys: the greatest visible one; keys ``late`` or more below it are settled."""
    settled = cursor.minus(greatest, late)
    return End(settled if plain else greatest, settled)


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
        previous: X of the last committed run.
        end: the first transaction number not yet given out.

    Raises:
        PermanentError: 2^32 transactions have passed since, or the numbers went backwards.
    """
    if previous is None:
        return
    if end < previous:
        raise PermanentError(
            f"the server's transaction counter ({end}) lies behind that of the last run ({previous}): a"
            " failover has lost transactions, or this is a copy of the server; compare source and"
            " destination, then go on with `etl-runner reset <source> --to VALUE`"
        )
    if end - previous > XID_BITS - _MARGIN:
        raise PermanentError(
            f"{end - previous} transactions have passed since the last run, too many to tell late rows from"
            " old ones by their 32-bit numbers; compare source and destination, then go on with"
            " `etl-runner reset <source> --to VALUE`"
        )


def condition(cursor: Cursor, bounds: Bounds, alias: str = "t") -> str:
    """The rule as SQL: true for row versions that belong to the run."""
    column, low = cursor.column, bounds.low
    x = transaction_sql(alias)
    parts = [f"{column} <= {cursor.literal(bounds.high)}"]
    if bounds.first is not None:
        parts.append(f"{column} > {cursor.literal(bounds.first)}")
    if bounds.looks_back and low is not None:
        parts.append(f"{column} > {cursor.literal(low)} OR {x} >= {bounds.previous_horizon}")
    if bounds.leaves_for_later:
        parts.append(f"{column} <= {cursor.literal(bounds.settled)} OR {x} < {bounds.horizon}")
    return all_of(parts)


def belongs(c: Any, x: int, bounds: Bounds) -> bool:
    """The rule on values, for one row version: what :func:`condition` says in SQL."""
    low: Any = bounds.low
    first: Any = bounds.first
    if c > bounds.high or (first is not None and c <= first):
        return False
    # Without a horizon there is no first below low.
    if low is not None and c <= low and x < (bounds.previous_horizon or 0):
        return False
    if bounds.leaves_for_later and bounds.horizon is not None:
        return bool(c <= bounds.settled) or x < bounds.horizon
    return True
