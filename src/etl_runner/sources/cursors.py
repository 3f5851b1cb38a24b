"""Cursors: the values of the column that tells new rows from old ones, as exact Python values.

A cursor's values are ordered, and have a smallest step: a microsecond, a day, or one key. All arithmetic of
the window rule is done on them here, so that no value is rounded on its way.

- ``timestamptz``: an instant, written in UTC.
- ``timestamp``: a time without a zone. It is taken to be written in the server's ``TimeZone`` for this role
  and database; where that zone puts its clock back, values repeat for an hour, so that ``late_window`` should
  be an hour longer than otherwise.
- ``date``: a day. With a late window under a day the running day is not read yet; with a longer one it is.
- whole and decimal numbers: keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any, Literal, TypeAlias

from etl_runner.sources.quoting import typed_literal

CursorKind = Literal["timestamptz", "timestamp", "date", "key"]
CursorValue: TypeAlias = "datetime | date | Decimal"
"""timestamptz: an aware datetime in UTC; timestamp: a naive one; date: a date; key: a Decimal."""

TIME_TYPES: dict[str, CursorKind] = {"timestamptz": "timestamptz", "timestamp": "timestamp", "date": "date"}
KEY_TYPES = ("int2", "int4", "int8", "numeric", "oid")
LOADED_DIGITS = 38
"""BigQuery holds no decimal with more digits after its point: BIGNUMERIC's."""
_EXACT = Context(prec=150_000, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""No numeric has more digits: 131,072 before the point and 16,383 after it, as the server documents it."""
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Cursor:
    """A cursor column."""

    column: str
    """As SQL text: ``t."updated_at"``."""
    kind: CursorKind
    type_sql: str
    """The type that bounds are written as: ``timestamptz``, ``int8``."""
    digits: int = 0
    """Of a key, how many digits stand after the point."""

    @property
    def step(self) -> Any:
        """The smallest difference between two values."""
        if self.kind == "key":
            return Decimal(1).scaleb(-self.digits)
        return _DAY if self.kind == "date" else _MICROSECOND

    def text(self, value: CursorValue) -> str:
        """The value in full precision, as the server reads it."""
        if isinstance(value, Decimal):
            return f"{value:f}"
        if isinstance(value, datetime):
            spelled = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
            return f"{spelled}+00" if self.kind == "timestamptz" else spelled
        return value.isoformat()

    def parse(self, text: str) -> CursorValue:
        """The value behind :meth:`text`.

        Raises:
            ValueError: the text is none of this cursor's.
        """
        if self.kind == "key":
            number = Decimal(text)
            if not number.is_finite():
                raise ValueError("not a finite number")
            return number
        if self.kind == "date":
            return date.fromisoformat(text)
        value = datetime.fromisoformat(text)
        if self.kind == "timestamptz":
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value.replace(tzinfo=None)

    def literal(self, value: CursorValue) -> str:
        """The value as SQL text."""
        return typed_literal(self.text(value), self.type_sql)

    def minus(self, value: Any, distance: Any) -> Any:
        """``value - distance``; the first value there is where that would lie before it."""
        if self.kind == "key":
            return _EXACT.subtract(value, distance)
        return _saturating(lambda: value - distance, self._first())

    def plus(self, value: Any, distance: Any) -> Any:
        """``value + distance``; the last value there is where that would lie beyond it."""
        if self.kind == "key":
            return _EXACT.add(value, distance)
        return _saturating(lambda: value + distance, self._last())

    def _first(self) -> CursorValue:
        if self.kind == "date":
            return date.min
        return datetime.min.replace(tzinfo=UTC if self.kind == "timestamptz" else None)

    def _last(self) -> CursorValue:
        if self.kind == "date":
            return date.max
        return datetime.max.replace(tzinfo=UTC if self.kind == "timestamptz" else None)


CLOCK = Cursor(column="", kind="timestamp", type_sql="timestamp")
"""Times in the zone of a cursor that has none."""
DAYS = Cursor(column="", kind="date", type_sql="date")


def _saturating(compute: Callable[[], Any], limit: CursorValue) -> Any:
    try:
        return compute()
    except OverflowError:
        return limit


def late_distance(kind: CursorKind, late: timedelta | Decimal) -> Any:
    """The late window in the cursor's own units: for a date cursor whole days, rounded up."""
    if kind == "date" and isinstance(late, timedelta):
        return timedelta(days=-(-late // _DAY))
    return late
