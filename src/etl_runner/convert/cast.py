"""Record batches as the source gives them -> record batches as the shards hold them, and the rejects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner import jsontypes
from etl_runner.convert.arrow_schema import arrow_field
from etl_runner.convert.casters import Caster, caster, plain
from etl_runner.convert.fields import BqField
from etl_runner.convert.json_numbers import JsonNumbers
from etl_runner.convert.raw import raw_values, split_raw
from etl_runner.convert.recorded import RAW, TypeName, recorded
from etl_runner.convert.rejects import Fault, Reject, cell_text
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlannedColumn

RUN_ID, LOADED_AT, SOURCE_FILE = "_etl_run_id", "_etl_loaded_at", "_etl_source_file"
_METADATA: dict[str, pa.Field] = {
    RUN_ID: pa.field(RUN_ID, pa.string()),
    LOADED_AT: pa.field(LOADED_AT, pa.timestamp("us", tz="UTC")),
    SOURCE_FILE: pa.field(SOURCE_FILE, pa.string()),
}


@dataclass(frozen=True)
class Converted:
    """One batch on the other side: rows that fit, in the shard's schema and in the order they were read,
    and one reject for each that does not. ``batch.num_rows + len(rejects)`` is what came in."""

    batch: pa.RecordBatch
    rejects: tuple[Reject, ...]


class Converter:
    """Converts the batches of one unit; keeps count of the rows. Not for use by two threads.

    Args:
        columns: the planned columns; batches must have a column for each destination name.
        unit: the unit's id, for rejects.
        metadata: names of the metadata columns to add, after the planned ones.
        run_id: value of ``_etl_run_id``.
        loaded_at: value of ``_etl_loaded_at``, with a zone; the same for all units of a run, so that a
            unit done again gives the same rows.
        json_numbers: what becomes of numbers that BigQuery's JSON cannot hold (convert/json_numbers.py).

    Raises:
        PermanentError: a metadata column that does not exist.
    """

    def __init__(
        self,
        columns: Sequence[PlannedColumn],
        *,
        unit: str,
        metadata: Sequence[str] = (),
        run_id: str = "",
        loaded_at: dt.datetime | None = None,
        json_numbers: JsonNumbers = "fail",
    ) -> None:
        self._columns = tuple(columns)
        self._unit = unit
        self._json_numbers: JsonNumbers = json_numbers
        self._read = 0
        self._source_schema: pa.Schema | None = None
        self._casters: tuple[tuple[int, Caster], ...] = ()
        unknown = [name for name in metadata if name not in _METADATA]
        if unknown:
            raise PermanentError(f"metadata column {unknown[0]!r} does not exist: use {', '.join(_METADATA)}")
        values = {RUN_ID: run_id, LOADED_AT: loaded_at, SOURCE_FILE: None}
        self._metadata = {name: pa.scalar(values[name], _METADATA[name].type) for name in metadata}
        self._schema = pa.schema(
            [arrow_field(column.destination) for column in self._columns]
            + [_METADATA[name] for name in metadata]
        )

    @property
    def schema(self) -> pa.Schema:
        """The schema of converted batches: the destination's columns, then the metadata columns."""
        return self._schema

    @property
    def read(self) -> int:
        """Rows converted or rejected so far."""
        return self._read

    def convert(self, batch: pa.RecordBatch, source_file: str | None = None) -> Converted:
        """Convert one batch; ``source_file`` is the value of ``_etl_source_file`` in it.

        Raises:
            PermanentError: a column is missing or cannot be cast to its destination at all.
        """
        before = self._read
        self._read += batch.num_rows
        batch, raw = split_raw(batch)
        self._prepare(batch.schema)
        faults: dict[int, Fault] = {}
        if raw is not None:
            self._unrepresentable(raw, faults)
        arrays: list[pa.Array] = []
        for column, (index, cast) in zip(self._columns, self._casters, strict=True):
            source = batch.column(index)
            result, found = cast(source)
            field = column.destination
            if field.mode == "REQUIRED" and result.null_count:
                for row in pc.indices_nonzero(pc.is_null(result)).to_pylist():
                    found.setdefault(row, "is NULL and the column is REQUIRED")
            for row, reason in found.items():
                if row not in faults:
                    faults[row] = Fault(row, field.name, reason, cell_text(plain(source), row))
            arrays.append(result)
        keep = None
        if faults:
            keep = pa.array([row not in faults for row in range(batch.num_rows)], pa.bool_())
            arrays = [array.filter(keep) for array in arrays]
        rows = batch.num_rows - len(faults)
        for name, value in self._metadata.items():
            given = pa.scalar(source_file, pa.string()) if name == SOURCE_FILE else value
            arrays.append(pa.repeat(given, rows))
        rejects = tuple(self._reject(before, batch, raw, faults[row]) for row in sorted(faults))
        return Converted(pa.RecordBatch.from_arrays(arrays, schema=self._schema), rejects)

    def _prepare(self, schema: pa.Schema) -> None:
        if self._source_schema is not None and schema.equals(self._source_schema):
            return
        casters: list[tuple[int, Caster]] = []
        for column in self._columns:
            field = column.destination
            index = schema.get_field_index(field.name)
            if index < 0:
                raise PermanentError(
                    f"the source returned no column {field.name!r} (source column {column.source!r}): "
                    f"plan the run again"
                )
            kind = schema.field(index).type
            casters.append((index, caster(kind, field, column.source_type, self._json_numbers)))
        self._casters = tuple(casters)
        self._source_schema = schema

    def _unrepresentable(self, raw: pa.Array, faults: dict[int, Fault]) -> None:
        types = {column.destination.name: column.destination for column in self._columns}
        for row in pc.indices_nonzero(pc.is_valid(raw)).to_pylist():
            values = raw_values(raw[row].as_py())
            # In the order of the columns, so that the same row always gives the same reject.
            for name, field in types.items():
                if name in values:
                    faults[row] = Fault(row, name, _beyond(field), values[name])
                    break

    def _reject(self, before: int, batch: pa.RecordBatch, raw: pa.Array | None, fault: Fault) -> Reject:
        record: dict[str, Any] = {}
        types: dict[str, TypeName] = {}
        sources = {column.destination.name: column.source_type for column in self._columns}
        for index, name in enumerate(batch.schema.names):
            cell = plain(batch.column(index).slice(fault.row, 1))[0]
            record[name], types[name] = recorded(cell, sources.get(name, ""))
        for name, text in raw_values(raw[fault.row].as_py()).items() if raw is not None else ():
            record[name], types[name] = text, RAW
        return Reject(
            unit=self._unit,
            row=before + fault.row + 1,
            column=fault.column,
            reason=fault.reason,
            value=fault.value,
            record=jsontypes.dumps(record).decode(),
            types=jsontypes.dumps(types).decode(),
        )


def _beyond(field: BqField) -> str:
    if field.mode != "REPEATED":
        return f"is a value that BigQuery's {field.type} cannot hold"
    # https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#array_type
    return (
        f"is an array that BigQuery's array of {field.type} cannot hold (one dimension, no NULL in it, "
        "values of the type); a destination column of type JSON takes any"
    )
