"""Windows that a person gives, for any database."""

from __future__ import annotations

from typing import Any

from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import Window
from etl_runner.sources.cursors import Cursor

_FRACTIONS = ("numeric", "decimal")


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
        ConfigError: the window is empty, or its cursor has no smallest step.
        PermanentError: nothing of it has been settled.
    """
    if cursor.type_sql in _FRACTIONS:
        raise ConfigError(name, (Problem("--from", "a cursor of decimals has no smallest step to end at"),))
    if end <= start:
        raise ConfigError(name, (Problem("--to", "does not lie after --from", found=cursor.text(end)),))
    if settled is None:
        raise PermanentError(f"{name}: no run has been committed yet, so there is nothing to load again")
    low, high = cursor.minus(start, cursor.step), cursor.minus(end, cursor.step)
    if settled <= low:
        raise PermanentError(
            f"{name}: the window begins behind {cursor.text(settled)}, up to where the source is settled: "
            "the next regular run loads what lies behind it"
        )
    if high <= settled:
        return low, high, ()
    note = f"the window ends at {cursor.text(settled)}: the regular runs load what lies behind it"
    return low, settled, (note,)


def given(column: str, cursor: Cursor, low: Any, high: Any) -> Window:
    """The plan's window ``(low, high]``."""
    return Window("cursor", column, cursor.text(low), cursor.text(high), detail={"rule": "given"})
