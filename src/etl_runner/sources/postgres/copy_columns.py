"""Rows of a binary COPY as Arrow columns, a whole buffer at a time, without a Python object for each value.

Every field is a length and as many bytes (https://www.postgresql.org/docs/current/sql-copy.html), so where a
column's values stand follows from where the column before it ended. Types' bytes are those of their ``send``
functions in PostgreSQL's source (src/backend/utils/adt). Values that BigQuery has no room for (infinite
dates, years beyond 9999, 24:00:00) are NULL, and stand as the server would write them in the raw column
(:mod:`etl_runner.convert.raw`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl_runner.convert.raw import RAW_COLUMN, raw_values
from etl_runner.sources.gather import bitmap, gathered
from etl_runner.sources.postgres.copy_numeric import numeric
from etl_runner.sources.postgres.copy_times import BOUNDS, Bound
from etl_runner.sources.postgres.copy_wire import Rows
from etl_runner.sources.postgres.diagnose import Garbled


@dataclass(frozen=True)
class Field:
    """One column of a result: its name, the type's oid and modifier (-1: none)."""

    name: str
    oid: int
    modifier: int


@dataclass(frozen=True)
class Values:
    """Where a column's values are: value ``i`` is ``data[begin[i]:begin[i] + length[i]]``; the length is 0
    where it is NULL. ``valid`` is None when none is."""

    data: bytearray
    begin: NDArray[np.int64]
    length: NDArray[np.int64]
    valid: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.begin)

    def of_size(self, size: int) -> None:
        """Check that all values have ``size`` bytes.

        Raises:
            Garbled: one has not.
        """
        wrong = self.length != size
        if self.valid is not None:
            wrong &= self.valid
        if wrong.any():
            raise Garbled(f"a value of {size} bytes has {self.length[wrong.argmax()]}")

    def taken(self, kind: str) -> NDArray[np.generic]:
        """The values as numpy's ``kind`` in network order, at 0 from their begin; anything where NULL."""
        size = np.dtype(kind).itemsize
        every = np.ndarray((len(self.data) - size + 1,), kind, self.data, strides=(1,))
        return every[self.begin]

    def array(self, kind: pa.DataType, values: NDArray[np.generic]) -> pa.Array:
        """An Arrow array over ``values``, which are laid out as ``kind`` wants them."""
        return pa.Array.from_buffers(kind, len(self), [bitmap(self.valid), pa.py_buffer(values)])

    def bytes(self, kind: pa.DataType) -> pa.Array:
        """The values themselves, copied together; ``kind`` is string or binary."""
        return gathered(kind, self.data, self.begin, self.length, self.valid)


Unfit = dict[int, str]
"""Row -> the value as the server writes it."""
Decoder = Callable[[Values, Field], tuple[pa.Array, Unfit]]


def record_batch(rows: Rows, fields: Sequence[Field]) -> pa.RecordBatch:
    """The rows as a record batch that keeps nothing of their buffer. All fields have a decoder.

    Raises:
        Garbled: the bytes do not add up to such rows.
    """
    at = rows.starts + 2
    arrays: list[pa.Array] = []
    unfit: dict[int, dict[str, str]] = {}
    for field in fields:
        try:
            values = _place(rows, at)
            array, found = DECODERS[field.oid](values, field)
        except IndexError:
            raise Garbled(f"column {field.name!r} lies beyond what was sent") from None
        at = values.begin + values.length
        arrays.append(array)
        for row, text in found.items():
            unfit.setdefault(row, {})[field.name] = text
    if not np.array_equal(at, rows.ends):
        raise Garbled("a row is longer or shorter than its fields")
    names = [field.name for field in fields]
    if unfit:
        _add_raw(arrays, names, unfit, len(rows.starts))
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _place(rows: Rows, at: NDArray[np.int64]) -> Values:
    """The values whose lengths stand at ``at``."""
    every = np.ndarray((len(rows.data) - 3,), ">i4", rows.data, strides=(1,))
    length = every[at].astype(np.int64)
    least = int(length.min()) if len(length) else 0
    valid = None
    if least < 0:
        valid = length >= 0
        if least < -1:
            raise Garbled(f"a field has the length {least}")
        length[~valid] = 0
    return Values(rows.data, at + 4, length, valid)


def _add_raw(arrays: list[pa.Array], names: list[str], unfit: dict[int, dict[str, str]], rows: int) -> None:
    """Put the unfit values into the raw column, together with what the query put there."""
    told: list[str | None] = [None] * rows
    if names[-1] == RAW_COLUMN:
        told = arrays.pop().to_pylist()
        names.pop()
    for row, texts in unfit.items():
        told[row] = json.dumps({**raw_values(told[row]), **texts})
    arrays.append(pa.array(told, pa.string()))
    names.append(RAW_COLUMN)


def _fixed(kind: str, arrow: pa.DataType) -> Decoder:
    size = np.dtype(kind).itemsize
    native = np.dtype(kind).newbyteorder("=")

    def decode(values: Values, _: Field) -> tuple[pa.Array, Unfit]:
        values.of_size(size)
        return values.array(arrow, values.taken(kind).astype(native)), {}

    return decode


def _boolean(values: Values, _: Field) -> tuple[pa.Array, Unfit]:
    values.of_size(1)
    bits = np.packbits(values.taken("u1") != 0, bitorder="little")
    return values.array(pa.bool_(), bits), {}


def _moment(bound: Bound) -> Decoder:
    native = np.dtype(bound.wire).newbyteorder("=")

    def decode(values: Values, _: Field) -> tuple[pa.Array, Unfit]:
        values.of_size(native.itemsize)
        numbers = values.taken(bound.wire).astype(native)
        if values.valid is not None:
            numbers[~values.valid] = 0
        unfit: Unfit = {}
        if len(numbers) and (numbers.min() < bound.first or numbers.max() > bound.last):
            beyond = (numbers < bound.first) | (numbers > bound.last)
            unfit = {int(row): bound.text(int(numbers[row])) for row in np.flatnonzero(beyond)}
            numbers[beyond] = 0
            valid = ~beyond if values.valid is None else values.valid & ~beyond
            values = Values(values.data, values.begin, values.length, valid)
        numbers += native.type(bound.shift)
        return values.array(bound.arrow, numbers), unfit

    return decode


def _text(values: Values, _: Field) -> tuple[pa.Array, Unfit]:
    # Whether it is UTF-8 is looked at by the converter, as a whole.
    return values.bytes(pa.string()), {}


def _binary(values: Values, _: Field) -> tuple[pa.Array, Unfit]:
    return values.bytes(pa.binary()), {}


def _jsonb(values: Values, field: Field) -> tuple[pa.Array, Unfit]:
    """The first byte is the version of the format that follows; version 1 is text."""
    version = values.taken("u1") if len(values) else np.ones(0, np.uint8)
    wrong = (version != 1) | (values.length == 0)
    if values.valid is not None:
        wrong &= values.valid
    if wrong.any():
        raise Garbled(f"column {field.name!r} has jsonb of another version than 1")
    one = 1 if values.valid is None else values.valid.astype(np.int64)
    inside = Values(values.data, values.begin + one, values.length - one, values.valid)
    return inside.bytes(pa.string()), {}


_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)], "S2").view(np.uint16)
_GROUPS = ((0, 0, 8), (9, 8, 12), (14, 12, 16), (19, 16, 20), (24, 20, 32))
"""Where in the 36 characters a group begins, and which of the 32 digits it has."""


def _uuid(values: Values, _: Field) -> tuple[pa.Array, Unfit]:
    """16 bytes as ``8-4-4-4-12`` hexadecimal digits, in lower case as the server writes them."""
    values.of_size(16)
    rows = len(values)
    digits = _HEX[values.taken("V16").view(np.uint8)].view(np.uint8).reshape(rows, 32)
    text = np.full((rows, 36), ord("-"), np.uint8)
    for place, start, stop in _GROUPS:
        text[:, place : place + stop - start] = digits[:, start:stop]
    offsets = np.arange(0, 36 * (rows + 1), 36, dtype=np.int32)
    buffers = [bitmap(values.valid), pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), rows, buffers), {}


def _numeric(values: Values, field: Field) -> tuple[pa.Array, Unfit]:
    return numeric(values.data, values.begin, values.length, values.valid, field.modifier), {}


DECODERS: dict[int, Decoder] = {
    # The oids of pg_type.dat; they never change.
    16: _boolean,
    17: _binary,
    20: _fixed(">i8", pa.int64()),
    21: _fixed(">i2", pa.int16()),
    23: _fixed(">i4", pa.int32()),
    700: _fixed(">f4", pa.float32()),
    701: _fixed(">f8", pa.float64()),
    **dict.fromkeys((19, 25, 114, 1042, 1043), _text),
    1700: _numeric,
    2950: _uuid,
    3802: _jsonb,
    **{oid: _moment(bound) for oid, bound in BOUNDS.items()},
}
"""By oid: bool, bytea, int8, int2, int4, float4, float8; name, text, json, bpchar, varchar;
numeric, uuid, jsonb; date, time, timestamp, timestamptz."""


def decodable(fields: Sequence[Field]) -> bool:
    """Whether all columns are of types that have a decoder."""
    return all(field.oid in DECODERS for field in fields)
