"""Record batches without the driver's own extension types.

The driver marks numeric, uuid and JSON columns with extension types over text; everybody further on wants the
text. Nothing is copied: an extension array and its storage share their buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows and names, extension arrays replaced by their storage, field metadata dropped."""
    import pyarrow as pa

    arrays = [_plain(column) for column in batch.columns]
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in zip(batch.schema.names, arrays, strict=True)]
    )
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plain(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        return _plain(array.storage)
    if pa.types.is_list(array.type):
        values = _plain(array.values)
        # Built from the buffers: from_arrays would lose an offset into a sliced array.
        return pa.Array.from_buffers(
            pa.list_(values.type),
            len(array),
            array.buffers()[:2],
            null_count=array.null_count,
            offset=array.offset,
            children=[values],
        )
    return array
