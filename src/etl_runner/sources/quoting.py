"""SQL text from names and values, for the places where a parameter cannot be bound.

``COPY (query)`` takes no parameters, so a unit's bounds are literals. Standard quoting
(https://www.postgresql.org/docs/current/sql-syntax-lexical.html): a double quote in an identifier and a
single quote in a string are doubled. Backslashes mean nothing in a plain string while
``standard_conforming_strings`` is on; a string that has one is written ``E''`` so that the setting does not
matter.
"""

from __future__ import annotations

from collections.abc import Iterable


def identifier(name: str) -> str:
    """``name`` as an SQL identifier: ``a"b`` -> ``"a""b"``.

    Raises:
        ValueError: the name is empty or has a NUL, which no identifier can have.
    """
    if not name or "\0" in name:
        raise ValueError(f"not an identifier: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def qualified(*names: str) -> str:
    """A dotted name of quoted identifiers: ``"schema"."table"``."""
    return ".".join(identifier(name) for name in names)


def literal(value: str) -> str:
    """``value`` as an SQL string.

    Raises:
        ValueError: the value has a NUL, which PostgreSQL text cannot hold.
    """
    if "\0" in value:
        raise ValueError("a text value cannot hold a NUL character")
    text = "'" + value.replace("'", "''") + "'"
    return "E" + text.replace("\\", "\\\\") if "\\" in text else text


def typed_literal(value: str, type_name: str) -> str:
    """``value`` read as ``type_name`` (SQL text, from the catalog): ``'2013-01-01'::date``."""
    return f"{literal(value)}::{type_name}"


def all_of(conditions: Iterable[str | None]) -> str:
    """The conditions joined by AND, each in parentheses; ``true`` when there is none."""
    wanted = [condition for condition in conditions if condition]
    return " AND ".join(f"({condition})" for condition in wanted) if wanted else "true"
