"""Compressed files as plain bytes: streaming, in constant memory, and whole or an error.

gzip may have several members (RFC 1952, section 2.2), bz2 several streams, zstd several frames (RFC 8878,
section 3); all are read to the end. ``auto`` looks at the first bytes, and the name's ending must agree:
a file named ``.gz`` that does not begin like one is refused rather than read as text. gzip and bz2 always
carry a checksum of their content; a zstd frame may lack one, and then damage within it may go unseen.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from typing import IO, Any, Literal, Protocol

import pyarrow as pa

from etl_runner.formats.base import Compression, Opened, wrong

Codec = Literal["none", "gzip", "zstd", "bz2"]
_ENDINGS: dict[str, Codec] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2"}
_PIECE = 1 << 20
HEAD_BYTES = 10
"""Enough of a file to tell its compression."""


def by_name(name: str) -> Codec:
    """The compression that a name's ending says."""
    lower = name.lower()
    return next((codec for ending, codec in _ENDINGS.items() if lower.endswith(ending)), "none")


def by_magic(head: bytes) -> Codec:
    """The compression that a file's first :data:`HEAD_BYTES` bytes say."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    # A frame, or a skippable one before it.
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    # The block's or the empty stream's magic follows the level.
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bz2"
    return "none"


def codec_of(name: str, head: bytes, compression: Compression) -> Codec:
    """How to read the file.

    Raises:
        PermanentError: its name and its first bytes contradict each other.
    """
    if compression != "auto":
        return compression
    named, found = by_name(name), by_magic(head)
    if named != "none" and found != named:
        what = f"but begins like {found}" if found != "none" else "but does not begin like it"
        raise wrong(name, f"is named like {named} {what}: set compression, or give the file its true ending")
    return found


class Counted:
    """A stream that counts what was read of it, with its first bytes put back."""

    def __init__(self, stream: IO[bytes], head: bytes = b"") -> None:
        self._stream = stream
        self._head = head
        self.empty = not head
        self.offset = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty only at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            data = self._stream.read(size)
        self.offset += len(data)
        return data

    def readable(self) -> bool:
        """Asked for by Arrow."""
        return True

    def close(self) -> None:
        """The stream's owner closes it."""


def plain_bytes(opened: Opened, compression: Compression) -> Iterator[bytes]:
    """The file's content, decompressed, in pieces of at most about 1 MiB.

    Raises:
        PermanentError: the file ends before its compressed stream does, is damaged, or goes on with
            something else; the message has the offset in the compressed file.
    """
    head = b""
    while len(head) < HEAD_BYTES and (more := opened.stream.read(HEAD_BYTES - len(head))):
        head += more
    codec = codec_of(opened.name, head, compression)
    source = Counted(opened.stream, head)
    if codec == "none":
        while data := source.read(_PIECE):
            yield data
    elif codec == "zstd":
        yield from _zstd(opened.name, source)
    elif codec == "gzip":
        yield from _members(opened.name, source, "gzip")
    else:
        yield from _members(opened.name, source, "bz2")


class _Member(Protocol):
    """One gzip member or bz2 stream."""

    eof: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """At most :data:`_PIECE` decompressed bytes, and the input that is still to be fed."""

    def left(self) -> bytes:
        """After the end: the input beyond it."""


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        plain = self._inner.decompress(data, _PIECE)
        return plain, self._inner.unconsumed_tail

    def left(self) -> bytes:
        return self._inner.unused_data


class _Bz2:
    def __init__(self) -> None:
        self._inner = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return self._inner.decompress(data, _PIECE), b""

    def waiting(self) -> bool:
        return not self._inner.needs_input

    def left(self) -> bytes:
        return self._inner.unused_data


def _members(name: str, source: Counted, codec: Literal["gzip", "bz2"]) -> Iterator[bytes]:
    data = source.read(_PIECE)
    if not data:
        raise _truncated(name, codec, source.offset)
    while data:
        member: Any = _Gzip() if codec == "gzip" else _Bz2()
        while not member.eof:
            waiting = isinstance(member, _Bz2) and member.waiting()
            if not data and not waiting and not (data := source.read(_PIECE)):
                raise _truncated(name, codec, source.offset)
            try:
                plain, data = member.feed(data)
            except (zlib.error, OSError, EOFError) as error:
                raise wrong(
                    name, f"is damaged: its {codec} stream cannot be read near byte {source.offset}"
                ) from error
            if plain:
                yield plain
        data = _next_member(name, source, codec, member.left())


def _next_member(name: str, source: Counted, codec: str, data: bytes) -> bytes:
    """What follows a member: another one, or zeros that pad the file, or nothing."""
    data = data or source.read(_PIECE)
    if codec == "gzip":
        # Zero bytes pad files to the size of a tape's or a disk's block.
        while data and not data.lstrip(b"\0"):
            data = source.read(_PIECE)
        data = data.lstrip(b"\0")
    start = b"\x1f\x8b" if codec == "gzip" else b"BZh"
    while data and len(data) < len(start) and (more := source.read(_PIECE)):
        data += more
    if data and not data.startswith(start):
        if start.startswith(data):
            raise _truncated(name, codec, source.offset)
        at = source.offset - len(data)
        raise wrong(name, f"goes on with something that is not {codec} at byte {at}")
    return data


def _zstd(name: str, source: Counted) -> Iterator[bytes]:
    # Arrow takes no bytes at all for a whole stream.
    if source.empty:
        raise _truncated(name, "zstd", 0)
    stream = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")
    while True:
        try:
            plain = stream.read(_PIECE)
        except OSError as error:
            if "runcated" in str(error):
                raise _truncated(name, "zstd", source.offset) from error
            raise wrong(
                name, f"is damaged: its zstd stream cannot be read near byte {source.offset}"
            ) from error
        if not plain:
            return
        yield plain


def _truncated(name: str, codec: str, offset: int) -> Exception:
    return wrong(name, f"is truncated: its {codec} stream goes on after byte {offset}, where the file ends")
