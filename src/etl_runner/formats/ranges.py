"""Cutting one large plain file into parts that several workers read.

A part owns the lines that *begin* in it. This is safe only where every line feed ends a record, which
nothing in the part itself could tell otherwise:

- JSON Lines: a line feed cannot stand within a JSON text (strings hold it escaped, RFC 8259, section 7).
- CSV: only with ``quote: none`` and no ``escape``. With quotes a line feed may belong to a value, and
  whether it does is known only to who has read the file from its beginning, so such files are never cut.
- Either: only uncompressed, and in an encoding in which the byte 0x0A is a line feed and nothing else.

``skip_lines`` and the header belong to the first part; the others get the names from the plan.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from etl_runner.formats.base import FormatOptions, Opened, Part, wrong
from etl_runner.formats.compression import by_name

_PLAIN = ("utf-8", "utf-8-sig", "ascii")
_PLAIN_FAMILIES = ("iso8859", "cp125", "koi8", "mac-")
_READ = 1 << 20


def can_split(name: str, file_format: Literal["csv", "jsonl"], options: FormatOptions) -> bool:
    """Whether a file may be cut. ``compression: auto`` goes by the name; a file that turns out to be
    compressed all the same is refused by :func:`part_bytes`."""
    if options.compression != "none" and (options.compression != "auto" or by_name(name) != "none"):
        return False
    encoding = codecs.lookup(options.encoding).name
    if encoding not in _PLAIN and not encoding.startswith(_PLAIN_FAMILIES):
        return False
    return file_format == "jsonl" or (options.quote is None and options.escape is None)


def split(
    size: int, target: int, names: tuple[str, ...] | None = None, *, first: int = 0
) -> tuple[Part, ...]:
    """Cut ``size`` bytes into parts of about ``target`` bytes that tile the file.

    ``first`` is the least size of the first part: skipped lines and the header have to lie within it.
    """
    count = max(1, round(size / max(target, 1)))
    cuts = [0, *(cut for cut in (size * i // count for i in range(1, count)) if cut > first), size]
    return tuple(Part(a, b, names) for a, b in pairwise(cuts))


def part_bytes(opened: Opened, part: Part, pieces: Iterator[bytes], max_line: int) -> Iterator[bytes]:
    """The bytes of the lines that begin in ``part``. ``pieces`` begin at byte ``max(part.start - 1, 0)``:
    if that byte is a line feed, the part begins with a line, else its first line is the part's before.

    Raises:
        PermanentError: the file ends within the part, so it is not the file that was cut.
    """
    position = max(part.start - 1, 0)
    skipping = part.start > 0
    for piece in pieces:
        begins = position
        position += len(piece)
        if skipping:
            feed = piece.find(b"\n")
            if feed < 0:
                if position - part.start > max_line:
                    raise wrong(opened.name, f"has a line of more than {max_line} bytes at byte {part.start}")
                continue
            skipping = False
            begins += feed + 1
            piece = piece[feed + 1 :]
        if begins >= part.end:
            return
        if position < part.end:
            yield piece
            continue
        # The last line begins before the part's end: it is read up to its own.
        feed = piece.find(b"\n", part.end - 1 - begins)
        if feed >= 0:
            yield piece[: feed + 1]
            return
        yield piece
        yield from _to_line_end(pieces)
        return
    if position < part.end:
        raise wrong(opened.name, f"ends at byte {position}, before byte {part.end} where it was cut")


def _to_line_end(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        feed = piece.find(b"\n")
        if feed >= 0:
            yield piece[: feed + 1]
            return
        yield piece
