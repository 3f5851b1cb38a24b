"""Rows of the text protocol, chunk by chunk and column by column, without a Python object for each value.

In the text protocol (https://mariadb.com/kb/en/resultset-row/) a row is a packet of length-encoded strings:
each value is exactly what the server itself prints. Python walks from packet to packet, one step a row; all
else is done by numpy over a whole chunk: where each value of a column begins and how long it is follows from
where the one before it ended.

PyMySQL sends the query and reads the column descriptions; its socket file is then read directly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_BYTES = 1 << 20
"""Small enough to stay in a processor's cache while it is gone through column by column."""
CHUNK_ROWS = 65_536
_FULL_PACKET = 0xFFFFFF
"""A packet of this length goes on in the next one."""
_SLACK = 16
"""Bytes behind the data, so that a length can be taken from any place in it."""
_NULL, _TWO, _THREE, _EIGHT = 0xFB, 0xFC, 0xFD, 0xFE
"""First bytes that are no length: NULL, and lengths in the 2, 3 or 8 bytes that follow."""
_EOF, _ERROR = 0xFE, 0xFF
_WORD = struct.Struct("<I")


@dataclass(frozen=True)
class Chunk:
    """Some rows: ``data`` holds them (and :data:`_SLACK` bytes more), row ``i`` begins at ``starts[i]``."""

    data: bytes | bytearray
    starts: NDArray[np.int64]
    columns: int

    def arrays(self) -> list[pa.Array]:
        """One array of type binary for each column; they keep nothing of ``data``."""
        import pyarrow as pa

        from etl_runner.sources.gather import gathered

        data = np.frombuffer(self.data, np.uint8)
        at = self.starts
        result = []
        for _ in range(self.columns):
            begin, length, null = _place(data, at)
            result.append(gathered(pa.binary(), self.data, begin, length, None if null is None else ~null))
            at = begin + length
        return result


def _place(
    data: NDArray[np.uint8], at: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_] | None]:
    """Where the values begin whose length prefixes stand at ``at``, their lengths, and which are NULL."""
    first = data[at]
    length = first.astype(np.int64)
    begin = at + 1
    if not len(first) or first.max() < _NULL:
        return begin, length, None
    null = first == _NULL
    length[null] = 0
    for mark, size in ((_TWO, 2), (_THREE, 3), (_EIGHT, 8)):
        rows = np.flatnonzero(first == mark)
        if len(rows):
            length[rows] = sum(
                data[at[rows] + 1 + place].astype(np.int64) << (8 * place) for place in range(size)
            )
            begin[rows] += size
    return begin, length, null


def chunks(connection: Any, sql: str) -> Iterator[Chunk]:
    """Run a query and give its rows in chunks of about :data:`CHUNK_BYTES`.

    Memory holds one chunk, however many rows there are; a row longer than a chunk makes a larger one.
    Not read to its end, the connection is of no further use.

    Raises:
        pymysql.MySQLError, OSError: what the server or the network reports.
    """
    import pymysql
    from pymysql.protocol import MysqlPacket

    # The connection's own way of an unbuffered query: it stops behind the column descriptions.
    connection.query(sql, unbuffered=True)
    result = connection._result
    # Its destructor would read on in our stead.
    result.unbuffered_active = False
    connection._result = None
    if not result.field_count:
        raise pymysql.InternalError("the statement gives no rows")
    stream = _Packets(connection)
    for data, starts in stream.groups():
        yield Chunk(data, starts, result.field_count)
    end = MysqlPacket(stream.last, connection.encoding)
    if end.is_error_packet():
        end.raise_for_error()


class _Packets:
    """The packets behind the column descriptions, up to the one that ends the result."""

    def __init__(self, connection: Any) -> None:
        self._file = connection._rfile
        self._sequence = connection._next_seq_id
        self._buffer = bytearray(CHUNK_BYTES + _SLACK)
        self._filled = 0
        self._at = 0
        self._ended = False
        self.last = b""
        """The packet that ended the result: EOF or an error."""

    def groups(self) -> Iterator[tuple[bytes | bytearray, NDArray[np.int64]]]:
        """Buffers with the places of the rows in them, never without a row."""
        while not self._ended:
            starts = self._scan()
            if starts:
                place = np.array(starts, np.int64)
                self._check(np.frombuffer(self._buffer, np.uint8)[place - 1])
                yield self._swap(), place
            elif not self._ended and self._joined_ahead():
                row = self._join()
                yield row + bytes(_SLACK), np.zeros(1, np.int64)

    def _scan(self) -> list[int]:
        """Read until the chunk is full or something else than a row of one packet comes."""
        starts: list[int] = []
        append, word = starts.append, _WORD.unpack_from
        while True:
            buffer, at, filled = self._buffer, self._at, self._filled
            # Four bytes of header, and the packet's first.
            last = filled - 5
            for _ in range(CHUNK_ROWS - len(starts)):
                if at > last:
                    break
                size = word(buffer, at)[0] & _FULL_PACKET
                end = at + 4 + size
                if size == _FULL_PACKET:
                    self._at = at
                    return starts
                if end > filled:
                    break
                first = buffer[at + 4]
                if first >= _EOF and (first == _ERROR or size < 9):
                    # A row may begin with 0xFE too, for a value beyond 16 MiB: it is a longer packet.
                    self._at, self._ended = end, True
                    self.last = bytes(buffer[at + 4 : end])
                    return starts
                append(at + 4)
                at = end
            self._at = at
            if len(starts) >= CHUNK_ROWS or (starts and filled >= CHUNK_BYTES):
                return starts
            self._fill()

    def _fill(self) -> None:
        """Read what is there, at least a byte; make room when the packet is larger than the buffer."""
        import pymysql

        room = len(self._buffer) - _SLACK - self._filled
        if room <= 0:
            larger = bytearray(2 * len(self._buffer))
            larger[: self._filled] = self._buffer[: self._filled]
            self._buffer = larger
            room = len(larger) - _SLACK - self._filled
        got = self._file.read1(room)
        if not got:
            raise pymysql.OperationalError(2013, "Lost connection to MySQL server during query")
        self._buffer[self._filled : self._filled + len(got)] = got
        self._filled += len(got)

    def _swap(self) -> bytearray:
        """Hand the buffer out, and begin another with what of it is not used yet."""
        full, rest = self._buffer, self._buffer[self._at : self._filled]
        self._buffer = bytearray(max(CHUNK_BYTES, len(rest)) + _SLACK)
        self._buffer[: len(rest)] = rest
        self._at, self._filled = 0, len(rest)
        return full

    def _joined_ahead(self) -> bool:
        if self._filled - self._at < 4:
            return False
        size: int = _WORD.unpack_from(self._buffer, self._at)[0] & _FULL_PACKET
        return size == _FULL_PACKET

    def _join(self) -> bytes:
        """One row of several packets."""
        parts = []
        while True:
            size, sequence = self._header()
            self._check(np.array([sequence], np.uint8))
            while self._filled - self._at < 4 + size:
                self._fill()
            parts.append(bytes(self._buffer[self._at + 4 : self._at + 4 + size]))
            self._at += 4 + size
            self._swap()
            if size < _FULL_PACKET:
                return b"".join(parts)

    def _header(self) -> tuple[int, int]:
        while self._filled - self._at < 4:
            self._fill()
        header = _WORD.unpack_from(self._buffer, self._at)[0]
        return header & _FULL_PACKET, header >> 24

    def _check(self, sequence: NDArray[np.uint8]) -> None:
        """Packets are numbered modulo 256; a gap means that bytes were lost or misread."""
        import pymysql

        expected = (np.arange(len(sequence)) + self._sequence) & 0xFF
        if not np.array_equal(sequence, expected):
            raise pymysql.OperationalError(2013, "packets out of order")
        self._sequence = (self._sequence + len(sequence)) & 0xFF
