"""Where the ranges of a comparison begin and end: whole hours, days, months or years, or round numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Literal

from etl_runner.sources.cursors import Cursor

Unit = Literal["hour", "day", "month", "year"]
MOST_RANGES = 400
_DIGITS = 200
"""More than any key that BigQuery holds, and its smallest step, have together."""
_LENGTHS: tuple[tuple[Unit, timedelta], ...] = (
    ("hour", timedelta(hours=1)),
    ("day", timedelta(days=1)),
    ("month", timedelta(days=31)),
    ("year", timedelta(days=366)),
)


def bounds_between(cursor: Cursor, first: Any, last: Any, unit: Unit | None = None) -> list[Any]:
    """Ascending bounds whose first is ``first``'s and whose last lies one step beyond ``last``.

    Without a unit the finest one that gives at most 400 ranges, days at the finest.
    """
    end = cursor.plus(last, cursor.step)
    if cursor.kind == "key":
        inner = list(_numbers(Decimal(first), Decimal(end)))
    else:
        fit = (name for name, length in _LENGTHS[1:] if (end - first) / length <= MOST_RANGES)
        chosen: Unit = unit or next(fit, None) or "year"
        if cursor.kind == "date" and chosen == "hour":
            chosen = "day"
        inner = list(_times(first, end, chosen))
    return [first, *(value for value in inner if first < value < end), end]


def _numbers(first: Decimal, end: Decimal) -> Iterator[Decimal]:
    with localcontext(prec=_DIGITS):
        width = Decimal(1)
        while (end - first) / width > MOST_RANGES:
            width *= 10
        value = (first // width) * width
        found = []
        while value < end:
            found.append(value)
            value += width
    return iter(found)


def _times(first: date | datetime, end: date | datetime, unit: Unit) -> Iterator[Any]:
    value: Any = _floor(first, unit)
    while value < end:
        yield value
        value = _next(value, unit)


def _floor(value: Any, unit: Unit) -> Any:
    if isinstance(value, datetime):
        value = value.replace(minute=0, second=0, microsecond=0)
        if unit != "hour":
            value = value.replace(hour=0)
    if unit in ("month", "year"):
        value = value.replace(day=1)
    return value.replace(month=1) if unit == "year" else value


def _next(value: Any, unit: Unit) -> Any:
    if unit == "hour":
        return value + timedelta(hours=1)
    if unit == "day":
        return value + timedelta(days=1)
    if unit == "year" or value.month == 12:
        return value.replace(year=value.year + 1, month=1)
    return value.replace(month=value.month + 1)
