"""Cut a read into work units: which key, where, and how the units' conditions read.

An ordered index gives its least and greatest value at once, and the optimizer's estimate of how many rows lie
between two of its values, from a dive into the index at both ends
(https://dev.mysql.com/doc/refman/8.4/en/range-optimization.html). One EXPLAIN of many such stretches gives
the distribution, a few more look into those that hold most of it; nothing is scanned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.cut import SCALES, Edge, Range, Scale, divide
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.cursors import KEY_TYPES, TIME_TYPES, sql_literal
from etl_runner.sources.mysql.estimate import Estimate, explained
from etl_runner.sources.mysql.incremental import Incremental
from etl_runner.sources.mysql.quoting import identifier
from etl_runner.sources.mysql.schema import MyColumn, Relation
from etl_runner.sources.units import HOT, MAX_SCANS, Cut, split_hot

STRETCHES = 64
_LOOKS = 12
"""Times, at most, that the fullest stretches are divided again: enough to find one microsecond of a year. One
whose rows lie evenly is full only once."""
_FULLEST = 8
_PARTS = 16
_CANDIDATES = 3
_ENOUGH = 0.7
_FIRST_DAY = "1000-01-01"
"""The first that MySQL supports; zero dates lie before it and say nothing of the distribution."""
_KINDS = {**TIME_TYPES, **KEY_TYPES}
_SCALES: dict[str, Scale] = {
    "timestamptz": SCALES["timestamptz"],
    "timestamp": SCALES["timestamp"],
    "date": SCALES["date"],
    "key": SCALES["int8"],
}


def cut(
    control: Control,
    relation: Relation,
    incremental: Incremental | None,
    estimate: Estimate,
    unit_rows: int,
    max_units: int,
) -> Cut:
    """Cut the read into units of about ``unit_rows`` rows that tile it exactly."""
    if incremental is not None and incremental.high is None:
        return Cut((), "there is nothing to read")
    wanted = min(max_units, math.ceil(estimate.rows / unit_rows))
    target = max(unit_rows, math.ceil(estimate.rows / max_units))
    if wanted <= 1:
        return Cut((_whole(relation, estimate),), "one unit")
    if relation.kind != "table":
        return Cut((_whole(relation, estimate),), f"one unit: nothing is known to cut a {relation.kind} by")
    best: tuple[MyColumn, list[Range]] | None = None
    for column in _candidates(relation, incremental):
        edges = distribution(control, relation, column, incremental)
        scale = _SCALES[_KINDS[column.type.name]]
        ranges = divide(edges, estimate.rows, unit_rows, max_units, scale)
        if best is None or _largest(ranges) < _largest(best[1]):
            best = (column, ranges)
        if len(ranges) >= _ENOUGH * wanted and _largest(ranges) <= HOT * target:
            break
        if len(ranges) > 1 and incremental is not None and incremental.low is not None:
            # Of a part of the table, what is known of other columns says nothing.
            break
    if best is not None and len(best[1]) > 1:
        column, ranges = best
        units = tuple(_range_unit(column, part, estimate, incremental) for part in ranges)
        found = Cut(units, f"ranges of {column.name} from its index")
        if not relation.primary_key:
            # Without a key a row's bucket would follow from all of its values, which may change.
            return found
        return split_hot(found, target, max_units, partial(_bucket, relation))
    number = min(wanted, MAX_SCANS)
    return Cut(tuple(_hash_units(relation, number, estimate)), "hash buckets: there is no index to cut by")


def _largest(ranges: Sequence[Range]) -> int:
    return max(part.rows for part in ranges)


def _candidates(relation: Relation, incremental: Incremental | None) -> list[MyColumn]:
    """Columns to cut by, the best first."""
    names = list(relation.indexed)
    if incremental is not None and incremental.column.name in names:
        names.insert(0, incremental.column.name)
    columns = (relation.column(name) for name in dict.fromkeys(names))
    fit = [column for column in columns if column is not None and column.type.name in _KINDS]
    return fit[:_CANDIDATES]


def distribution(
    control: Control, relation: Relation, column: MyColumn, incremental: Incremental | None
) -> list[Edge]:
    """Edges of an indexed column's values in the window, with the rows that its index shows between them."""
    kind = _KINDS[column.type.name]
    scale = _SCALES[kind]
    key = f"t.{identifier(column.name)}"
    conditions = [] if kind == "key" else [f"{key} >= {sql_literal(_FIRST_DAY, 'date')}"]
    if incremental is not None and incremental.column.name == column.name:
        conditions.append(incremental.condition)
    conditions.append(f"{key} IS NOT NULL")
    one = f"SELECT CAST({key} AS CHAR) FROM {relation.sql} AS t WHERE {' AND '.join(conditions)}"
    # MIN and MAX together read the whole index between two bounds; either end by its order reads one row.
    ends = control.one(
        f"SELECT ({one} ORDER BY {key} LIMIT 1), ({one} ORDER BY {key} DESC LIMIT 1)",
        f"reading the ends of {column.name}",
    )
    if ends[0] is None:
        return []
    first, last = (scale.position(str(text)) for text in ends)
    if first is None or last is None or last <= first:
        return []
    parts = min(STRETCHES, last - first)
    places = sorted({first + (last - first) * number // parts for number in range(parts + 1)})

    def rows_in(stretches: Sequence[tuple[int, int]]) -> list[int] | None:
        selects = (
            f"SELECT {key} FROM {relation.sql} AS t"
            f" WHERE {key} >= {sql_literal(scale.value(low), kind)}"
            f" AND {key} < {sql_literal(scale.value(high), kind)}"
            for low, high in stretches
        )
        rows = [number for _, number in explained(control, " UNION ALL ".join(selects))]
        # The optimizer may say something else than one line a stretch.
        return rows if len(rows) == len(stretches) and any(rows) else None

    found = dict.fromkeys(pairwise(places), 1)
    counted = rows_in(list(found))
    if counted is not None:
        found = dict(zip(found, counted, strict=True))
        for _ in range(_LOOKS):
            fine = _finer(found)
            counted = rows_in(fine) if fine else None
            if counted is None:
                break
            coarse = [(low, high) for low, high in found if any(low <= start < high for start, _ in fine)]
            found = {stretch: rows for stretch, rows in found.items() if stretch not in coarse}
            found |= dict(zip(fine, counted, strict=True))
    edges = [Edge(scale.value(low), after=float(rows)) for (low, _), rows in sorted(found.items())]
    return [*edges, Edge(scale.value(last))]


def _finer(found: Mapping[tuple[int, int], int]) -> list[tuple[int, int]]:
    """The parts of the fullest stretches, of those that hold more than twice an even share."""
    most = 2 * sum(found.values()) / STRETCHES
    full = [(rows, low, high) for (low, high), rows in found.items() if rows > most and high - low > 1]
    fine: list[tuple[int, int]] = []
    for _, low, high in sorted(full, reverse=True)[:_FULLEST]:
        parts = min(_PARTS, high - low)
        fine += pairwise([low + (high - low) * number // parts for number in range(parts + 1)])
    return fine


def _whole(relation: Relation, estimate: Estimate) -> WorkUnit:
    return WorkUnit("u00000", "whole", {"where": None}, relation.label, estimate.rows, estimate.bytes)


def _range_unit(
    column: MyColumn, part: Range, estimate: Estimate, incremental: Incremental | None
) -> WorkUnit:
    key = f"t.{identifier(column.name)}"
    kind = _KINDS[column.type.name]
    conditions = []
    if part.low is not None:
        conditions.append(f"{key} >= {sql_literal(part.low, kind)}")
    if part.high is not None:
        conditions.append(f"{key} < {sql_literal(part.high, kind)}")
    where = " AND ".join(conditions)
    is_cursor = incremental is not None and incremental.column.name == column.name
    if part.low is None and column.nullable and not is_cursor:
        # NULL compares with nothing: those rows go with the first range.
        where = f"({where}) OR {key} IS NULL"
    label = f"{column.name} [{part.low or '...'}, {part.high or '...'})"
    return WorkUnit("", "range", {"where": where}, label, part.rows, part.rows * estimate.width)


def _hash_units(relation: Relation, number: int, estimate: Estimate) -> list[WorkUnit]:
    rows = estimate.rows // number
    return [
        WorkUnit(
            "",
            "hash",
            {"where": _bucket(relation, bucket, number)},
            f"{relation.label}, hash bucket {bucket + 1} of {number}",
            rows,
            rows * estimate.width,
        )
        for bucket in range(number)
    ]


def _bucket(relation: Relation, index: int, count: int) -> str:
    """SQL: the row is in this hash bucket; by the primary key, or by all columns where there is none."""
    names = relation.primary_key or tuple(column.name for column in relation.columns)
    # A column that is NULL counts for nothing in CONCAT_WS, which is itself never NULL.
    hashed = ", ".join(f"CAST(t.{identifier(name)} AS BINARY)" for name in names)
    return f"MOD(CRC32(CONCAT_WS('#', {hashed})), {count}) = {index}"
