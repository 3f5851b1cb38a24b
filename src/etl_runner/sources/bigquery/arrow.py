"""Batches of the Storage Read API as the converter takes them.

The API's Arrow types: https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details. All are
the converter's own but RANGE, a struct of start and end, which becomes the text that BigQuery reads back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RANGE = "RANGE"


def planned_batch(batch: pa.RecordBatch, items: Sequence[Sequence[str]]) -> pa.RecordBatch:
    """The batch with its columns named and ordered as planned.

    Args:
        items: source name, destination name and source type of each column.
    """
    import pyarrow as pa

    arrays = []
    for source, _, kind in items:
        array = batch.column(source)
        arrays.append(range_text(array) if kind == RANGE else array)
    return pa.RecordBatch.from_arrays(arrays, names=[destination for _, destination, _ in items])


def range_text(array: pa.Array) -> pa.Array:
    """Ranges, or lists of them, as ``[start, end)``, an absent end as ``UNBOUNDED``.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#range_type
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(array.type):
        inner = range_text(pc.list_flatten(array))
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        offsets = pa.concat_arrays(
            [pa.array([0], pa.int32()), pc.cast(pc.cumulative_sum(lengths), pa.int32())]
        )
        return pa.ListArray.from_arrays(offsets, inner)
    start, end = (
        pc.fill_null(pc.cast(pc.struct_field(array, name), pa.string()), "UNBOUNDED")
        for name in ("start", "end")
    )
    text = pc.binary_join_element_wise(pc.binary_join_element_wise("[", start, ""), end, ", ")
    closed = pc.binary_join_element_wise(text, ")", "")
    return pc.if_else(pc.is_valid(array), closed, pa.scalar(None, pa.string()))
