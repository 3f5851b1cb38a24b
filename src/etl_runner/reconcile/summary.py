"""Counts and checksums of a table by ranges, to be compared between a source and its destination.

Both sides compute the same from what they hold: the number of rows, the sum of each number, and the sum of
a hash
over the columns whose text is the same on both sides. Sums do not depend on the order of rows, and one
scan a side gives all ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from etl_runner.sources.sums import Dialect, Kind

NULL_TEXT = "~"
SEPARATOR = "|"


@dataclass(frozen=True)
class Compared:
    """A column on both sides: the select item that reads it at the source, its name at the destination."""

    source: str
    destination: str
    kind: Kind


@dataclass(frozen=True)
class Question:
    """What is asked of one side: columns, and the cursor's ranges ``[bounds[i], bounds[i + 1])`` as the
    side's own
    literals; one range without a cursor."""

    columns: tuple[Compared, ...]
    cursor: str | None
    bounds: tuple[str, ...] = ()
    where: str = "TRUE"
    """Which rows are asked about at all."""


@dataclass(frozen=True)
class Summary:
    """One range: rows, the sum of row hashes, and the sum of each decimal column by its destination's
    name."""

    rows: int = 0
    hashes: int = 0
    sums: Mapping[str, Decimal] = field(default_factory=dict)


def summary_query(dialect: Dialect, question: Question, table: str, *, destination: bool) -> str:
    """One row a range that has rows: its number, rows, sum of hashes, and the decimals' sums in order."""
    hashed, summed = [], []
    for column in question.columns:
        value = column.destination if destination else column.source
        if column.kind == "decimal":
            summed.append(dialect.total(value))
        else:
            hashed.append(f"COALESCE({dialect.text(value, column.kind)}, '{NULL_TEXT}')")
    parts: list[str] = []
    for item in hashed:
        parts += [f"'{SEPARATOR}'", item] if parts else [item]
    items = ["COUNT(*)", dialect.total(dialect.hash(parts)) if parts else "'0'", *summed]
    if question.cursor is None:
        return f"SELECT 0, {', '.join(items)} FROM {table}"
    bounds = question.bounds
    cases = " ".join(
        f"WHEN {question.cursor} < {bound} THEN {number}" for number, bound in enumerate(bounds[1:])
    )
    inside = f"{question.cursor} >= {bounds[0]} AND {question.cursor} < {bounds[-1]}"
    also = "" if question.where == "TRUE" else f" AND ({question.where})"
    where = f"WHERE {inside}{also}"
    return f"SELECT CASE {cases} END AS etl_range, {', '.join(items)} FROM {table} {where} GROUP BY 1"


def summaries(question: Question, rows: Sequence[Sequence[object]]) -> dict[int, Summary]:
    """The answer to :func:`summary_query` by range; ranges without rows are absent."""
    decimals = [column.destination for column in question.columns if column.kind == "decimal"]
    result = {}
    for number, count, hashes, *sums in rows:
        totals = {
            name: Decimal(str(total)).normalize()
            for name, total in zip(decimals, sums, strict=True)
            if total is not None
        }
        rows_here = int(str(count))
        if rows_here:
            result[int(str(number))] = Summary(rows_here, int(Decimal(str(hashes or 0))), totals)
    return result
