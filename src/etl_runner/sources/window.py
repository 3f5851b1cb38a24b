"""Windows that a person gives, for any database."""

from __future__ import annotations

from decimal import InvalidOperation
from typing import Any

from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import GIVEN, Window
from etl_runner.sources.base import Between
from etl_runner.sources.cursors import Cursor


def parsed(cursor: Cursor, declared: str, between: Between, name: str) -> tuple[Any, Any]:
    """The two ends of a window as a person wrote them, read by the cursor itself.

    Raises:
        ConfigError: one is no value of the cursor's type, which the source calls ``declared``.
    """
    values = []
    for path, text in (("--from", between.start), ("--to", between.end)):
        try:
            values.append(cursor.parse(text.strip()))
        except (ValueError, InvalidOperation):
            problem = Problem(path, f"is no value of the cursor's type {declared}", found=repr(text))
            raise ConfigError(name, (problem,)) from None
    return values[0], values[1]


def clipped(
    cursor: Cursor, start: Any, end: Any, settled: Any, name: str
) -> tuple[Any, Any, tuple[str, ...]]:
    """``[start, end)`` as ``(low, high]``, its end no later than ``settled``; and what there is to say.

    Args:
        cursor: whose values they are.
        start: the first value.
        end: the first value beyond.
        settled: up to where regular runs will not look again; None: there was none yet.
        name: what errors name.

    Raises:
        ConfigError: the window is empty, or nothing of it has been settled.
    """
    if end <= start:
        raise ConfigError(name, (Problem("--to", "does not lie after --from", found=cursor.text(end)),))
    if settled is None:
        problem = Problem("watermark", "no run has been committed yet, so there is nothing to load again")
        raise ConfigError(name, (problem,))
    low, high = cursor.minus(start, cursor.step), cursor.minus(end, cursor.step)
    if settled <= low:
        behind = f"lies behind {cursor.text(settled)}, up to where the source is settled"
        problem = Problem("--from", f"{behind}: the next regular run loads what lies there")
        raise ConfigError(name, (problem,))
    if high <= settled:
        return low, high, ()
    note = f"the window ends at {cursor.text(settled)}: the regular runs load what lies behind it"
    return low, settled, (note,)


def given(column: str, cursor: Cursor, low: Any, high: Any) -> Window:
    """The plan's window ``(low, high]``."""
    return Window("cursor", column, cursor.text(low), cursor.text(high), detail={"rule": GIVEN})
