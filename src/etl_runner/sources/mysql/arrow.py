"""A chunk of rows as a record batch: text as it came, or parsed where Arrow's own parser is exact.

What does not parse (0000-00-00, 2021-02-30) is NULL in the batch, and stands as the server writes it in the
raw column (:mod:`etl_runner.convert.raw`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from etl_runner.convert.raw import RAW_COLUMN
from etl_runner.sources.mysql.types import Kind
from etl_runner.sources.mysql.wire import Chunk

if TYPE_CHECKING:
    import pyarrow as pa


def record_batch(chunk: Chunk, names: Sequence[str], kinds: Sequence[Kind]) -> pa.RecordBatch:
    """The rows of ``chunk``, columns called ``names``, each of its kind."""
    import pyarrow as pa

    arrays = []
    unfit: dict[int, dict[str, str]] = {}
    for name, kind, values in zip(names, kinds, chunk.arrays(), strict=True):
        array, failed = typed(values, kind)
        arrays.append(array)
        for row, text in failed.items():
            unfit.setdefault(row, {})[name] = text
    names = list(names)
    if unfit:
        raw = [json.dumps(unfit[row]) if row in unfit else None for row in range(len(chunk.starts))]
        arrays.append(pa.array(raw, pa.string()))
        names.append(RAW_COLUMN)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def typed(values: pa.Array, kind: Kind) -> tuple[pa.Array, dict[int, str]]:
    """An array of the kind, and the text of each value that is none; ``values`` are binary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "bytes":
        return values, {}
    # Whether it is UTF-8 is looked at by the converter, as a whole.
    text = values.view(pa.string())
    if kind == "text":
        return text, {}
    try:
        return _parsed(text, kind), {}
    except pa.ArrowInvalid:
        failed = {row: text[row].as_py() for row in _failing(text, kind)}
    mask = np.zeros(len(text), np.bool_)
    mask[list(failed)] = True
    return _parsed(pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), text), kind), failed


def _parsed(text: pa.Array, kind: Kind) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "int":
        return pc.cast(text, pa.int64())
    if kind == "float":
        return pc.cast(text, pa.float64())
    if kind == "date":
        return pc.cast(text, pa.date32())
    moments = pc.cast(text, pa.timestamp("us"))
    # The session's time zone is UTC.
    return moments if kind == "datetime" else moments.cast(pa.timestamp("us", tz="UTC"))


def _failing(text: pa.Array, kind: Kind) -> Iterator[int]:
    """Rows that do not parse: those with a month or day 00 at a look, others by halving."""
    import pyarrow as pa
    import pyarrow.compute as pc

    zero = pc.fill_null(pc.match_substring(text, "-00"), False)
    yield from pc.indices_nonzero(zero).to_pylist()
    rest = pc.if_else(zero, pa.scalar(None, pa.string()), text)
    pending = [(0, len(rest))]
    while pending:
        start, stop = pending.pop()
        try:
            _parsed(rest.slice(start, stop - start), kind)
        except pa.ArrowInvalid:
            if stop - start == 1:
                yield start
            else:
                middle = (start + stop) // 2
                pending += [(start, middle), (middle, stop)]
