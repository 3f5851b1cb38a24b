"""Where to cut a table into ranges of about equal rows. Pure functions.

What is known of the distribution is a list of :class:`Edge`: values in ascending order, with the rows that
have exactly that value and those between it and the next one. Ranges are half-open, ``[low, high)``; the
first has no lower bound and the last no upper one, so that they tile everything whatever the statistics say:
stale statistics make ranges uneven and lose nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

MICROSECONDS_PER_HOUR = 3_600_000_000
MICROSECONDS_PER_DAY = 24 * MICROSECONDS_PER_HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Edge:
    """A value, as text; estimated rows at it, and between it and the next edge."""

    value: str
    at: float = 0.0
    after: float = 0.0


@dataclass(frozen=True)
class Range:
    """``low <= key < high``; None is unbounded. ``rows`` is an estimate."""

    low: str | None
    high: str | None
    rows: int


@dataclass(frozen=True)
class Scale:
    """How the values of a type lie on a line of whole numbers, so that a point between two can be named."""

    position: Callable[[str], int | None]
    """None for a value that has no place there (infinity)."""
    value: Callable[[int], str]
    align: Callable[[int, int], int] = lambda position, _span: position
    """Round a position down to something that people like, for ranges of about ``span``."""


def _instant_position(text: str) -> int | None:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - _EPOCH) // _MICROSECOND


def _align_instant(position: int, span: int) -> int:
    # Not coarser than half a range, else neighbours would differ by too much.
    for unit in (MICROSECONDS_PER_DAY, MICROSECONDS_PER_HOUR):
        if span >= 2 * unit:
            return position // unit * unit
    return position


def _instant_value(suffix: str) -> Callable[[int], str]:
    def value(position: int) -> str:
        moment = (_EPOCH + position * _MICROSECOND).replace(tzinfo=None)
        return moment.isoformat(sep=" ", timespec="microseconds") + suffix

    return value


def _day_position(text: str) -> int | None:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        return None


def _number_position(text: str) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return math.floor(number) if number.is_finite() else None


def _uuid_position(text: str) -> int | None:
    return UUID(text).int


SCALES: dict[str, Scale] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "numeric"), Scale(_number_position, str)),
    "timestamptz": Scale(_instant_position, _instant_value("+00"), _align_instant),
    "timestamp": Scale(_instant_position, _instant_value(""), _align_instant),
    "date": Scale(_day_position, lambda position: date.fromordinal(position).isoformat()),
    # uuid compares byte by byte, which is the order of the 128-bit number.
    "uuid": Scale(_uuid_position, lambda position: str(UUID(int=position))),
}
"""Types whose values can be interpolated; others are cut at known values only."""


def divide(
    edges: Sequence[Edge], rows: float, unit_rows: int, max_units: int, scale: Scale | None = None
) -> list[Range]:
    """Cut into ranges of about ``unit_rows`` rows, at most ``max_units`` of them.

    Args:
        edges: ascending and distinct in the order of the key's type; their rows count relative to each other.
        rows: estimated rows in all.
        unit_rows: wanted rows of a range.
        max_units: the most ranges.
        scale: how to find points between two edges; None: cut at edges only.
    """
    wanted = min(max_units, math.ceil(rows / unit_rows)) if unit_rows > 0 else max_units
    weight = sum(edge.at + edge.after for edge in edges)
    if wanted <= 1 or len(edges) < 2 or weight <= 0:
        return [Range(None, None, round(rows))]
    line = _Line(edges, rows / weight, scale)
    cuts: list[tuple[str, float]] = []
    for number in range(1, wanted):
        cut = line.cut_at(rows * number / wanted, rows / wanted)
        if cut is not None and cut[1] > (cuts[-1][1] if cuts else 0.0):
            cuts.append(cut)
    lows = [None, *(value for value, _ in cuts)]
    highs = [*(value for value, _ in cuts), None]
    counts = [0.0, *(before for _, before in cuts), rows]
    return [
        Range(low, high, max(0, round(counts[index + 1] - counts[index])))
        for index, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]


class _Line:
    """Rows before each point."""

    def __init__(self, edges: Sequence[Edge], factor: float, scale: Scale | None) -> None:
        self._scale = scale
        self._values = [edge.value for edge in edges]
        self._positions = [scale.position(value) if scale else None for value in self._values]
        self._before: list[float] = []
        """Rows before each edge, the rows at it not counted."""
        self._inside: list[float] = []
        """Rows before the stretch after each edge."""
        total = 0.0
        for edge in edges:
            self._before.append(total)
            self._inside.append(total + edge.at * factor)
            total += (edge.at + edge.after) * factor

    def cut_at(self, wanted: float, target: float) -> tuple[str, float] | None:
        """A value with about ``wanted`` rows before it, and how many these are; None: there is none."""
        index = bisect_right(self._before, wanted) - 1
        if index + 1 >= len(self._values):
            # Beyond the last known value: nothing is known of what lies there.
            return self._values[index], self._before[index]
        between = self._between(index, wanted, target)
        if between is not None:
            return between
        if wanted - self._before[index] > self._before[index + 1] - wanted:
            index += 1
        return self._values[index], self._before[index]

    def _between(self, index: int, wanted: float, target: float) -> tuple[str, float] | None:
        first, last = self._positions[index], self._positions[index + 1]
        inside, end = self._inside[index], self._before[index + 1]
        if self._scale is None or first is None or last is None or wanted <= inside or end <= inside:
            return None
        length = last - first
        # Whole-number arithmetic: positions of uuids have 128 bits.
        offset = length * round((wanted - inside) / (end - inside) * 1_000_000) // 1_000_000
        span = int(length * min(1.0, target / (end - inside)))
        point = self._scale.align(first + offset, span)
        if not first < point < last:
            return None
        share = (point - first) / length
        return self._scale.value(point), inside + (end - inside) * share
