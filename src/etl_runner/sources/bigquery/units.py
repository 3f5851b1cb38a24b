"""Cut a read into row restrictions that tile it.

A view or a query is one unit, since each unit would run it again. A table is cut by its partitions, whose
row counts are metadata, else by approximate quantiles of one column, else by hash. Ranges of the partitioning
or first clustering column read only their share of the table; other ranges and hash buckets read all of its
selected columns each time (https://cloud.google.com/bigquery/docs/reference/storage#filtering_rows_by_column_values),
so there are few of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from etl_runner.errors import PermanentError
from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.bigquery.access import Warehouse
from etl_runner.sources.bigquery.quoting import identifier, literal
from etl_runner.sources.bigquery.relation import Column, Relation
from etl_runner.sources.bigquery.window import KEY_TYPES, TIME_TYPES, Incremental, value_literal
from etl_runner.sources.cut import SCALES, Edge, Range, Scale, divide
from etl_runner.sources.units import MAX_SCANS, Cut, split_hot

_KINDS = {**TIME_TYPES, **KEY_TYPES}
_SCALES: dict[str, Scale] = {
    "timestamptz": SCALES["timestamptz"],
    "timestamp": SCALES["timestamp"],
    "date": SCALES["date"],
    "key": SCALES["int8"],
}
_HASHED = ("STRING", "INT64", "NUMERIC", "BIGNUMERIC", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "TIME")
_MOST_HASHED = 8
_MOST_QUANTILES = 1_000
_PARTITION_IDS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
"""How INFORMATION_SCHEMA.PARTITIONS names partitions; others are __NULL__ and __UNPARTITIONED__.
https://cloud.google.com/bigquery/docs/information-schema-partitions"""


@dataclass(frozen=True)
class Size:
    """Rows and bytes of the whole read; rows are None where nobody counted them."""

    rows: int | None
    bytes: int | None


def cut(
    warehouse: Warehouse,
    relation: Relation,
    incremental: Incremental | None,
    size: Size,
    t0: datetime,
    unit_rows: int,
    max_units: int,
) -> Cut:
    """Cut the read into units of about ``unit_rows`` rows that tile it exactly."""
    if size.rows == 0:
        return Cut((), "none, there is nothing to read")
    if relation.kind != "table" or size.rows is None:
        whole = WorkUnit("u00000", "whole", {"where": None}, relation.label, size.rows, size.bytes)
        return Cut((whole,), f"one unit: a {relation.kind} is run once and its result is read")
    wanted = min(max_units, math.ceil(size.rows / unit_rows))
    if wanted <= 1:
        whole = WorkUnit("u00000", "whole", {"where": None}, relation.label, size.rows, size.bytes)
        return Cut((whole,), "one unit")
    for column in _candidates(relation, incremental):
        pruned = column.name in (relation.partition_column, *relation.clustering[:1])
        most = wanted if pruned else min(wanted, MAX_SCANS)
        edges, how = _edges(warehouse, relation, column, incremental, t0, most)
        scale = _SCALES[_KINDS[column.field.type]]
        target = max(unit_rows, math.ceil(size.rows / most))
        ranges = divide(edges, size.rows, target, most, scale)
        if len(ranges) > 1:
            units = tuple(_range_unit(column, part, size, incremental) for part in ranges)
            found = Cut(units, f"ranges of {column.name} from {how}")
            names = _hashable(relation)
            if not pruned or not names:
                return found
            return split_hot(found, target, max_units, partial(_bucket, names))
    return _hashed(relation, min(wanted, MAX_SCANS), size)


def _candidates(relation: Relation, incremental: Incremental | None) -> list[Column]:
    """Columns to cut by, the best first."""
    names = [relation.partition_column, *relation.clustering[:1]]
    names += [] if incremental is None else [incremental.column.name]
    names += relation.primary_key[:1]
    found = (relation.column(name) for name in dict.fromkeys(names) if name is not None)
    return [column for column in found if column is not None and column.field.type in _KINDS][:2]


def _edges(
    warehouse: Warehouse,
    relation: Relation,
    column: Column,
    incremental: Incremental | None,
    t0: datetime,
    wanted: int,
) -> tuple[list[Edge], str]:
    is_cursor = incremental is not None and incremental.column.name == column.name
    if column.name == relation.partition_column and (incremental is None or is_cursor):
        edges = _partitions(warehouse, relation, column)
        if incremental is not None:
            edges = _inside(edges, incremental, _SCALES[_KINDS[column.field.type]])
        if len(edges) > 1:
            return edges, "the partitions' row counts"
    return _quantiles(warehouse, relation, column, incremental, t0, wanted), "approximate quantiles"


def _partitions(warehouse: Warehouse, relation: Relation, column: Column) -> list[Edge]:
    """One edge a partition; none where this identity may not see the partitions."""
    project, dataset, table = (relation.path or "").rsplit(".", 2)
    schema = ".".join(identifier(part) for part in (project, dataset))
    sql = (
        f"SELECT partition_id, total_rows FROM {schema}.INFORMATION_SCHEMA.PARTITIONS"
        f" WHERE table_name = {literal(table)} AND partition_id IS NOT NULL"
    )
    try:
        found = warehouse.rows(sql, relation.location)
    except PermanentError:
        return []
    edges = []
    for name, rows in found:
        start = _partition_start(str(name), relation.partition_type or "", column)
        if start is not None:
            edges.append(Edge(start, after=float(rows or 0)))
    scale = _SCALES[_KINDS[column.field.type]]
    return sorted(edges, key=lambda edge: scale.position(edge.value) or 0)


def _partition_start(name: str, kind: str, column: Column) -> str | None:
    """The least value of a partition, as the column's values are written; None for the special ones."""
    if name.startswith("__"):
        return None
    if kind == "RANGE":
        return name
    try:
        start = datetime.strptime(name, _PARTITION_IDS.get(kind, "%Y%m%d"))
    except ValueError:
        return None
    if column.field.type == "DATE":
        return start.date().isoformat()
    text = start.isoformat(sep=" ", timespec="microseconds")
    return f"{text}+00" if column.field.type == "TIMESTAMP" else text


def _inside(edges: Sequence[Edge], incremental: Incremental, scale: Scale) -> list[Edge]:
    """The partitions that the window touches."""
    low = None if incremental.low is None else scale.position(incremental.cursor.text(incremental.low))
    high = None if incremental.high is None else scale.position(incremental.cursor.text(incremental.high))
    kept = []
    for index, edge in enumerate(edges):
        start = scale.position(edge.value) or 0
        end = scale.position(edges[index + 1].value) if index + 1 < len(edges) else None
        if (high is None or start <= high) and (low is None or end is None or end > low):
            kept.append(edge)
    return kept


def _quantiles(
    warehouse: Warehouse,
    relation: Relation,
    column: Column,
    incremental: Incremental | None,
    t0: datetime,
    wanted: int,
) -> list[Edge]:
    """Edges with about equal rows between them: one pass over one column."""
    number = min(_MOST_QUANTILES, max(2, wanted))
    where = "" if incremental is None else f" WHERE {incremental.condition}"
    quantiles = (
        f"SELECT APPROX_QUANTILES({identifier(column.name)}, {number}) FROM {relation.as_of(t0)}{where}"
    )
    sql = (
        f"SELECT CAST(edge AS STRING) FROM UNNEST(({quantiles})) AS edge WITH OFFSET AS place ORDER BY place"
    )
    values = [str(text) for (text,) in warehouse.rows(sql, relation.location) if text is not None]
    # The same value k times over: k - 1 steps lie at it, one between it and the next.
    return [Edge(value, at=float(times - 1), after=1.0) for value, times in Counter(values).items()]


def _range_unit(column: Column, part: Range, size: Size, incremental: Incremental | None) -> WorkUnit:
    key = identifier(column.name)
    conditions = []
    if part.low is not None:
        conditions.append(f"{key} >= {value_literal(part.low, column.field.type)}")
    if part.high is not None:
        conditions.append(f"{key} < {value_literal(part.high, column.field.type)}")
    where = " AND ".join(conditions)
    is_cursor = incremental is not None and incremental.column.name == column.name
    if part.low is None and column.nullable and not is_cursor:
        # NULL compares with nothing: those rows go with the first range.
        where = f"({where}) OR {key} IS NULL"
    label = f"{column.name} [{part.low or '...'}, {part.high or '...'})"
    return WorkUnit("", "range", {"where": where}, label, part.rows, _share(part.rows, size))


def _hashed(relation: Relation, number: int, size: Size) -> Cut:
    names = _hashable(relation)
    if not names:
        whole = WorkUnit("u00000", "whole", {"where": None}, relation.label, size.rows, size.bytes)
        return Cut((whole,), "one unit: there is no column to cut by")
    rows = (size.rows or 0) // number
    units = tuple(
        WorkUnit(
            "",
            "hash",
            {"where": _bucket(names, index, number)},
            f"{relation.label}, hash bucket {index + 1} of {number}",
            rows,
            _share(rows, size),
        )
        for index in range(number)
    )
    return Cut(units, "hash buckets: there is no column to cut by ranges")


def _hashable(relation: Relation) -> tuple[str, ...]:
    """Columns that a row's bucket follows from; all units are read as of one instant, so any will do."""
    return relation.primary_key or tuple(
        column.name
        for column in relation.columns
        if column.field.type in _HASHED and column.field.mode != "REPEATED"
    )


def _bucket(names: Sequence[str], index: int, count: int) -> str:
    """SQL: the row is in this hash bucket."""
    texts = ", '#', ".join(f"IFNULL(CAST({identifier(name)} AS STRING), '')" for name in names[:_MOST_HASHED])
    # The remainder before its absolute value: that of the least INT64 does not exist.
    return f"ABS(MOD(FARM_FINGERPRINT(CONCAT({texts}, '')), {count})) = {index}"


def _share(rows: int, size: Size) -> int | None:
    return None if size.bytes is None or not size.rows else size.bytes * rows // size.rows
