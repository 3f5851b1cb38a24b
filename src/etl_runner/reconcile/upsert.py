"""The comparison of an upsert: the source's settled rows against the destination's, by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from etl_runner.commit.ranges import constant
from etl_runner.commit.staging import quote
from etl_runner.config.database import DatabaseSource
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import PlanHeader
from etl_runner.reconcile import keys
from etl_runner.reconcile.compare import (
    Ask,
    Comparable,
    Comparison,
    RangeResult,
    Verdict,
    columns_of,
    cursor_field,
    from_number,
    names_of,
)
from etl_runner.reconcile.summary import Compared, Question, Summary, summaries
from etl_runner.sources.cursors import Cursor
from etl_runner.sources.sums import BigQueryDialect, Kind

_KINDS: dict[str, Kind] = {"timestamptz": "instant", "timestamp": "clock", "date": "date", "key": "decimal"}


@dataclass(frozen=True)
class UpsertComparison(Comparison):
    """Ranges of the key, and the keys that differ: how many of each verdict, and the first of them."""

    counts: Mapping[str, int] | None = None
    keys: tuple[keys.KeyDifference, ...] = ()
    windows: tuple[tuple[str, str], ...] = ()
    """Of the cursor: what a backfill merges again to repair what is missing or different."""


def compare_upsert(
    source: Comparable,
    document: DatabaseSource,
    header: PlanHeader,
    watermark: Mapping[str, Any] | None,
    ask_destination: Ask,
) -> UpsertComparison:
    """Compare; see :func:`etl_runner.reconcile.compare.compare` for the arguments.

    Raises:
        ConfigError: the destination does not exist, no run was committed, there is no cursor, or the key
            cannot be compared.
        RetryableError, PermanentError: a side cannot be reached, or refuses.
    """
    path = header.destination.path
    cursor = source.cursor()
    settled = (watermark or {}).get("settled") or (watermark or {}).get("value")
    problem = None
    if not header.destination.exists:
        problem = Problem("dest_table_name", f"{path} does not exist: nothing was loaded yet")
    elif cursor is not None and settled is None:
        problem = Problem("watermark", "no run was committed yet")
    if cursor is None or problem is not None:
        without = Problem("timestamp_column", "an upsert without a cursor cannot be compared")
        raise ConfigError("reconcile", (problem or without,))
    field = cursor_field(document, header)
    last = cursor.parse(str(settled))
    columns, left_out = columns_of(source, header)
    key = keys.check_keys(header.merge_keys, columns, path)
    by = Compared(cursor.column, quote(field.name), _KINDS[cursor.kind])
    table = quote(path)
    ours = keys.Side(source.dialect, source.ask, destination=False)
    theirs = keys.Side(BigQueryDialect(), lambda sql: ask_destination(sql(table)), destination=True)
    bounds = keys.places(key, (ours, theirs))
    texts = tuple(f"{bound:f}" for bound in bounds)
    up_to = cursor.text(last)
    if not bounds:
        return UpsertComparison((), names_of(columns), left_out, up_to, counts={})
    limits = (
        f"{cursor.column} <= {cursor.literal(last)}",
        f"{by.destination} IS NULL OR {by.destination} <= {constant(up_to, field)}",
    )
    found: list[dict[int, Summary]] = []
    for side, where in zip((ours, theirs), limits, strict=True):
        question = Question(columns, side.place(key), texts, where)
        found.append(summaries(question, keys.asked(side, question)))
    mine, other = found
    wrong_keys: dict[int, list[keys.KeyDifference]] = {}
    number_of_last = _to_number(cursor, last)
    for place in keys.differing(mine, other):
        ends = bounds[place], bounds[place + 1]
        sides = [keys.rows_of(side, key, columns, by, *ends) for side in (ours, theirs)]
        wrong_keys[place] = keys.judge(sides[0], sides[1], number_of_last)
    results = []
    for place in sorted({*mine, *other}):
        verdict = _verdict(wrong_keys.get(place, []))
        counts = mine.get(place, Summary()).rows, other.get(place, Summary()).rows
        results.append(RangeResult(texts[place], texts[place + 1], *counts, verdict))
    every = [item for place in sorted(wrong_keys) for item in wrong_keys[place]]
    repaired = [item.at for item in every if item.verdict in ("missing", "different") and item.at is not None]
    windows = tuple(
        (
            cursor.text(from_number(cursor, low)),
            cursor.text(cursor.plus(from_number(cursor, high), cursor.step)),
        )
        for low, high in keys.windows(repaired)
    )
    verdicts = [item.verdict for item in every]
    return UpsertComparison(
        tuple(results),
        names_of(columns),
        left_out,
        up_to,
        counts={name: verdicts.count(name) for name in sorted(set(verdicts))},
        keys=tuple(every[: keys.MOST_LISTED]),
        windows=windows,
    )


def _verdict(found: list[keys.KeyDifference]) -> Verdict:
    verdicts = {item.verdict for item in found}
    if "missing" in verdicts:
        return "missing"
    if "different" in verdicts:
        return "different"
    return "extra" if verdicts else "equal"


def _to_number(cursor: Cursor, value: Any) -> Decimal:
    """Microseconds or days since 1970, or the key itself."""
    if isinstance(value, datetime):
        since = value - datetime(1970, 1, 1, tzinfo=UTC if cursor.kind == "timestamptz" else None)
        return Decimal((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
    if isinstance(value, date):
        return Decimal((value - date(1970, 1, 1)).days)
    return Decimal(value)
