"""How a value that BigQuery cannot hold travels beside its row.

Some databases hold values that no BigQuery type can: ``infinity`` in a date, the year 44 BC, the time
24:00:00, an array with a NULL in it. The query that reads a unit selects NULL in such a value's place,
and the original as text in **one** further column, :data:`RAW_COLUMN`, at the end of every batch:

- NULL when every value of the row can be represented (the usual case: one NULL a row is all it costs);
- otherwise the text of a JSON object ``{"<destination column>": "<the value as the source writes it>"}``
  with one entry for each value of the row that was replaced; entries whose value is ``null`` mean nothing.

A batch without that column has no such values. The converter takes the column off and turns each row
that has an entry into a reject (or its value into NULL, following the policy). Destination columns can
never have this name: :mod:`etl_runner.convert.names` gives none that begins with ``_etl_`` or ``__etl_``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RAW_COLUMN = "__etl_raw"


def split_raw(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array | None]:
    """The batch without :data:`RAW_COLUMN`, and that column (string) when any row of it has an entry."""
    index = batch.schema.get_field_index(RAW_COLUMN)
    if index < 0:
        return batch, None
    raw = batch.column(index)
    rest = batch.remove_column(index)
    return rest, raw if raw.null_count < len(raw) else None


def raw_values(text: str | None) -> dict[str, str]:
    """One row's entries: destination column -> the value as the source writes it; empty for NULL."""
    if text is None:
        return {}
    return {name: value for name, value in json.loads(text).items() if value is not None}
