"""The columns that a document names, looked up at what it reads: the same for every database."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from etl_runner.config.database import DatabaseSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError, Problem

_LISTED = 40
"""Columns that an error lists, at most."""


class Column(Protocol):
    """A column of a relation."""

    @property
    def name(self) -> str:
        """As the source spells it."""


C = TypeVar("C", bound=Column)
Find = Callable[[str], "C | None"]
"""The column of a name, by the source's own rules of case; None: there is none."""


def check_named(
    document: DatabaseSource, columns: Sequence[C], find: Find[C], label: str, source_id: str
) -> None:
    """Refuse a document that names columns which the relation lacks.

    Args:
        columns: all that the relation has.
        label: of the relation, for people.
        source_id: what the error names.

    Raises:
        ConfigError: all such columns at once, with the field that names each.
    """
    lower = {column.name.lower(): column.name for column in columns}
    problems = []
    for path, name in _named(document):
        if find(name) is not None:
            continue
        close = difflib.get_close_matches(name.lower(), list(lower), n=1)
        problems.append(
            Problem(
                path,
                f"{label} has no such column",
                found=repr(name),
                suggestion=lower[close[0]] if close else None,
                allowed=None if close else f"one of {', '.join(list(lower.values())[:_LISTED])}",
            )
        )
    if problems:
        raise ConfigError(source_id, tuple(problems))


def wanted_columns(document: DatabaseSource, columns: Sequence[C], find: Find[C]) -> list[C]:
    """The selected columns in the order of the document; all of them when none is selected."""
    if not document.selected_columns:
        return list(columns)
    found = (find(name) for name in dict.fromkeys(document.selected_columns))
    return [column for column in found if column is not None]


def column_of(find: Find[C], name: str, label: str, source_id: str) -> C:
    """A planned column.

    Raises:
        PermanentError: the relation has lost it meanwhile.
    """
    column = find(name)
    if column is None:
        raise PermanentError(f"{source_id}: {label} no longer has a column {name}")
    return column


def incompatible(
    name: str, label: str, declared: str, destination: BqField, reason: object, source_id: str
) -> PermanentError:
    """The error for a column whose type cannot become the destination's."""
    mode = "REPEATED " if destination.mode == "REPEATED" else ""
    return PermanentError(
        f"{source_id}: column {name} of {label} has type {declared}, and the"
        f" destination column {destination.name} has type {mode}{destination.type}: {reason}"
    )


def _named(document: DatabaseSource) -> list[tuple[str, str]]:
    """Columns that the document names, with the path of the field that does."""
    named = [(f"selected_columns.{i}", name) for i, name in enumerate(document.selected_columns)]
    named += [(f"column_mapping.{name}", name) for name in document.column_mapping]
    named += [("primary_key_column", name) for name in document.primary_key_column]
    if document.timestamp_column:
        named.append(("timestamp_column", document.timestamp_column))
    if document.incrementing_column:
        named.append(("incrementing_column", document.incrementing_column))
    return named
