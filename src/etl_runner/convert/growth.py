"""Fields that a RECORD of an existing table gains: what is there stays as it is, what is new comes last.

Only NULLABLE and REPEATED fields can be added to a table that has rows; the ones inside a new RECORD follow
the same rule here, since a source may drop its own constraints any day.
https://cloud.google.com/bigquery/docs/managing-table-schemas#add_a_nested_column_to_a_record_column
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from etl_runner.convert.fields import BqField


def lacking(wanted: BqField, there: BqField, path: str) -> list[str]:
    """Dotted paths of the fields of ``wanted`` that ``there`` lacks, at any depth; ``path`` is its own."""
    if not wanted.type == there.type == "STRUCT":
        return []
    known = {nested.name.lower(): nested for nested in there.fields}
    found: list[str] = []
    for nested in wanted.fields:
        inner = f"{path}.{nested.name}"
        if nested.name.lower() in known:
            found += lacking(nested, known[nested.name.lower()], inner)
        else:
            found.append(inner)
    return found


def grown(wanted: BqField, there: BqField) -> BqField:
    """``there`` with the fields of ``wanted`` that it lacks, at any depth."""
    if not wanted.type == there.type == "STRUCT":
        return there
    asked = {nested.name.lower(): nested for nested in wanted.fields}
    known = {nested.name.lower() for nested in there.fields}
    kept = [grown(asked.get(nested.name.lower(), nested), nested) for nested in there.fields]
    new = [_relaxed(nested) for nested in wanted.fields if nested.name.lower() not in known]
    return replace(there, fields=(*kept, *new))


def with_added(there: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A table's schema, as the API spells it, with the columns and nested fields of ``wanted`` that it
    lacks; equal to ``there`` when it lacks none. What the API says of the others is kept word for word."""
    asked = {field["name"].lower(): field for field in wanted}
    known = {field["name"].lower() for field in there}
    result = []
    for field in there:
        inner = asked.get(field["name"].lower(), {}).get("fields")
        if field.get("fields") and inner:
            field = {**field, "fields": with_added(field["fields"], inner)}
        result.append(field)
    return result + [field for field in wanted if field["name"].lower() not in known]


def _relaxed(field: BqField) -> BqField:
    mode = "NULLABLE" if field.mode == "REQUIRED" else field.mode
    return replace(field, mode=mode, fields=tuple(map(_relaxed, field.fields)))
