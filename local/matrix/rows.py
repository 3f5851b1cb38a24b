"""The rows that travel, and the sums by which both ends are compared.

A row becomes one text, its MD5's first 60 bits a number, and the numbers are added up: the order of rows does
not matter, a doubled row counts twice and one changed value changes the sum.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

NAMES = ("plain", 'quote " and, comma; tab\t', "emoji 😀 ü", "", "two\nlines", None)
_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Row:
    """One row; the fields are the columns, in this order."""

    id: int
    name: str | None
    amount: Decimal
    at: dt.datetime
    flag: bool
    day: dt.date

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The values as both ends are asked to write them."""
        return (
            str(self.id),
            self.name,
            plain_number(f"{self.amount:f}"),
            str((self.at - _EPOCH) // dt.timedelta(microseconds=1)),
            "true" if self.flag else "false",
            self.day.isoformat(),
        )


COLUMNS = tuple(Row.__dataclass_fields__)


@dataclass(frozen=True)
class Sum:
    """Rows and their checksum."""

    rows: int
    checksum: int


def rows(first: int, count: int, version: int = 1, since: dt.datetime = _START) -> list[Row]:
    """Rows with the ids from ``first`` on. ``version`` tells later values of the same ids; ``since`` is
    before every row's time."""
    return [
        Row(
            number,
            NAMES[(number + version) % len(NAMES)],
            Decimal(number * 101 * (-1) ** number + version) / 100,
            since + dt.timedelta(microseconds=number),
            (number + version) % 3 == 0,
            dt.date(1969, 12, 1) + dt.timedelta(days=number),
        )
        for number in range(first, first + count)
    ]


def sum_of(texts: Iterable[Sequence[str | None]]) -> Sum:
    """The sum of rows given as texts."""
    count = total = 0
    for row in texts:
        line = "|".join("\\N" if text is None else text.replace("|", "||") for text in row)
        count += 1
        total += int(hashlib.md5(line.encode(), usedforsecurity=False).hexdigest()[:15], 16)
    return Sum(count, total)


def plain_number(text: str) -> str:
    """A decimal number without zeros that say nothing."""
    return text.rstrip("0").rstrip(".") if "." in text else text
