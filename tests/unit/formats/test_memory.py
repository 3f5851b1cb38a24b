"""A stream of any length is read in constant memory."""

from __future__ import annotations

import bz2
import io
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import pyarrow as pa
import pytest

from etl_runner.config.files import FileFormat
from etl_runner.convert.fields import BqField
from etl_runner.formats import format_named
from etl_runner.formats.base import FormatOptions, Opened
from tests.unit.formats.files import planned

MB = 1 << 20
SIZE = 64 * MB
BOUND = 24 * MB
CSV_ROW = b'12345,"' + b"a text, quoted " * 6 + b'"\n'
JSON_ROW = b'{"a": 12345, "b": "' + b"a text " * 12 + b'"}\n'


class Generated(io.RawIOBase):
    """A stream whose bytes are made when they are asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._left = next(self._pieces, b"")
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def plain(kind: str, bad: bool) -> Iterator[bytes]:
    """About 64 MiB of rows; ``bad``: with a bad one now and then."""
    row = CSV_ROW if kind == "csv" else JSON_ROW
    chunk = row * (MB // len(row))
    yield b"a,b\n" if kind == "csv" else b"[" if kind == "json" else b""
    for number in range(SIZE // MB):
        text = chunk if kind != "json" else chunk.replace(b"\n", b",\n")
        yield text + (b"x\n" if bad and number % 16 == 7 else b"")
    if kind == "json":
        yield row + b"]"


def compressed(pieces: Iterator[bytes], codec: str) -> Iterator[bytes]:
    coder: Any = zlib.compressobj(1, wbits=31) if codec == "gzip" else bz2.BZ2Compressor(1)
    for piece in pieces:
        if data := coder.compress(piece):
            yield data
    yield coder.flush()


@pytest.mark.parametrize(
    ("kind", "codec", "bad"),
    [
        ("csv", "none", False),
        ("csv", "gzip", True),
        ("jsonl", "none", False),
        ("jsonl", "gzip", True),
        ("json", "none", False),
    ],
)
def test_memory_does_not_grow_with_the_file(kind: FileFormat, codec: str, bad: bool) -> None:
    pieces = (piece for piece in plain(kind, bad) if piece)
    source = Generated(pieces if codec == "none" else compressed(pieces, codec))
    options = FormatOptions(block_bytes=2 * MB)
    before = pa.total_allocated_bytes()
    rows = faults = most = 0
    fields = planned(BqField("a", "INT64"), BqField("b", "STRING"))
    for block in format_named(kind).read(Opened("x", cast("IO[bytes]", source)), options, fields):
        most = max(most, pa.total_allocated_bytes() - before)
        rows += block.batch.num_rows
        faults += len(block.bad)
        del block
    per_chunk = MB // len(CSV_ROW if kind == "csv" else JSON_ROW)
    assert rows == per_chunk * (SIZE // MB) + (1 if kind == "json" else 0)
    assert faults == (4 if bad else 0)
    assert most < BOUND
