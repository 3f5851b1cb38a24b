"""Rules about what is in the source files; most look at the footers only."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.fields import BqField
from etl_runner.jsontypes import JsonObject
from local.bigquery.front import parquet
from local.bigquery.front.facts import Facts
from local.bigquery.front.loadjob import LoadJob
from local.bigquery.front.storage import ParquetFile

_READING = "Error while reading data, error message:"
_EPOCH = datetime.date(1970, 1, 1)
_SECONDS = {"HOUR": 3_600, "DAY": 86_400}
_PER_SECOND = {"milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}


def _pairs(job: LoadJob, facts: Facts) -> Iterator[tuple[ParquetFile, BqField, parquet.Node]]:
    for file in facts.files:
        for field, node in parquet.pairs(job.schema, parquet.tree(file.metadata)):
            yield file, field, node


def _leaves(facts: Facts) -> Iterator[tuple[ParquetFile, parquet.Node]]:
    for file in facts.files:
        for node in parquet.tree(file.metadata).nested_leaves():
            yield file, node


def lists_without_inference(job: LoadJob, facts: Facts) -> str | None:
    """Without list inference a Parquet LIST is a record with a repeated field ``list``, not an array."""
    if job.list_inference:
        return None
    for file in facts.files:
        tree = parquet.tree(file.metadata)
        for field in job.schema:
            node = parquet.child(tree, field.name)
            if field.mode == "REPEATED" and node is not None and parquet.is_list(node):
                return (
                    f"Provided Schema does not match Table {job.destination}. Field {field.name} has changed "
                    "mode from REPEATED to NULLABLE (a Parquet LIST needs enableListInference). "
                    f"File: {file.uri}"
                )
    return None


def nanoseconds(_job: LoadJob, facts: Facts) -> str | None:
    """Timestamps and times count milliseconds or microseconds."""
    for file, node in _leaves(facts):
        if parquet.is_nanoseconds(node.leaf):
            return (
                f"{_READING} Unsupported time unit of Parquet column '{node.path}': NANOS. File: {file.uri}"
            )
    return None


def uuid(_job: LoadJob, facts: Facts) -> str | None:
    """The conversion table knows no UUID logical type."""
    for file, node in _leaves(facts):
        if parquet.kind(node.leaf) == "UUID":
            return (
                f"{_READING} Unsupported logical type UUID of Parquet column '{node.path}'. File: {file.uri}"
            )
    return None


def column_types(job: LoadJob, facts: Facts) -> str | None:
    """A column's Parquet type must be one that converts to the declared type."""
    for file, field, node in _pairs(job, facts):
        if field.fields or field.type == "STRUCT":
            matches = node.leaf is None
            found = "a group" if matches else str(node.leaf.physical_type)
        elif node.leaf is None:
            matches, found = False, "a group"
        else:
            kind = parquet.kind(node.leaf)
            allowed = parquet.PARQUET_TO_BIGQUERY.get(kind, frozenset())
            if kind == "ENUM" and job.enum_as_string:
                allowed = frozenset({"STRING"})
            matches = field.type in allowed
            found = f"{node.leaf.physical_type} ({kind})"
        if not matches:
            return (
                f"{_READING} Parquet column '{node.path}' has type {found} which does not match the target "
                f"type {field.type}. File: {file.uri}"
            )
    return None


def decimals(job: LoadJob, facts: Facts) -> str | None:
    """A decimal's precision and scale must fit the declared type."""
    for file, field, node in _pairs(job, facts):
        if field.type not in ("NUMERIC", "BIGNUMERIC") or node.leaf is None:
            continue
        precision, scale = parquet.decimal(node.leaf)
        whole, fraction = decimal_room(field)
        if scale > fraction or precision - scale > whole:
            return (
                f"{_READING} Parquet column '{node.path}' is DECIMAL({precision}, {scale}), which does "
                f"not fit {field.type} with {whole} digits before and {fraction} after the point. "
                f"File: {file.uri}"
            )
    return None


def decimal_room(field: BqField) -> tuple[int, int]:
    """Digits before and after the point that a NUMERIC or BIGNUMERIC column holds.

    NUMERIC is (38, 9); BIGNUMERIC has 76 full digits, 38 of them fractional (GoogleSQL data types).
    """
    if field.precision is not None:
        scale = field.scale or 0
        return field.precision - scale, scale
    return (29, 9) if field.type == "NUMERIC" else (38, 38)


def nulls_in_required(job: LoadJob, facts: Facts) -> str | None:
    """A REQUIRED column is in each file and holds no NULL."""
    required = [field for field in job.schema if field.mode == "REQUIRED"]
    for file in facts.files:
        tree = parquet.tree(file.metadata)
        for field in required:
            node = parquet.child(tree, field.name)
            if node is None:
                return f"{_READING} Required column {field.name} is missing. File: {file.uri}"
            if node.leaf is None:
                continue
            nulls = parquet.null_count(file.metadata, node.index)
            if nulls is None and file.metadata.num_rows:
                nulls = facts.objects.column(file.uri, node.path).null_count
            if nulls:
                return f"{_READING} Required column {field.name} holds {nulls} NULLs. File: {file.uri}"
    return None


def nulls_in_repeated(job: LoadJob, facts: Facts) -> str | None:
    """An array holds no NULL element."""
    for file in facts.files:
        tree = parquet.tree(file.metadata)
        for field in job.schema:
            node = parquet.child(tree, field.name)
            if node is None or not any(leaf.leaf.max_repetition_level for leaf in node.nested_leaves()):
                continue
            # The statistics count empty arrays as nulls too: only a count above zero asks for the values.
            counts = [parquet.null_count(file.metadata, leaf.index) for leaf in node.nested_leaves()]
            if any(count is None or count for count in counts) and has_null_element(
                facts.objects.column(file.uri, node.path)
            ):
                return f"{_READING} Array cannot have a null element; error in writing field {field.name}"
    return None


def has_null_element(column: pa.ChunkedArray) -> bool:
    """Whether any list in a column, at any depth, holds a NULL element."""
    return any(_null_element(chunk) for chunk in column.chunks)


def _null_element(array: pa.Array) -> bool:
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        values = array.flatten()
        return bool(values.null_count) or _null_element(values)
    if pa.types.is_struct(array.type):
        return any(_null_element(values) for values in array.flatten())
    return False


def partitions_of_job(job: LoadJob, facts: Facts) -> str | None:
    """One job may write to a limited number of partitions."""
    limit = facts.strictness.partitions_per_job
    spec, field = _partitioning(job, facts)
    if spec is None or field is None or _span(facts, field, spec) <= limit:
        return None
    count = len(_partitions(facts, field, spec))
    if count <= limit:
        return None
    return f"Too many partitions produced by load, allowed {limit}, load produces at least {count} partitions"


def partitions_of_table(job: LoadJob, facts: Facts) -> str | None:
    """One table may have a limited number of partitions."""
    limit = facts.strictness.partitions_per_table
    spec, field = _partitioning(job, facts)
    if spec is None or field is None or facts.table is None or job.disposition.startswith("WRITE_TRUNCATE"):
        return None
    unit = spec["type"]
    name = job.destination
    rows = facts.run_query(
        f"SELECT DISTINCT UNIX_SECONDS(TIMESTAMP_TRUNC(CAST(`{field.name}` AS TIMESTAMP), {unit})) "
        f"FROM `{name.project}.{name.dataset}.{name.table}` WHERE `{field.name}` IS NOT NULL"
    )
    present = {_index(int(row[0] or 0), 1, unit) for row in rows}
    if len(present) + _span(facts, field, spec) <= limit:
        return None
    count = len(present | _partitions(facts, field, spec))
    return f"Too many partitions: {name} would have {count}, allowed {limit}" if count > limit else None


def _partitioning(job: LoadJob, facts: Facts) -> tuple[JsonObject | None, BqField | None]:
    """How the destination is or will be partitioned, and by which column (None: not by a column)."""
    spec = (facts.table or {}).get("timePartitioning") or job.time_partitioning
    fields = job.schema
    if not fields and facts.table is not None:
        fields = tuple(BqField.from_api(f) for f in facts.table.get("schema", {}).get("fields", ()))
    if not spec or not spec.get("field"):
        return None, None
    spec = {**spec, "type": spec.get("type") or "DAY"}
    wanted = str(spec["field"]).casefold()
    return spec, next((field for field in fields if field.name.casefold() == wanted), None)


def _scale(node: parquet.Node) -> int | None:
    """How many raw units a leaf counts per second; 0 stands for days; None for other types."""
    kind = parquet.kind(node.leaf)
    if kind == "DATE":
        return 0
    return _PER_SECOND.get(parquet.logical(node.leaf).get("timeUnit", "")) if kind == "TIMESTAMP" else None


def _index(raw: int, per_second: int, unit: str) -> int:
    """A value's partition, counted from the epoch; ``per_second`` 0 means that ``raw`` counts days."""
    seconds = raw * 86_400 if per_second == 0 else raw // per_second
    if unit in _SECONDS:
        return seconds // _SECONDS[unit]
    date = _EPOCH + datetime.timedelta(days=seconds // 86_400)
    return date.year if unit == "YEAR" else date.year * 12 + date.month


def _span(facts: Facts, field: BqField, spec: JsonObject) -> int:
    """At most how many partitions the files' smallest and largest values span; NULL has its own."""
    lows: list[int] = []
    highs: list[int] = []
    for file in facts.files:
        node = parquet.child(parquet.tree(file.metadata), field.name)
        scale = _scale(node) if node is not None and node.leaf is not None else None
        extent = parquet.extent(file.metadata, node.index) if node is not None and scale is not None else None
        if extent is not None and scale is not None:
            lows.append(_index(extent[0], scale, spec["type"]))
            highs.append(_index(extent[1], scale, spec["type"]))
    return max(highs) - min(lows) + 2 if lows else 0


def _partitions(facts: Facts, field: BqField, spec: JsonObject) -> set[int]:
    """The partitions that the files' values fall into; reads the whole column."""
    found: set[int] = set()
    for file in facts.files:
        node = parquet.child(parquet.tree(file.metadata), field.name)
        scale = _scale(node) if node is not None and node.leaf is not None else None
        if node is None or scale is None:
            continue
        column = facts.objects.column(file.uri, node.path)
        raw = column.cast(pa.int32() if scale == 0 else pa.int64())
        found |= {
            _index(value, scale, spec["type"]) for value in pc.unique(raw).to_pylist() if value is not None
        }
    return found
