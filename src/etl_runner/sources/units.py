"""What cutting a read into work units comes to, whatever the database."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from etl_runner.planning.plan import WorkUnit

MAX_SCANS = 8
"""Without an index each unit reads the whole table, so there are few of them. The same holds for parts of a
table that are spread by hash."""
HOT = 2
"""A range of more than this many times the wanted rows is hot."""


@dataclass(frozen=True)
class Cut:
    """The units, in no order yet, and how they were cut."""

    units: tuple[WorkUnit, ...]
    how: str


def in_order(units: Sequence[WorkUnit]) -> tuple[WorkUnit, ...]:
    """The largest first, ids in that order."""
    ordered = sorted(units, key=lambda unit: -(unit.rows or 0))
    return tuple(replace(unit, id=f"u{index:05d}") for index, unit in enumerate(ordered))


def split_hot(cut: Cut, unit_rows: int, most_units: int, bucket: Callable[[int, int], str]) -> Cut:
    """Split the ranges that no cut point divides: many rows of one value.

    Each bucket reads the rows of its range and keeps its share of them, so a range gets eight at most: the
    largest unit is at most twice ``unit_rows``, or an eighth of the rows that have one value.

    Args:
        cut: units whose ``spec`` has a condition ``where``.
        unit_rows: wanted rows of a unit.
        most_units: the most units in all; the hottest ranges are split first.
        bucket: SQL condition for ``bucket(index, count)``. Of the conditions for one count, exactly one is
            true for every row, and the same one however often the row is read.
    """
    room = most_units - len(cut.units)
    found: list[WorkUnit] = []
    split = 0
    for unit in sorted(cut.units, key=lambda unit: -(unit.rows or 0)):
        rows = unit.rows or 0
        count = min(MAX_SCANS, math.ceil(rows / unit_rows), room + 1) if rows > HOT * unit_rows else 1
        if count <= 1:
            found.append(unit)
            continue
        room -= count - 1
        split += 1
        found += [
            replace(
                unit,
                spec={**unit.spec, "where": f"({unit.spec['where']}) AND {bucket(index, count)}"},
                label=f"{unit.label}, hash bucket {index + 1} of {count}",
                rows=rows // count,
                bytes=None if unit.bytes is None else unit.bytes // count,
            )
            for index in range(count)
        ]
    if not split:
        return cut
    many = "1 hot range" if split == 1 else f"{split} hot ranges"
    return Cut(tuple(found), f"{cut.how}; {many} split by a hash of the key")


def limit_of(unit: WorkUnit) -> str:
    """`` LIMIT n`` for a unit of which only the first rows are wanted (a preview), else nothing."""
    limit = unit.spec.get("limit")
    return "" if limit is None else f" LIMIT {int(limit)}"
