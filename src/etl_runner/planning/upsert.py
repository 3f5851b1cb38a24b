"""What an upsert needs of the columns: a key that identifies a row, a cursor that orders its versions, and
whether the merge can be pruned to the partitions that a run touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl_runner.config.sources import SourceDocument
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import Destination

_NO_KEYS = frozenset({"JSON", "GEOGRAPHY", "STRUCT", "INTERVAL", "FLOAT64"})
_ORDERED = frozenset(
    {"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "DATE", "DATETIME", "TIMESTAMP", "TIME", "BYTES"}
)
# Values that a footer's statistics give exactly.
_BOUNDED = frozenset({"DATE", "DATETIME", "TIMESTAMP"})


@dataclass(frozen=True)
class Merge:
    """Destination names: of the key's columns, of the cursor, and of the column to prune by (None: not)."""

    keys: tuple[str, ...]
    order: str | None
    prune: str | None
    notes: tuple[str, ...]


def merge_of(
    document: SourceDocument,
    destination: Destination,
    loaded: Mapping[str, BqField],
    natural: Mapping[str, BqField],
) -> Merge:
    """How rows are merged.

    Args:
        destination: as it will be, partitioning included.
        loaded: source column to the destination's field.
        natural: source column to the field that would lose nothing.

    Raises:
        ConfigError: a key is not loaded or cannot be one, or the cursor is not loaded or loses its order.
    """
    problems = list(_key_problems(document, loaded))
    # Files have no cursor; their column of time still tells which version of a row is the newer one.
    cursor = getattr(document, "cursor_column", document.timestamp_column)
    if cursor is not None:
        problems += _cursor_problems(document, cursor, loaded, natural)
    if problems:
        raise ConfigError("source document", tuple(problems))
    keys = tuple(loaded[name].name for name in document.primary_key_column)
    prune, note = _prune(document, destination, keys, {field.name: field for field in loaded.values()})
    notes = [note]
    if cursor is None:
        notes.append(
            "merge: no cursor orders the versions of a row; the one that is loaded last stays, "
            "and of several in one run the greatest text of the row"
        )
    return Merge(keys, loaded[cursor].name if cursor is not None else None, prune, tuple(notes))


def _key_problems(document: SourceDocument, loaded: Mapping[str, BqField]) -> list[Problem]:
    problems = []
    for number, name in enumerate(document.primary_key_column):
        path = f"primary_key_column[{number}]"
        if name not in loaded:
            problems.append(
                Problem(path, f"column {name!r} is not loaded, so rows cannot be told apart by it")
            )
        elif loaded[name].mode == "REPEATED" or loaded[name].type in _NO_KEYS:
            kind = f"{'REPEATED ' if loaded[name].mode == 'REPEATED' else ''}{loaded[name].type}"
            problems.append(Problem(path, f"a column of type {kind} cannot be a key"))
    return problems


def _cursor_problems(
    document: SourceDocument, cursor: str, loaded: Mapping[str, BqField], natural: Mapping[str, BqField]
) -> list[Problem]:
    path = "timestamp_column" if cursor == document.timestamp_column else "incrementing_column"
    field = loaded.get(cursor)
    if field is None:
        message = f"column {cursor!r} is not loaded, so an older version of a row could replace a newer one"
        return [Problem(path, message, allowed="add it to selected_columns and to the destination")]
    if field.mode != "REPEATED" and (
        field.type in _ORDERED or natural[cursor].type == field.type == "STRING"
    ):
        return []
    kind = natural[cursor].type
    message = (
        f"column {cursor!r} goes to {field.name} of type {field.type}, which does not order its versions"
    )
    return [Problem(path, message, allowed=f"a destination column of type {kind}")]


def _prune(
    document: SourceDocument,
    destination: Destination,
    keys: tuple[str, ...],
    fields: Mapping[str, BqField],
) -> tuple[str | None, str]:
    column = destination.partition_field
    if column is None:
        clustered = ", ".join(destination.clustering)
        return None, "merge: the table is not partitioned" + (
            f"; it is clustered by {clustered}" if clustered else " and is read whole"
        )
    field = fields.get(column)
    if field is None or field.type not in _BOUNDED:
        return None, f"merge: all partitions are read; this source does not fill {column}"
    if column in keys:
        return column, f"merge: only the partitions of {column} that a run touches are read (part of the key)"
    if document.immutable_partition:
        return column, (
            f"merge: only the partitions of {column} that a run touches are read (immutable_partition); "
            f"a row whose {column} changes all the same would be there twice"
        )
    return None, (
        f"merge: all partitions are read, since a row may move between them; add {column} to "
        "primary_key_column, or set immutable_partition: true if it never changes for a row"
    )
