"""What of a conversion a plan decides: made once for all units of a plan, or a unit of ten rows costs more in
preparation than in rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa

from etl_runner.convert.arrow_schema import arrow_field
from etl_runner.convert.casters import Caster, caster
from etl_runner.convert.json_numbers import JsonNumbers
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlanHeader, PlannedColumn

RUN_ID, LOADED_AT, SOURCE_FILE = "_etl_run_id", "_etl_loaded_at", "_etl_source_file"
_METADATA: dict[str, pa.Field] = {
    RUN_ID: pa.field(RUN_ID, pa.string()),
    LOADED_AT: pa.field(LOADED_AT, pa.timestamp("us", tz="UTC")),
    SOURCE_FILE: pa.field(SOURCE_FILE, pa.string()),
}
_KEPT = 8
"""Schemas whose casters are kept: files of one source may differ in theirs."""

Casters = tuple[tuple[int, Caster], ...]
"""For each planned column: where it is in the source's batches, and its caster."""


class Casting:
    """Columns, schema and casters of a plan. Safe for many threads.

    Args:
        columns: the planned columns; batches must have a column for each destination name.
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
        metadata: Sequence[str] = (),
        run_id: str = "",
        loaded_at: dt.datetime | None = None,
        json_numbers: JsonNumbers = "fail",
    ) -> None:
        self.columns = tuple(columns)
        self._json_numbers: JsonNumbers = json_numbers
        unknown = [name for name in metadata if name not in _METADATA]
        if unknown:
            raise PermanentError(f"metadata column {unknown[0]!r} does not exist: use {', '.join(_METADATA)}")
        values = {RUN_ID: run_id, LOADED_AT: loaded_at, SOURCE_FILE: None}
        self.metadata = {name: pa.scalar(values[name], _METADATA[name].type) for name in metadata}
        """Metadata columns and their values, but for that of ``_etl_source_file``."""
        self.schema = pa.schema(
            [arrow_field(column.destination) for column in self.columns]
            + [_METADATA[name] for name in metadata]
        )
        """Of converted batches: the destination's columns, then the metadata columns."""
        self._known: tuple[tuple[pa.Schema, Casters], ...] = ()

    @classmethod
    def of(cls, header: PlanHeader) -> Casting:
        """That of a plan.

        Raises:
            PermanentError: a metadata column that does not exist.
        """
        return cls(
            header.columns,
            metadata=header.metadata,
            run_id=header.run_id,
            loaded_at=dt.datetime.fromisoformat(header.created),
            json_numbers=header.config.get("document", {}).get("json_numbers") or "fail",
        )

    def casters(self, source: pa.Schema) -> Casters:
        """The casters for batches of this schema.

        Raises:
            PermanentError: a column is missing, or cannot be cast to its destination at all.
        """
        known = self._known
        for schema, casters in known:
            if schema.equals(source):
                return casters
        made = tuple(self._caster(source, column) for column in self.columns)
        # Assigned as a whole: another thread's may get lost, and is then made again.
        self._known = ((source, made), *known[: _KEPT - 1])
        return made

    def _caster(self, source: pa.Schema, column: PlannedColumn) -> tuple[int, Caster]:
        field = column.destination
        index = source.get_field_index(field.name)
        if index < 0:
            raise PermanentError(
                f"the source returned no column {field.name!r} (source column {column.source!r}): "
                f"plan the run again"
            )
        return index, caster(source.field(index).type, field, column.source_type, self._json_numbers)
