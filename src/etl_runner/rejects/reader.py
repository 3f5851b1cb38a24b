"""Reading staged rejects as a unit's rows: the values of the types that they had when they were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any, NoReturn

import pyarrow as pa

from etl_runner import jsontypes
from etl_runner.convert.fields import BqField
from etl_runner.convert.raw import RAW_COLUMN
from etl_runner.convert.recorded import RAW, restore, type_of
from etl_runner.convert.rejects import Place
from etl_runner.errors import PermanentError
from etl_runner.formats.base import BadRow
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.rejects.table import CORRECTED, RejectedRow
from etl_runner.sources.base import PlanRequest, Reader, Rows, Session, SourceColumn
from etl_runner.state.objects import ObjectStore

_UNFIT = (ValueError, TypeError, KeyError, pa.ArrowException)


class StagedRejects:
    """A source whose units are objects of the staging bucket that hold rejected rows. Only its session is
    ever asked for: the plan is made by :mod:`etl_runner.rejects.replay`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def session(self, plan: PlanHeader, *, snapshot: bool) -> AbstractContextManager[Session]:
        """Readers of the plan's units."""
        del snapshot
        return nullcontext(_Session(self._objects, plan))

    def describe(self) -> NoReturn:
        raise PermanentError("rejected rows are planned by their own command")

    def expression(self, column: SourceColumn, destination: BqField) -> None:
        """Nothing is selected."""

    def plan(self, request: PlanRequest) -> NoReturn:
        del request
        self.describe()


class _Session:
    def __init__(self, objects: ObjectStore, plan: PlanHeader) -> None:
        self._objects = objects
        self._fields = [column.destination for column in plan.columns]

    def reader(self) -> AbstractContextManager[Reader]:
        return nullcontext(self)

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        name = unit.spec["object"]
        stored = self._objects.read(name)
        if stored is None:
            raise PermanentError(f"the staged rejects {self._objects.uri(name)} are gone: replay again")
        rows = [RejectedRow.from_line(line) for line in stored.data.splitlines()]
        for _, group in groupby(rows, _shape):
            same = list(group)
            if same[0].types is None:
                yield Rows(self._batch([]), tuple(_bad(row) for row in same))
                continue
            try:
                yield Rows(self._batch(same), places=[_place(row) for row in same])
            except _UNFIT:
                # One of them is not what its type is written as: the others go on without it.
                for row in same:
                    yield Rows(self._batch([row], careful=True), places=[_place(row)])

    def _batch(self, rows: Sequence[RejectedRow], *, careful: bool = False) -> pa.RecordBatch:
        types = (rows[0].types or {}) if rows else {}
        arrays: list[pa.Array] = []
        raw: list[dict[str, str]] = [{} for _ in rows]
        for field in self._fields:
            kept = types.get(field.name)
            values = [row.record.get(field.name) for row in rows]
            nested = field.mode == "REPEATED" or field.type == "STRUCT"
            if kept == RAW and nested:
                _beside(field, values, raw)
                values, kept = [None] * len(rows), CORRECTED
            kind = text_type(field) if kept in (None, CORRECTED, RAW) else type_of(kept)
            try:
                arrays.append(restore(values, kind))
            except _UNFIT:
                if not careful:
                    raise
                _beside(field, values, raw)
                arrays.append(pa.nulls(len(rows), kind))
        names = [field.name for field in self._fields]
        if any(raw):
            arrays.append(pa.array([jsontypes.dumps(item).decode() if item else None for item in raw]))
            names.append(RAW_COLUMN)
        return pa.RecordBatch.from_arrays(arrays, names=names)


def text_type(field: BqField, *, element: bool = False) -> pa.DataType:
    """The Arrow type of a value that a person writes for ``field``: texts in its shape, bytes for BYTES."""
    if field.mode == "REPEATED" and not element:
        return pa.list_(text_type(field, element=True))
    if field.type == "STRUCT":
        return pa.struct([pa.field(nested.name, text_type(nested)) for nested in field.fields])
    return pa.binary() if field.type == "BYTES" else pa.string()


def _shape(row: RejectedRow) -> tuple[bytes, tuple[str, ...]]:
    types: Mapping[str, Any] | None = row.types
    return jsontypes.dumps(types), tuple(sorted(row.record))


def _beside(field: BqField, values: Sequence[Any], raw: list[dict[str, str]]) -> None:
    """Such a value stands for itself: the converter rejects its row and keeps it."""
    for item, value in zip(raw, values, strict=True):
        if value is not None:
            item[field.name] = value if isinstance(value, str) else jsontypes.dumps(value).decode()


def _place(row: RejectedRow) -> Place | None:
    """Where the row's own file has it. Nobody finds a row of a database by its number in a query's result:
    it gets one of this replay."""
    return None if row.file is None else Place(row.file, row.row, row.line, row.from_byte)


def _bad(row: RejectedRow) -> BadRow:
    text = row.record.get("text") or row.value or ""
    return BadRow(row.file or "", row.row, row.line, row.reason, text, row.column, row.from_byte)
