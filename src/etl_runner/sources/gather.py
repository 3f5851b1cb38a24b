"""Values that lie here and there in a buffer, copied together into an Arrow array."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def bitmap(valid: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Which values there are, as Arrow has it; None for all."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def gathered(
    kind: pa.DataType,
    data: bytes | bytearray,
    begin: NDArray[np.int64],
    length: NDArray[np.int64],
    valid: NDArray[np.bool_] | None,
) -> pa.Array:
    """The values as an array of ``kind``, string or binary, that keeps nothing of ``data``.

    Args:
        kind: texts are not checked to be UTF-8.
        data: less than 2 GiB.
        begin: where each value is; each begins at or after the end of the one before it.
        length: of each in bytes, 0 where it is NULL.
        valid: false where it is NULL; None when none is.

    Raises:
        IndexError: a value lies outside of ``data``, or before the end of the one before it.
    """
    rows = len(begin)
    edges = np.empty(2 * rows + 1, np.int64)
    edges[:-1:2] = begin
    np.add(begin, length, out=edges[1::2])
    edges[-1] = edges[-2] if rows else 0
    if rows and (edges[0] < 0 or edges[-1] > len(data) or (edges[1:] < edges[:-1]).any()):
        raise IndexError("a value lies outside of the data")
    # The values and what lies between them by turns make one array; of it only the values are kept.
    offsets = pa.py_buffer(edges.astype(np.int32))
    every = pa.Array.from_buffers(kind, 2 * rows, [None, offsets, pa.py_buffer(data)])
    turns = pa.py_buffer(b"\x55" * (rows // 4 + 1))
    kept = every.filter(pa.Array.from_buffers(pa.bool_(), 2 * rows, [None, turns]))
    if valid is None:
        return kept
    return pa.Array.from_buffers(kind, rows, [bitmap(valid), *kept.buffers()[1:]])
