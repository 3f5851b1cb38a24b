"""Cut a read into work units: which key, where, and how the units' conditions read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.cut import SCALES, Edge, Range, Scale, divide
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.distribution import ascending, distribution
from etl_runner.sources.postgres.estimate import Estimate
from etl_runner.sources.postgres.incremental import Incremental
from etl_runner.sources.postgres.schema import PgColumn, Relation
from etl_runner.sources.quoting import identifier, typed_literal
from etl_runner.sources.units import HOT, MAX_SCANS, Cut, split_hot

CUTTABLE = (*SCALES, "text", "varchar", "bpchar", "name", "float4", "float8")
"""Types whose ranges can be written as literals of the type's plain name."""
_CANDIDATES = 3
_ENOUGH = 0.7


def cut(
    control: Control,
    relation: Relation,
    incremental: Incremental | None,
    estimate: Estimate,
    unit_rows: int,
    max_units: int,
) -> Cut:
    """Cut the read into units of about ``unit_rows`` rows that tile it exactly."""
    if incremental is not None and incremental.bounds is None:
        return Cut((), "there is nothing to read")
    wanted = min(max_units, math.ceil(estimate.rows / unit_rows))
    if wanted <= 1:
        return Cut((_whole(relation, estimate),), "one unit")
    best: _Way | None = None
    for column in _candidates(relation, incremental):
        if best is not None and not _worth_a_look(relation, column, incremental, best):
            continue
        edges, how, limit = _edges(control, relation, column, incremental)
        most = min(max_units, limit)
        target = max(unit_rows, math.ceil(estimate.rows / most))
        enough = max(unit_rows, math.ceil(estimate.rows / limit))
        ranges = divide(edges, estimate.rows, enough, most, SCALES.get(column.type.name))
        if not ascending(control, column, [part.low for part in ranges if part.low is not None]):
            continue
        way = _Way(column, ranges, how, target, most)
        if best is None or way.largest < best.largest:
            best = way
        if len(ranges) >= _ENOUGH * min(wanted, limit) and way.largest <= HOT * target:
            break
    if best is not None and len(best.ranges) > 1:
        units = tuple(_range_unit(best.column, part, estimate, incremental) for part in best.ranges)
        found = Cut(units, f"ranges of {best.column.name} from {best.how}")
        if not relation.primary_key:
            # Without a key a row's bucket would follow from all of its values, which may change.
            return found
        return split_hot(found, best.target, best.most, partial(_bucket, relation))
    if relation.kind in ("query", "view", "foreign table"):
        return Cut((_whole(relation, estimate),), "one unit: nothing is known to cut it by")
    number = min(wanted, MAX_SCANS)
    return Cut(tuple(_hash_units(relation, number, estimate)), "hash buckets: there is no index to cut by")


@dataclass(frozen=True)
class _Way:
    """One column's ranges; ``target`` rows were wanted of each, and ``most`` units in all."""

    column: PgColumn
    ranges: list[Range]
    how: str
    target: int
    most: int

    @property
    def largest(self) -> int:
        """Estimated rows of the largest range."""
        return max(part.rows for part in self.ranges)


def _worth_a_look(relation: Relation, column: PgColumn, incremental: Incremental | None, best: _Way) -> bool:
    """Whether a further column may be better than one that has cut points. What is known of other columns
    says nothing of a part of the table; and each range of one without an index reads the whole table."""
    if len(best.ranges) <= 1:
        return True
    part = incremental is not None and incremental.first is not None
    return not part and column.name in relation.indexed


def _candidates(relation: Relation, incremental: Incremental | None) -> list[PgColumn]:
    """Columns to cut by, the best first."""
    names: list[str] = []
    if incremental is not None and (
        incremental.column.name in relation.indexed or relation.kind not in ("table", "partitioned table")
    ):
        names.append(incremental.column.name)
    if relation.primary_key and relation.primary_key[0] in relation.indexed:
        names.append(relation.primary_key[0])
    names += relation.indexed
    if incremental is not None:
        names.append(incremental.column.name)
    columns = (relation.column(name) for name in dict.fromkeys(names))
    fit = [column for column in columns if column is not None and column.type.name in CUTTABLE]
    return fit[:_CANDIDATES]


def _edges(
    control: Control, relation: Relation, column: PgColumn, incremental: Incremental | None
) -> tuple[Sequence[Edge], str, int]:
    """Edges of a column, how they were found, and the most units that cutting by it is good for."""
    limit = 1_000_000 if column.name in relation.indexed else MAX_SCANS
    known = distribution(control, relation, column)
    if incremental is None or incremental.column.name != column.name or incremental.bounds is None:
        return known.edges, known.how, limit
    scale = SCALES[column.type.name]
    first = incremental.first
    low = None if first is None else incremental.cursor.text(first)
    high = incremental.cursor.text(incremental.bounds.high)
    edges = clip(known.edges, low, high, scale)
    return edges, known.how if known.edges else "the window's own bounds", limit


def clip(edges: Sequence[Edge], low: str | None, high: str, scale: Scale) -> list[Edge]:
    """The part of a distribution between two values; evenly spread where nothing of it lies there."""
    start = None if low is None else scale.position(low)
    end = scale.position(high)
    placed = [(scale.position(edge.value), edge) for edge in edges]
    known = [(position, edge) for position, edge in placed if position is not None]
    if end is None:
        return []
    inside = [(p, e) for p, e in known if (start is None or p > start) and p < end]
    result = [edge for _, edge in inside]
    if inside:
        position, last = inside[-1]
        following = next((p for p, _ in known if p > position), None)
        if following is not None and following > end:
            result[-1] = replace(last, after=last.after * (end - position) / (following - position))
        elif following is None and last.after == 0:
            result[-1] = replace(last, after=_growth(known, end - position))
    if start is not None and low is not None and start < end:
        previous = [(p, e) for p, e in known if p <= start]
        next_position = inside[0][0] if inside else end
        if previous and inside and next_position > previous[-1][0]:
            position, edge = previous[-1]
            share = edge.after * (next_position - start) / (next_position - position)
        else:
            share = 0.0 if inside else 1.0
        result.insert(0, Edge(low, after=share))
    if result:
        # The window includes its end.
        result.append(Edge(high, at=sum(edge.at for position, edge in known if position == end)))
    return result


def _growth(known: Sequence[tuple[int, Edge]], length: int) -> float:
    """Rows to expect in a stretch of ``length`` behind the last known value: as dense as before, yet a tenth
    of what is known at most, since the newest rows of a table may be old."""
    span = known[-1][0] - known[0][0]
    rows = sum(edge.at + edge.after for _, edge in known)
    return min(rows * length / span, rows / 10) if span > 0 else 0.0


def _whole(relation: Relation, estimate: Estimate) -> WorkUnit:
    return WorkUnit("u00000", "whole", {"where": None}, relation.label, estimate.rows, estimate.bytes)


def _range_unit(
    column: PgColumn, part: Range, estimate: Estimate, incremental: Incremental | None
) -> WorkUnit:
    key = f"t.{identifier(column.name)}"
    type_name = column.type.name
    conditions = []
    if part.low is not None:
        conditions.append(f"{key} >= {typed_literal(part.low, type_name)}")
    if part.high is not None:
        conditions.append(f"{key} < {typed_literal(part.high, type_name)}")
    where = " AND ".join(conditions)
    is_cursor = incremental is not None and incremental.column.name == column.name
    if part.low is None and column.nullable and not is_cursor:
        # NULL compares with nothing: those rows go with the first range.
        where = f"({where}) OR {key} IS NULL"
    if type_name in SCALES:
        label = f"{column.name} [{part.low or '...'}, {part.high or '...'})"
    else:
        # Keys that are text can be people's names and addresses; a plan is read by many.
        label = f"{column.name}, a range of its text"
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
    """SQL: the row is in this hash bucket; by the primary key, or by the whole row where there is none."""
    hashed = ", ".join(f"t.{identifier(name)}" for name in relation.primary_key)
    text = f"ROW({hashed})::text" if hashed else "(t.*)::text"
    # A row is never NULL as text, and hashtext gives the same number at every reading.
    return f"mod(abs(hashtext({text})::int8), {count}) = {index}"
