"""Cut a read into work units: which key, where, and how the units' conditions read.

An ordered index gives its least and greatest value at once, and the optimizer's estimate of how many rows lie
between two of its values, from a dive into the index at both ends
(https://dev.mysql.com/doc/refman/8.4/en/range-optimization.html). One EXPLAIN of many such stretches gives
the distribution; nothing is scanned.
"""

from __future__ import annotations

import math
from itertools import pairwise

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.cut import SCALES, Edge, Range, Scale, divide
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.cursors import KEY_TYPES, TIME_TYPES, sql_literal
from etl_runner.sources.mysql.estimate import Estimate, explained
from etl_runner.sources.mysql.incremental import Incremental
from etl_runner.sources.mysql.quoting import identifier
from etl_runner.sources.mysql.schema import MyColumn, Relation
from etl_runner.sources.units import MAX_SCANS, Cut

STRETCHES = 64
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
    if wanted <= 1:
        return Cut((_whole(relation, estimate),), "one unit")
    if relation.kind != "table":
        return Cut((_whole(relation, estimate),), f"one unit: nothing is known to cut a {relation.kind} by")
    best: tuple[MyColumn, list[Range]] | None = None
    for column in _candidates(relation, incremental):
        edges = distribution(control, relation, column, incremental)
        scale = _SCALES[_KINDS[column.type.name]]
        ranges = divide(edges, estimate.rows, unit_rows, max_units, scale)
        if best is None or len(ranges) > len(best[1]):
            best = (column, ranges)
        if len(ranges) >= _ENOUGH * wanted:
            break
    if best is not None and len(best[1]) > 1:
        column, ranges = best
        units = tuple(_range_unit(column, part, estimate, incremental) for part in ranges)
        return Cut(units, f"ranges of {column.name} from its index")
    number = min(wanted, MAX_SCANS)
    return Cut(tuple(_hash_units(relation, number, estimate)), "hash buckets: there is no index to cut by")


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
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    ends = control.one(
        f"SELECT CAST(MIN({key}) AS CHAR), CAST(MAX({key}) AS CHAR) FROM {relation.sql} AS t{where}",
        f"reading the ends of {column.name}",
    )
    if ends[0] is None:
        return []
    first, last = (scale.position(str(text)) for text in ends)
    if first is None or last is None or last <= first:
        return []
    parts = min(STRETCHES, last - first)
    places = sorted({first + (last - first) * number // parts for number in range(parts + 1)})
    values = [scale.value(place) for place in places]
    stretches = (
        f"SELECT {key} FROM {relation.sql} AS t"
        f" WHERE {key} >= {sql_literal(low, kind)} AND {key} < {sql_literal(high, kind)}"
        for low, high in pairwise(values)
    )
    rows = [number for _, number in explained(control, " UNION ALL ".join(stretches))]
    if len(rows) != len(values) - 1 or not sum(rows):
        # The optimizer says something else than one line a stretch: spread the rows evenly.
        rows = [1] * (len(values) - 1)
    edges = [Edge(value, after=float(number)) for value, number in zip(values, rows, strict=False)]
    return [*edges, Edge(values[-1])]


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
    names = relation.primary_key or tuple(column.name for column in relation.columns)
    # A column that is NULL counts for nothing in CONCAT_WS, which is itself never NULL.
    hashed = ", ".join(f"CAST(t.{identifier(name)} AS BINARY)" for name in names)
    rows = estimate.rows // number
    return [
        WorkUnit(
            "",
            "hash",
            {"where": f"MOD(CRC32(CONCAT_WS('#', {hashed})), {number}) = {bucket}"},
            f"{relation.label}, hash bucket {bucket + 1} of {number}",
            rows,
            rows * estimate.width,
        )
        for bucket in range(number)
    ]
