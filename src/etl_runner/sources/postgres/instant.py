"""The moment of planning: the server's clock, its open transactions, and its transaction counter.

The order of the questions is part of the window rule (:mod:`etl_runner.sources.postgres.window`): clock, open
transactions, snapshot, each a statement of its own in a READ COMMITTED transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from etl_runner.sources.cursors import CursorKind
from etl_runner.sources.postgres.connect import Control


@dataclass(frozen=True)
class OpenTransaction:
    """The session that has been in a transaction for longest."""

    pid: int | None
    """None for a prepared transaction."""
    application: str
    begin: str
    age_seconds: int

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.pid is not None else "a prepared transaction"
        return f"{who} ({self.application or 'no application name'}), open for {self.age_seconds} s"


@dataclass(frozen=True)
class Instant:
    """What the server said, clock values as text in the cursor's own terms."""

    t0: str
    oldest: str | None
    holder: OpenTransaction | None
    horizon: int
    """X: every transaction before it is finished."""
    end: int
    """The first transaction number not yet given out."""
    zone: str | None
    """For a cursor without time zone: the zone that it is taken to be written in."""


_OPEN = (
    "SELECT * FROM ("
    " SELECT pid, coalesce(application_name, '') AS application, xact_start AS began"
    " FROM pg_catalog.pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    # Transactions prepared for two-phase commit belong to no session; when they began is not kept.
    " UNION ALL SELECT NULL, gid, prepared FROM pg_catalog.pg_prepared_xacts"
    " WHERE database = current_database()"
    ") AS open ORDER BY began LIMIT 1"
)


def zone_of(control: Control) -> str:
    """The ``TimeZone`` that this role's sessions begin with; ask outside of our transactions."""
    zone: str = control.value("SELECT current_setting('TimeZone')", "asking for the time zone")
    return zone


def observe(control: Control, kind: CursorKind, zone: str | None) -> Instant:
    """Ask the three questions, in their order.

    Args:
        control: in a READ COMMITTED transaction of ours.
        kind: decides how clock values are written.
        zone: of cursors without one (``timestamp``, ``date``).
    """
    t0 = control.value("SELECT clock_timestamp()::text", "reading the clock")
    rows = control.rows(
        "SELECT pid, application, began::text,"
        " greatest(0, extract(epoch FROM clock_timestamp() - began))::int8"
        f" FROM ({_OPEN}) AS oldest",
        "looking for open transactions",
    )
    horizon, end = control.one(
        "SELECT pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8"
        " FROM pg_current_snapshot() AS s",
        "taking a snapshot",
    )
    holder = OpenTransaction(*rows[0]) if rows else None

    def local(instant: str) -> str:
        if kind in ("timestamptz", "key"):
            return instant
        text: str = control.value(
            "SELECT (cast(:instant AS timestamptz) AT TIME ZONE cast(:zone AS text))::text",
            "reading the clock",
            instant=instant,
            zone=zone or "UTC",
        )
        return text

    return Instant(
        t0=local(t0),
        oldest=local(holder.begin) if holder else None,
        holder=holder,
        horizon=horizon,
        end=end,
        zone=zone if kind in ("timestamp", "date") else None,
    )
