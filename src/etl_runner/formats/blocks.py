"""Text cut into blocks of whole records or lines, with the line number at which each begins."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import pyarrow as pa

from etl_runner.formats.base import FormatOptions, wrong

_LF, _FEW = 10, 4096


class Cutter(Protocol):
    """Knows where records end."""

    def cut(self, data: bytes) -> tuple[int, bool]:
        """The end of the last whole record of some bytes that begin with one, 0 when none is whole; and
        whether the records up to there are known to be free of lexical faults."""

    def bare(self, piece: bytes) -> bool:
        """Whether nothing in a piece of text can keep a line feed from ending a record, or be a lexical
        fault."""


@dataclass(frozen=True)
class TextBlock:
    """Whole records. ``line`` is the number of the first one's first line, from 1."""

    data: bytes
    line: int
    plain: bool = False
    """The records are known to be free of lexical faults; False is no verdict."""


def count_lines(data: bytes) -> int:
    """Line ends in ``data``: LF, CRLF, and CR alone. ``data`` does not end between CR and LF."""
    if len(data) < _FEW:
        feeds = data.count(b"\n")
    else:
        # A fifth of the time that the search for each costs.
        feeds = int(np.count_nonzero(np.frombuffer(data, np.uint8) == _LF))
    return feeds + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else feeds


class AtFeeds:
    """Every line feed ends a record."""

    def cut(self, data: bytes) -> tuple[int, bool]:
        """After the last line feed."""
        return data.rfind(b"\n") + 1, True

    def bare(self, piece: bytes) -> bool:
        """Always."""
        del piece
        return True


def text_blocks(
    file: str, pieces: Iterator[bytes], options: FormatOptions, cutter: Cutter, *, line: int = 1
) -> Iterator[TextBlock]:
    """Collect pieces into blocks of at least ``options.block_bytes`` that end with a record.

    The last block is what is left: its last record may lack a line end. A file without any bytes has no
    blocks.

    Raises:
        PermanentError: a record is longer than ``options.max_record_bytes``.
    """
    held: list[bytes] = []
    size, wanted, bare = 0, options.block_bytes, True
    for piece in pieces:
        size += len(piece)
        bare = bare and cutter.bare(piece)
        if size < wanted:
            held.append(piece)
            continue
        if bare and (end := piece.rfind(b"\n") + 1):
            # The usual case copies the text once.
            block = b"".join([*held, memoryview(piece)[:end]])
            held, size, wanted = [piece[end:]], len(piece) - end, options.block_bytes
            yield TextBlock(block, line, plain=True)
            line += count_lines(block)
            del block
            continue
        data = b"".join([*held, piece])
        end, plain = cutter.cut(data)
        if end == 0:
            if size > options.max_record_bytes:
                raise wrong(
                    file,
                    f"has a record of more than {options.max_record_bytes} bytes that begins on line {line}: "
                    f"a quote or bracket is probably never closed",
                )
            # Looking again only when there is twice as much keeps a very long record linear.
            held, wanted = [data], size * 2
            continue
        block = data[:end]
        held, size, wanted = [data[end:]], len(data) - end, options.block_bytes
        bare = cutter.bare(held[0])
        del data
        yield TextBlock(block, line, plain)
        line += count_lines(block)
        del block
    data = b"".join(held)
    if data:
        yield TextBlock(data, line)


def is_utf8_text(data: bytes) -> bool:
    """Whether all of it is UTF-8, without making text of it."""
    size = pa.py_buffer(len(data).to_bytes(8, sys.byteorder).rjust(16, b"\0"))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, size, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


_LINE_END = re.compile(rb"\r\n|\n|\r")


def skip_lines(pieces: Iterator[bytes], count: int) -> tuple[Iterator[bytes], int]:
    """What follows the first ``count`` lines, and the number of the line it begins with."""
    line, data = 1, b""
    for piece in pieces:
        data += piece
        start = 0
        # A CR at the very end may be the first half of a CRLF.
        for found in _LINE_END.finditer(data, 0, len(data) - data.endswith(b"\r")):
            start, line = found.end(), line + 1
            if line > count:
                return chain([data[start:]] if data[start:] else [], pieces), line
        data = data[start:]
    return iter(()), line
