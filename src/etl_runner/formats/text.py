"""Text files as UTF-8 bytes: decompressed, in the stated encoding, without a byte order mark.

A file in UTF-8 is passed on as it is; what in it is not UTF-8 is found row by row later, so that one bad
row costs one row. In another encoding a byte that means nothing ends the reading with an error that says
where, because after it nothing says where the next row begins.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from etl_runner.formats.base import FormatOptions, Opened, Part, wrong
from etl_runner.formats.compression import plain_bytes
from etl_runner.formats.ranges import part_bytes

_UTF8 = ("utf-8", "utf-8-sig", "ascii")
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_PIECE = 1 << 20


def is_utf8(encoding: str) -> bool:
    """The encoding is UTF-8, or ASCII, which is a part of it."""
    return codecs.lookup(encoding).name in _UTF8


def utf8_bytes(opened: Opened, options: FormatOptions, part: Part | None = None) -> Iterator[bytes]:
    """The text of the file, or of a part of it, in UTF-8, in pieces.

    Raises:
        PermanentError: the compressed stream is truncated or damaged, or the encoding is another one.
    """
    at_start = part is None or part.start == 0
    # The middle of a plain file may look like anything.
    pieces = plain_bytes(opened, options.compression if at_start else "none")
    if part is not None:
        pieces = part_bytes(opened, part, pieces, options.max_record_bytes)
    if not is_utf8(options.encoding):
        return _transcoded(opened.name, pieces, options.encoding, 0 if part is None else part.start)
    return _without_mark(opened.name, pieces) if at_start else pieces


def _without_mark(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= 4:
            break
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            raise wrong(name, f"begins with the byte order mark of {encoding}: set encoding: {encoding}")
    head = head.removeprefix(codecs.BOM_UTF8)
    if head:
        yield head
    yield from pieces


def _transcoded(name: str, pieces: Iterator[bytes], encoding: str, offset: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    first = offset == 0
    for piece in pieces:
        text = _decode(name, decoder, piece, encoding, offset)
        offset += len(piece)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        if text:
            yield _encode(name, text, encoding, offset)
    rest = _decode(name, decoder, b"", encoding, offset, final=True)
    if rest:
        yield _encode(name, rest, encoding, offset)


def _decode(
    name: str,
    decoder: codecs.IncrementalDecoder,
    piece: bytes,
    encoding: str,
    offset: int,
    *,
    final: bool = False,
) -> str:
    held = decoder.getstate()[0]
    pending = len(held) if isinstance(held, bytes) else 0
    try:
        return decoder.decode(piece, final)
    except UnicodeError as error:
        within = error.start if isinstance(error, UnicodeDecodeError) else 0
        at = max(offset - pending + within, 0)
        raise wrong(name, f"is not {encoding} text at byte {at}: set encoding to what it is") from error


def _encode(name: str, text: str, encoding: str, offset: int) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # Some codecs let half a pair of surrogates through, which UTF-8 cannot hold.
        raise wrong(name, f"holds text before byte {offset} that is no Unicode text in {encoding}") from error
