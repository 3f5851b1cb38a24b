"""The first rows of a source, as they would land: types, converted values, rejects. Nothing is written.

What is shown is made by the code that a run uses: the planner decides columns and types, the source's reader
reads, the converter converts. The document's window is set aside, so that a source that has nothing new still
shows rows, and of a bucket one file is read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from etl_runner.commit.close import RunKey
from etl_runner.config.types import FILE_TYPES
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.state.document import State

if TYPE_CHECKING:
    from etl_runner.config.resolved import ResolvedSource
    from etl_runner.planning.planner import Planner
    from etl_runner.sources.base import Rows, Source

MAX_ROWS = 1_000
_NO_RUN = "preview"
# Whatever engine a run would take, here rows are read.
_READ: dict[str, Any] = {"load_type": "catalog", "engine": "cloud_run"}
_ONE_UNIT = 1 << 62
"""Rows in a unit of a database: no borders are looked for."""
_LONGEST_TEXT = 2_000
"""Characters of one value that are shown."""


@dataclass(frozen=True)
class PreviewColumn:
    """A column on its way: ``natural`` is the BigQuery type that loses nothing, ``destination`` the type of
    the field that it goes to, ``name`` that field's name."""

    source: str
    source_type: str
    natural: str
    name: str
    destination: str
    note: str | None = None


@dataclass(frozen=True)
class PreviewReject:
    """A row that would be rejected, counted from 1 among those that were read."""

    row: int
    column: str
    reason: str
    value: str | None


@dataclass(frozen=True)
class Preview:
    """What was found. ``rows`` are the values as they would land, by destination field, in JSON's types."""

    source_id: str
    destination: str
    exists: bool
    columns: tuple[PreviewColumn, ...]
    rows: tuple[dict[str, Any], ...]
    rejects: tuple[PreviewReject, ...]
    notes: tuple[str, ...] = ()


def preview(
    resolved: ResolvedSource,
    planner: Planner,
    open_source: Callable[[ResolvedSource], Source],
    rows: int,
) -> Preview:
    """Read the first ``rows`` rows of a source.

    Costs what a plan costs (catalog queries, metadata) and one bounded read: a LIMIT at databases, the first
    block of one file.

    Raises:
        ConfigError: ``rows`` is out of bounds, or the document does not fit source or destination.
        PermanentError, RetryableError: source or destination refuse or cannot be reached.
    """
    if not 1 <= rows <= MAX_ROWS:
        problem = Problem("rows", "is out of bounds", str(rows), f"1 to {MAX_ROWS}")
        raise ConfigError("request", (problem,))
    read = _READ if resolved.document.source_type in FILE_TYPES else {**_READ, "unit_rows": _ONE_UNIT}
    whole = replace(resolved, document=resolved.document.model_copy(update=read))
    plan = planner.make_plan(whole, RunKey(resolved.source_id, _NO_RUN, 0), State())
    header = plan.header
    source = open_source(whole)
    natural = {column.name: column for column in source.describe().columns}
    columns = tuple(
        PreviewColumn(
            source=column.source,
            source_type=column.source_type,
            natural=_type(natural[column.source].natural) if column.source in natural else "",
            name=column.destination.name,
            destination=_type(column.destination),
            note=natural[column.source].note if column.source in natural else None,
        )
        for column in header.columns
    )
    landed, rejects = _read(source, header, plan.units[0], rows) if plan.units else ([], [])
    return Preview(
        source_id=resolved.source_id,
        destination=header.destination.path,
        exists=header.destination.exists,
        columns=columns,
        rows=tuple(landed),
        rejects=tuple(rejects),
        notes=header.notes,
    )


def _read(
    source: Source, header: PlanHeader, unit: WorkUnit, wanted: int
) -> tuple[list[dict[str, Any]], list[PreviewReject]]:
    from etl_runner.convert.cast import Converter  # loads pyarrow, which no other question needs

    limited = replace(unit, spec={**unit.spec, "limit": wanted})
    landed: list[dict[str, Any]] = []
    rejects: list[PreviewReject] = []
    converter = Converter(header.columns, unit=unit.id)
    with (
        source.session(header, snapshot=False) as session,
        session.reader() as reader,
        _given_up(reader.read(limited)) as batches,
    ):
        for read in batches:
            left = wanted - len(landed) - len(rejects)
            converted = converter.convert(read.batch.slice(0, left), read.file)
            landed += [_shown(row) for row in converted.batch.to_pylist()]
            found = [*(bad.reject(unit.id) for bad in read.bad), *converted.rejects]
            rejects += [
                PreviewReject(one.row, one.column, one.reason, _cut(one.value)) for one in found[:left]
            ]
            if len(landed) + len(rejects) >= wanted:
                break
    return landed, rejects


@contextmanager
def _given_up(batches: Iterator[Rows]) -> Iterator[Iterator[Rows]]:
    """The batches; a reader that is a generator is told when no more of them are wanted."""
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _type(field: Any) -> str:
    of = f"ARRAY<{field.type}>" if field.mode == "REPEATED" else str(field.type)
    return f"{of} NOT NULL" if field.mode == "REQUIRED" else of


def _shown(value: Any) -> Any:
    """A value in JSON's types: decimals and times as text, bytes in hexadecimal, long text cut."""
    if isinstance(value, dict):
        return {name: _shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    if isinstance(value, bytes):
        return _cut(value.hex())
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, Decimal):
        text = format(value, "f")  # shards carry the type's scale; the value has no zeros at its end
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # NaN and infinities are no JSON.
        return value if value - value == 0 else str(value)
    return str(value)


def _cut(value: str | None) -> str | None:
    return value if value is None or len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}..."
