"""Record batches as the source gives them -> record batches as the shards hold them, and the rejects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner import jsontypes
from etl_runner.convert.casters import plain
from etl_runner.convert.casting import SOURCE_FILE, Casting
from etl_runner.convert.fields import BqField
from etl_runner.convert.json_numbers import JsonNumbers
from etl_runner.convert.raw import raw_values, split_raw
from etl_runner.convert.recorded import RAW, TypeName, recorded
from etl_runner.convert.rejects import Fault, Reject, cell_text
from etl_runner.planning.plan import PlannedColumn


@dataclass(frozen=True)
class Converted:
    """One batch on the other side: rows that fit, in the shard's schema and in the order they were read,
    and one reject for each that does not. ``batch.num_rows + len(rejects)`` is what came in."""

    batch: pa.RecordBatch
    rejects: tuple[Reject, ...]


class Converter:
    """Converts the batches of one unit; keeps count of the rows. Not for use by two threads.

    Args:
        columns: as of :class:`etl_runner.convert.casting.Casting`, like all others but
        unit: the unit's id, for rejects.

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
        self._begin(
            Casting(
                columns, metadata=metadata, run_id=run_id, loaded_at=loaded_at, json_numbers=json_numbers
            ),
            unit,
        )

    @classmethod
    def sharing(cls, casting: Casting, unit: str) -> Converter:
        """A converter of another unit of the same plan: what the plan decides is not worked out again."""
        converter = cls.__new__(cls)
        converter._begin(casting, unit)
        return converter

    def _begin(self, casting: Casting, unit: str) -> None:
        self._casting = casting
        self._unit = unit
        self._read = 0

    @property
    def schema(self) -> pa.Schema:
        """The schema of converted batches: the destination's columns, then the metadata columns."""
        return self._casting.schema

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
        casters = self._casting.casters(batch.schema)
        faults: dict[int, Fault] = {}
        if raw is not None:
            self._unrepresentable(raw, faults)
        arrays: list[pa.Array] = []
        for column, (index, cast) in zip(self._casting.columns, casters, strict=True):
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
        for name, value in self._casting.metadata.items():
            given = pa.scalar(source_file, pa.string()) if name == SOURCE_FILE else value
            arrays.append(pa.repeat(given, rows))
        rejects = tuple(self._reject(before, batch, raw, faults[row]) for row in sorted(faults))
        return Converted(pa.RecordBatch.from_arrays(arrays, schema=self._casting.schema), rejects)

    def _unrepresentable(self, raw: pa.Array, faults: dict[int, Fault]) -> None:
        types = {column.destination.name: column.destination for column in self._casting.columns}
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
        sources = {column.destination.name: column.source_type for column in self._casting.columns}
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
