"""A first source document from what a live source turns out to be: key, cursor and strategy proposed.

The document is text with comments, since its reasons are for people; it validates as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from etl_runner.convert.names import destination_names
from etl_runner.sources.base import Description, SourceColumn

_TIMES = frozenset({"TIMESTAMP", "DATETIME"})
_CHANGED = ("updated", "modified", "changed", "last_update", "lastmod", "mtime", "_upd")
_CREATED = ("created", "inserted", "added", "event_time", "occurred", "logged", "_at", "time", "date")
_NUMBERS = re.compile(r"(big|small|medium|tiny)?int|integer", re.IGNORECASE)

Strategy = Literal["transactional", "catalog", "upsert"]


@dataclass(frozen=True)
class Proposal:
    """What is proposed, and why."""

    load_type: Strategy
    why: str
    timestamp_column: str | None = None
    incrementing_column: str | None = None
    primary_key: tuple[str, ...] = ()


def propose(description: Description) -> Proposal:
    """Key, cursor and strategy of a table.

    A column that says when a row was changed, and a key: upsert. One that says when it was made, or an
    increasing key: append. Neither: the whole table each time.
    """
    key = description.primary_key
    times = [column for column in description.columns if column.natural.type in _TIMES]
    changed = _named(times, _CHANGED)
    if changed is not None and key:
        why = f"{changed.name} says when a row was changed, and {', '.join(key)} which row it is"
        return Proposal("upsert", why, timestamp_column=changed.name, primary_key=key)
    created = changed or _named(times, _CREATED)
    if created is not None:
        why = f"{created.name} says when a row came" + ("" if key else "; there is no key to merge by")
        return Proposal("transactional", why, timestamp_column=created.name)
    numbers = {column.name for column in description.columns if _NUMBERS.match(column.type)}
    if len(key) == 1 and key[0] in numbers:
        why = f"no column says when a row came; {key[0]} increases, if rows are never changed"
        return Proposal("transactional", why, incrementing_column=key[0])
    return Proposal("catalog", "nothing tells new rows from old ones, so the table is loaded as a whole")


def database_document(
    source_type: str, connection_id: str, schema: str | None, table: str, description: Description
) -> str:
    """The source document of a table, as YAML with comments."""
    made = propose(description)
    lines = [
        f"# {table}: {len(description.columns)} columns. Proposed from the live source; check it, then",
        "# `etl-runner validate`, put it into the config bucket as sources/<id>.yaml, and plan it.",
        f"source_type: {source_type}",
        f"connection: {_text(connection_id)}",
        *([f"schema_name: {_text(schema)}"] if schema else []),
        f"source_table_name: {_text(table)}",
        f"# {made.why}.",
        f"load_type: {made.load_type}",
    ]
    if made.timestamp_column:
        lines.append(f"timestamp_column: {_text(made.timestamp_column)}")
        nullable = next(column for column in description.columns if column.name == made.timestamp_column)
        if nullable.nullable:
            lines.append("# It may be NULL: such rows are counted and not loaded.")
    if made.incrementing_column:
        lines.append(f"incrementing_column: {_text(made.incrementing_column)}")
    if made.load_type == "upsert":
        lines.append(f"primary_key_column: [{', '.join(map(_text, made.primary_key))}]")
    if made.load_type != "catalog":
        lines += [
            "# Where the first run begins: a date, or relative, such as -30d. Without it: at the beginning.",
            "# historical_start_date: -30d",
        ]
    destination = re.sub("[^A-Za-z0-9_]", "_", table).lower()
    lines += [f"dest_table_name: {_text(destination)}", *_columns(description)]
    return "\n".join(lines) + "\n"


def file_document(
    source_type: str, connection_id: str, pattern: str, file_format: str, table: str, seen: Sequence[str]
) -> str:
    """The source document of files, as YAML with comments."""
    examples = [f"#   {json.dumps(name, ensure_ascii=False)}" for name in seen[:3]]
    lines = [
        f"# Proposed from {len(seen)} objects, among them",
        *examples,
        f"source_type: {source_type}",
        f"connection: {_text(connection_id)}",
        f"file_pattern: {_text(pattern)}",
        f"file_format: {file_format}",
        "# transactional loads each new file once; catalog replaces the table by the latest file.",
        "load_type: transactional",
        f"dest_table_name: {_text(table)}",
    ]
    return "\n".join(lines) + "\n"


def format_of(names: Sequence[str]) -> tuple[str, str]:
    """``(file_format, file_pattern)`` of most objects; compression endings are passed over."""
    counted: dict[tuple[str, str], int] = {}
    for name in names:
        found = re.search(r"\.(csv|tsv|parquet|jsonl|ndjson|json)(\.(?:gz|zst|bz2))?$", name, re.IGNORECASE)
        if found:
            ending = found[1].lower()
            kind = {"tsv": "csv", "ndjson": "jsonl"}.get(ending, ending)
            pattern = f"**/*.{found[1]}{found[2] or ''}" if "/" in name else f"*.{found[1]}{found[2] or ''}"
            counted[kind, pattern] = counted.get((kind, pattern), 0) + 1
    return max(counted, key=lambda item: counted[item]) if counted else ("csv", "*")


def _named(columns: Sequence[SourceColumn], words: Sequence[str]) -> SourceColumn | None:
    """The first column named by the most telling word; those that cannot be NULL first."""
    ordered = sorted(columns, key=lambda column: column.nullable)
    for word in words:
        found = next((column for column in ordered if word in column.name.lower()), None)
        if found is not None:
            return found
    return None


def _columns(description: Description) -> list[str]:
    """Columns whose names or types need a word."""
    names = destination_names([column.name for column in description.columns], {})
    lines = []
    for column in description.columns:
        remarks = [f"becomes {names[column.name]}"] if names[column.name] != column.name else []
        remarks += [column.note] if column.note else []
        if remarks:
            lines.append(f"#   {json.dumps(column.name, ensure_ascii=False)}: {'; '.join(remarks)}")
    return ["# Worth knowing of its columns:", *lines] if lines else []


def _text(value: str) -> str:
    """A YAML scalar that is read as this text."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value) is not None and value.lower() not in _WORDS
    return value if plain else json.dumps(value)


_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
