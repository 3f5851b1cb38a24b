"""What an incremental read does not cover, said before it runs."""

from __future__ import annotations

from etl_runner.sources.cursors import Cursor
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.estimate import estimate
from etl_runner.sources.postgres.instant import Instant
from etl_runner.sources.postgres.schema import PgColumn, Relation, Server

COUNT_LIMIT = 100_000
"""Rows that are counted exactly through an index; beyond it the note says "more than"."""
_FIXED_ZONES = {"UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Zulu", "Universal"}


def notes_of_cursor(
    relation: Relation, server: Server, cursor: Cursor, column: PgColumn, instant: Instant, late: str
) -> list[str]:
    """What the kind of cursor, relation or server leaves uncovered; ``late`` as the document spells it."""
    notes = []
    if not relation.versioned:
        distance = "keys below the greatest one" if cursor.kind == "key" else f"after their {column.name}"
        notes.append(
            f"a {relation.kind} has no transaction numbers to go by: rows that are committed more than {late}"
            f" {distance} are lost"
        )
    if cursor.kind == "key":
        notes.append(
            f"rows that are committed once {column.name} has gone on by {late} or more are lost (a long"
            " transaction beside busy ones, a sequence with a large CACHE, keys chosen by hand);"
            " late_window is the number of keys to "
            + ("look back over" if relation.versioned else "stay behind the greatest one")
        )
        if relation.versioned:
            notes.append(
                f"an update of a row whose {column.name} is within {late} of the greatest one arrives as a"
                " new version of it; later updates do not arrive"
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
    return notes


def notes_of_rows(
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
