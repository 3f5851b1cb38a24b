"""A column's texts as the one run of bytes that they are in memory: searched in one go, they cost a tenth."""

from __future__ import annotations

import pyarrow as pa


def joined(texts: pa.Array) -> memoryview:
    """All texts of an array of type string or binary, one behind the other; NULLs may leave bytes of theirs.

    What neighbours only look like together is found in it too: a search that finds nothing is what counts.
    """
    _, offsets, data = texts.buffers()
    if data is None or len(texts) == 0:
        return memoryview(b"")
    edges = memoryview(offsets).cast("i")
    return memoryview(data)[edges[texts.offset] : edges[texts.offset + len(texts)]]


def only(texts: pa.Array, allowed: bytes) -> bool:
    """Whether the texts have no other bytes than ``allowed``."""
    return not bytes(joined(texts)).translate(None, allowed)


def any_of(texts: pa.Array, wanted: bytes) -> bool:
    """Whether any of these bytes is in the texts."""
    found = bytes(joined(texts))
    return any(wanted[place : place + 1] in found for place in range(len(wanted)))


def as_one(texts: pa.Array) -> pa.Array:
    """All texts as the only value of an array, for Arrow's searches."""
    data = joined(texts)
    offsets = memoryview(bytearray(16)).cast("q")
    offsets[1] = len(data)
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
