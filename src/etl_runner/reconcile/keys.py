"""The comparison of an upsert with its destination, by its key.

Rows of an upsert move: a new version has a newer cursor, and takes the old one's place. So a range of the
cursor says nothing, and ranges of the key are compared: of its first column where that is a number, else of a
hash of the key. One scan a side gives counts and checksums; a range that differs is then read key by key.

What the source has behind where it is settled is on its way: a row whose newest version lies there is not
judged, whatever the destination has of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from etl_runner.errors import ConfigError, Problem
from etl_runner.reconcile.ranges import MOST_RANGES, bounds_between
from etl_runner.reconcile.summary import Compared, Question, Summary, summary_query
from etl_runner.sources.cursors import Cursor
from etl_runner.sources.sums import Dialect

Key = tuple[str | None, ...]
MOST_LISTED = 1_000
MOST_WINDOWS = 20
_HASHES = 2**32
_ROWS_A_RANGE = 1_000


@dataclass(frozen=True)
class Side:
    """One of the two sides: its dialect, its table, and how it is asked."""

    dialect: Dialect
    ask: Callable[[Callable[[str], str]], list[list[Any]]]
    destination: bool

    def name(self, column: Compared) -> str:
        """The column on this side, as SQL text."""
        return column.destination if self.destination else column.source

    def text(self, column: Compared) -> str:
        """Its value as text."""
        return self.dialect.text(self.name(column), column.kind)

    def place(self, keys: Sequence[Compared]) -> str:
        """Where a row lies among the ranges: a number that is the same on both sides."""
        if keys[0].kind in ("integer", "decimal"):
            return self.name(keys[0])
        parts: list[str] = []
        for column in keys:
            if column.kind != "decimal":
                parts += [*(["'|'"] if parts else []), f"COALESCE({self.text(column)}, '~')"]
        return self.dialect.hash(parts)


@dataclass(frozen=True)
class KeyDifference:
    """A key that differs, its columns as text. ``verdict``: ``missing`` or ``different`` at the destination,
    ``doubled`` there, or ``gone`` from the source. ``at``: its cursor at the source, as a number."""

    verdict: str
    key: Key
    at: Decimal | None = None


def check_keys(names: Sequence[str], compared: Sequence[Compared], path: str) -> tuple[Compared, ...]:
    """The key's columns, which both sides have to write alike.

    Raises:
        ConfigError: one of them they do not.
    """
    found = {column.destination.strip("`"): column for column in compared}
    lacking = [name for name in names if name not in found]
    if lacking:
        message = f"{path} cannot be compared by {lacking[0]}, whose type is not the same on both sides"
        raise ConfigError("reconcile", (Problem("primary_key_column", message),))
    return tuple(found[name] for name in names)


def places(keys: Sequence[Compared], sides: Sequence[Side]) -> list[Decimal]:
    """Where the ranges begin and end, ascending; none where there are no rows."""
    if keys[0].kind in ("integer", "decimal"):
        ends: list[Decimal] = []
        for side in sides:
            name = side.name(keys[0])
            low, high = (side.dialect.text(f"{end}({name})", keys[0].kind) for end in ("MIN", "MAX"))
            ask = f"SELECT {low}, {high} FROM "
            ends += [Decimal(str(value)) for value in side.ask(ask.__add__)[0] if value is not None]
        if not ends:
            return []
        first, last = min(ends).to_integral_value("ROUND_FLOOR"), max(ends).to_integral_value("ROUND_CEILING")
        return list(bounds_between(Cursor("", "key", "", 0), first, last))
    rows = max(int(str(side.ask("SELECT COUNT(*) FROM ".__add__)[0][0])) for side in sides)
    number = min(MOST_RANGES, rows // _ROWS_A_RANGE + 1) if rows else 0
    return [Decimal(_HASHES * place // number) for place in range(number + 1)] if number else []


def asked(side: Side, question: Question) -> list[list[Any]]:
    """The answer to a question."""
    return side.ask(lambda table: summary_query(side.dialect, question, table, destination=side.destination))


def differing(ours: dict[int, Summary], theirs: dict[int, Summary]) -> list[int]:
    """The ranges whose counts or sums differ."""
    none = Summary()
    return [
        number for number in sorted({*ours, *theirs}) if ours.get(number, none) != theirs.get(number, none)
    ]


def rows_of(
    side: Side,
    keys: Sequence[Compared],
    columns: Sequence[Compared],
    cursor: Compared,
    low: Decimal,
    high: Decimal,
) -> dict[Key, list[tuple[Decimal | None, tuple[object, ...]]]]:
    """Each key of a range with its rows: the source's cursor as a number, and what tells two rows apart."""
    hashed: list[str] = []
    for column in columns:
        if column.kind != "decimal":
            hashed += [*(["'|'"] if hashed else []), f"COALESCE({side.text(column)}, '~')"]
    sums = [side.text(column) for column in columns if column.kind == "decimal"]
    at_source = "NULL" if side.destination else side.text(cursor)
    items = [*(side.text(key) for key in keys), at_source, side.dialect.hash(hashed or ["''"]), *sums]
    place = side.place(keys)
    rows = side.ask(
        lambda table: (
            f"SELECT {', '.join(items)} FROM {table} WHERE {place} >= {low:f} AND {place} < {high:f}"
        )
    )
    found: dict[Key, list[tuple[Decimal | None, tuple[object, ...]]]] = defaultdict(list)
    for row in rows:
        key = tuple(_plain(value, column) for value, column in zip(row, keys, strict=False))
        at, number, *decimals = row[len(keys) :]
        told = (int(str(number)), *(None if value is None else Decimal(str(value)) for value in decimals))
        found[key].append((None if at is None else Decimal(str(at)), told))
    return found


def judge(
    ours: dict[Key, list[tuple[Decimal | None, tuple[object, ...]]]],
    theirs: dict[Key, list[tuple[Decimal | None, tuple[object, ...]]]],
    settled: Decimal,
) -> list[KeyDifference]:
    """What differs, key by key. Of several rows with one key at the source, one of the newest counts."""
    found = []
    for key, rows in ours.items():
        cursors = [at for at, _ in rows if at is not None]
        if not cursors or max(cursors) > settled:
            continue  # never loaded, or on its way
        newest = max(cursors)
        wanted = [told for at, told in rows if at == newest]
        there = theirs.get(key, [])
        if not there:
            found.append(KeyDifference("missing", key, newest))
        elif len(there) > 1:
            found.append(KeyDifference("doubled", key, newest))
        elif there[0][1] not in wanted:
            found.append(KeyDifference("different", key, newest))
    found += [KeyDifference("gone", key) for key in theirs if key not in ours]
    return sorted(found, key=lambda item: tuple((value is not None, value or "") for value in item.key))


def windows(cursors: Iterable[Decimal]) -> list[tuple[Decimal, Decimal]]:
    """At most :data:`MOST_WINDOWS` windows ``[first, last]`` that hold all of the cursors, cut at the widest
    gaps. What lies between is merged once more, which changes nothing."""
    values = sorted(set(cursors))
    if not values:
        return []
    gaps = sorted(range(1, len(values)), key=lambda at: values[at - 1] - values[at])[: MOST_WINDOWS - 1]
    cuts = [0, *sorted(gaps), len(values)]
    return [(values[low], values[high - 1]) for low, high in pairwise(cuts)]


def _plain(value: object, column: Compared) -> str | None:
    if value is None:
        return None
    return f"{Decimal(str(value)).normalize():f}" if column.kind == "decimal" else str(value)
