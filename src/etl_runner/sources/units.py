"""What cutting a read into work units comes to, whatever the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etl_runner.planning.plan import WorkUnit

MAX_SCANS = 8
"""Without an index each unit reads the whole table, so there are few of them."""


@dataclass(frozen=True)
class Cut:
    """The units, in no order yet, and how they were cut."""

    units: tuple[WorkUnit, ...]
    how: str


def in_order(units: Sequence[WorkUnit]) -> tuple[WorkUnit, ...]:
    """The largest first, ids in that order."""
    ordered = sorted(units, key=lambda unit: -(unit.rows or 0))
    return tuple(replace(unit, id=f"u{index:05d}") for index, unit in enumerate(ordered))


def limit_of(unit: WorkUnit) -> str:
    """`` LIMIT n`` for a unit of which only the first rows are wanted (a preview), else nothing."""
    limit = unit.spec.get("limit")
    return "" if limit is None else f" LIMIT {int(limit)}"
