"""What a Parquet footer says about a column, in the words of BigQuery's conversion table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from etl_runner.convert.fields import BqField

PARQUET_TO_BIGQUERY: dict[str, frozenset[str]] = {
    "BOOLEAN": frozenset({"BOOL"}),
    "INTEGER": frozenset({"INT64"}),
    "DECIMAL": frozenset({"NUMERIC", "BIGNUMERIC", "STRING"}),
    "DATE": frozenset({"DATE"}),
    "TIME": frozenset({"TIME"}),
    "TIMESTAMP": frozenset({"TIMESTAMP", "DATETIME"}),
    "INT96": frozenset({"TIMESTAMP"}),
    "FLOAT": frozenset({"FLOAT64"}),
    "BYTES": frozenset({"BYTES"}),
    "STRING": frozenset({"STRING", "GEOGRAPHY"}),
    "ENUM": frozenset({"BYTES"}),
}
"""Kind of a Parquet leaf (see :func:`kind`) to the BigQuery types that it loads into; kinds that are
missing load into nothing. Loading Parquet data from Cloud Storage, "Parquet conversions"."""


@dataclass
class Node:
    """A Parquet column or group."""

    path: str
    leaf: Any = None
    """pyarrow's ColumnSchema of a leaf; None for a group."""
    index: int = -1
    children: dict[str, Node] = field(default_factory=dict)

    def nested_leaves(self) -> Iterator[Node]:
        """The leaves below, itself included."""
        if self.leaf is not None:
            yield self
        for child in self.children.values():
            yield from child.nested_leaves()


def tree(metadata: pq.FileMetaData) -> Node:
    """The footer's columns as a tree; names as they are written in the file."""
    root = Node("")
    for index in range(metadata.num_columns):
        column = metadata.schema.column(index)
        node = root
        for part in column.path.split("."):
            path = f"{node.path}.{part}" if node.path else part
            node = node.children.setdefault(part, Node(path))
        node.leaf, node.index = column, index
    return root


def child(node: Node, name: str) -> Node | None:
    """A child by name; BigQuery's column names know no case."""
    wanted = name.casefold()
    return next((found for key, found in node.children.items() if key.casefold() == wanted), None)


def element(node: Node) -> Node:
    """What a LIST group repeats (three-level lists); a bare repeated column repeats itself."""
    if node.leaf is not None or len(node.children) != 1:
        return node
    (repeated,) = node.children.values()
    if repeated.leaf is not None:
        return repeated
    if len(repeated.children) == 1 and next(iter(repeated.children)) in ("element", "item", "array_element"):
        return next(iter(repeated.children.values()))
    return repeated


def is_list(node: Node) -> bool:
    """Whether a node holds a LIST group (a group whose one child repeats)."""
    if node.leaf is not None or len(node.children) != 1:
        return False
    name = next(iter(node.children))
    return name in ("list", "bag", "array") and all(
        leaf.leaf.max_repetition_level > 0 for leaf in node.nested_leaves()
    )


def pairs(fields: tuple[BqField, ...], node: Node) -> Iterator[tuple[BqField, Node]]:
    """Declared fields with the Parquet nodes that hold their values, nested ones too; lists unwrapped.

    Fields that the file lacks are left out: BigQuery loads them as NULL.
    """
    for declared in fields:
        found = child(node, declared.name)
        if found is None:
            continue
        inner = element(found) if declared.mode == "REPEATED" else found
        yield declared, inner
        if declared.fields:
            yield from pairs(declared.fields, inner)


def logical(leaf: Any) -> dict[str, Any]:
    """The leaf's logical type as pyarrow tells it, e.g. ``{"Type": "Timestamp", "timeUnit": ...}``."""
    told: dict[str, Any] = json.loads(leaf.logical_type.to_json())
    return told


def kind(leaf: Any) -> str:
    """The leaf's kind: a key of PARQUET_TO_BIGQUERY, or UUID, FLOAT16, INTERVAL, JSON, BSON, ..."""
    logical_kind = str(logical(leaf).get("Type", "None")).upper()
    physical = str(leaf.physical_type)
    if physical == "INT96":
        return "INT96"
    if logical_kind in ("NONE", "UNKNOWN", "NULL", "INVALID"):
        return {
            "INT32": "INTEGER",
            "INT64": "INTEGER",
            "DOUBLE": "FLOAT",
            "BYTE_ARRAY": "BYTES",
            "FIXED_LEN_BYTE_ARRAY": "BYTES",
        }.get(physical, physical)
    return {"INT": "INTEGER", "UTF8": "STRING"}.get(logical_kind, logical_kind)


def is_nanoseconds(leaf: Any) -> bool:
    """Whether the leaf counts nanoseconds."""
    return str(logical(leaf).get("timeUnit", "")) == "nanoseconds"


def decimal(leaf: Any) -> tuple[int, int]:
    """A DECIMAL leaf's (precision, scale)."""
    told = logical(leaf)
    return int(told["precision"]), int(told["scale"])


def null_count(metadata: pq.FileMetaData, index: int) -> int | None:
    """Nulls of a leaf by the statistics; None when a row group has none."""
    total = 0
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(index).statistics
        if statistics is None or not statistics.has_null_count:
            return None
        total += statistics.null_count
    return total


def extent(metadata: pq.FileMetaData, index: int) -> tuple[int, int] | None:
    """Smallest and largest raw value of a leaf; None when it has no values or no statistics."""
    lows: list[int] = []
    highs: list[int] = []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(index).statistics
        if statistics is not None and statistics.has_min_max:
            lows.append(statistics.min_raw)
            highs.append(statistics.max_raw)
    return (min(lows), max(highs)) if lows else None
