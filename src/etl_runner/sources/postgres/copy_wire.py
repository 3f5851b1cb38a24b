"""Rows of ``COPY ... TO STDOUT (FORMAT binary)``, found in the bytes as they arrive.

The server sends each row as one CopyData message
(https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY,
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"). numpy finds where the messages of a
whole buffer begin: every place that looks like a row's head is taken, and they are the rows when each one
ends where the next one begins. If not, because the bytes of a value look like a head, Python steps from
message to message.

pg8000 connects and sends the query; its socket file is then read directly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl_runner.sources.postgres.diagnose import Garbled

BUFFER_BYTES = 1 << 20
"""Small enough to stay in a processor's cache while it is gone through column by column."""
SLACK = 16
"""Bytes behind the rows, so that eight bytes can be taken from any place among them."""
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_TRAILER = b"\xff\xff"
_READY = b"Z\0\0\0\5"
_COPY_OUT, _COPY_DATA, _COPY_DONE, _COMPLETE, _READY_FOR_QUERY = b"HdcCZ"
_HEAD = struct.Struct(">BI")
_WITH_OIDS = 1 << 16


@dataclass(frozen=True)
class Rows:
    """Rows in a buffer that is used again for the next ones. Row ``i`` is ``data[starts[i]:ends[i]]``:
    two bytes with the number of fields, then the fields. :data:`SLACK` bytes behind the last one exist."""

    data: bytearray
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def copy_rows(connection: Any, sql: str, columns: int) -> Iterator[Rows]:
    """Run the COPY statement and give its rows, about :data:`BUFFER_BYTES` at a time.

    Args:
        connection: pg8000's. Not read to its end, it is of no further use.
        sql: the COPY statement, in binary format.
        columns: of its result.

    Raises:
        pg8000.exceptions.Error, OSError: what the server or the network reports.
        Garbled: the answer is no such copy.
    """
    return _Stream(connection, columns).rows(sql)


class _Stream:
    def __init__(self, connection: Any, columns: int) -> None:
        self._connection = connection
        self._columns = columns
        self._buffer = bytearray(BUFFER_BYTES + SLACK)
        self._at = 0
        self._filled = 0
        self._begun = self._trailed = self._ended = False
        self._given = 0
        self._sent: int | None = None

    def rows(self, sql: str) -> Iterator[Rows]:
        from pg8000.core import Context

        self._connection.send_QUERY(sql)
        self._connection._sock.flush()
        context = Context("COPY")
        while not self._ended:
            self._fill()
            while not self._ended:
                found = self._scan() if self._begun else None
                if found is None:
                    found = self._message(context)
                if found is None:
                    break
                if len(found[0]):
                    self._given += len(found[0])
                    yield Rows(self._buffer, *found)
        if context.error is not None:
            raise context.error
        if not self._trailed or self._sent != self._given:
            raise Garbled(f"{self._given} rows arrived, and the server says that it sent {self._sent}")

    def _fill(self) -> None:
        """Read until the buffer is full or the answer seems to be complete."""
        self._make_room()
        room = memoryview(self._buffer)[: len(self._buffer) - SLACK]
        read = self._connection._sock.readinto1
        while self._filled < len(room):
            got = read(room[self._filled :])
            if not got:
                raise ConnectionResetError("the server closed the connection")
            self._filled += got
            # Five bytes and the transaction's status; if it is a value that ends so, we only look too early.
            if room[self._filled - 6 : self._filled - 1] == _READY:
                return

    def _make_room(self) -> None:
        """Move what is left to the front, into a larger buffer when one message needs it."""
        rest = self._buffer[self._at : self._filled]
        needed = BUFFER_BYTES
        if len(rest) >= _HEAD.size:
            needed = max(needed, 1 + _HEAD.unpack_from(rest)[1])
        if needed + SLACK != len(self._buffer):
            self._buffer = bytearray(max(needed, len(rest)) + SLACK)
        self._buffer[: len(rest)] = rest
        self._at, self._filled = 0, len(rest)

    def _scan(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The rows from here on up to the first message that is none, or is not complete; None: no row."""
        count = self._filled - self._at
        if count < 8:
            return None
        # The length's first byte is 0 for rows below 16 MiB: the letter and a zero are looked for as pairs of
        # bytes, once at the even and once at the odd places.
        pairs = (count - 6) // 2
        even, odd = (np.frombuffer(self._buffer, "<u2", pairs, self._at + shift) for shift in (0, 1))
        heads = np.concatenate(
            [2 * np.flatnonzero(even == _COPY_DATA), 2 * np.flatnonzero(odd == _COPY_DATA) + 1]
        )
        heads.sort(kind="stable")
        heads += self._at
        # The number of fields follows the length.
        fields = np.ndarray((len(self._buffer) - 1,), ">u2", self._buffer, strides=(1,))
        heads = heads[fields[heads + 5] == self._columns]
        if not len(heads) or heads[0] != self._at:
            return None
        lengths = np.ndarray((len(self._buffer) - 3,), ">u4", self._buffer, strides=(1,))[heads + 1]
        ends = heads + 1 + lengths
        if not np.array_equal(ends[:-1], heads[1:]):
            heads, ends = self._step()
        whole = len(ends) if ends[-1] <= self._filled else len(ends) - 1
        if not whole:
            return None
        self._at = int(ends[whole - 1])
        return heads[:whole] + 5, ends[:whole]

    def _step(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same from message to message; the last row may not be complete."""
        heads: list[int] = []
        ends: list[int] = []
        at, columns = self._at, struct.pack(">H", self._columns)
        while at <= self._filled - 7:
            kind, size = _HEAD.unpack_from(self._buffer, at)
            if kind != _COPY_DATA or self._buffer[at + 5 : at + 7] != columns:
                break
            heads.append(at)
            at += 1 + size
            ends.append(at)
        return np.array(heads, np.int64), np.array(ends, np.int64)

    def _message(self, context: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Deal with one message that :meth:`_scan` left; None when it is not complete yet."""
        if self._filled - self._at < _HEAD.size:
            return None
        kind, size = _HEAD.unpack_from(self._buffer, self._at)
        begin, end = self._at + _HEAD.size, self._at + 1 + size
        if end > self._filled:
            return None
        self._at = end
        none: NDArray[np.int64] = np.zeros(0, np.int64)
        if kind == _COPY_DATA:
            if not self._begun:
                self._begin(begin, end)
            elif self._buffer[begin:end] == _TRAILER:
                self._trailed = True
            elif self._buffer[begin : begin + 2] == struct.pack(">H", self._columns) and not self._trailed:
                return np.array([begin], np.int64), np.array([end], np.int64)
            else:
                raise Garbled(f"a row does not have {self._columns} fields")
            return none, none
        message = bytes(self._buffer[begin:end])
        if kind == _COMPLETE:
            # "COPY 1234": the server's own count.
            self._sent = int(message.rstrip(b"\0").rpartition(b" ")[2])
        elif kind not in (_COPY_OUT, _COPY_DONE):
            # Errors, notices, changed settings, the end: as for any other query.
            self._connection.message_types[bytes([kind])](message, context)
            self._ended = kind == _READY_FOR_QUERY
        return none, none

    def _begin(self, begin: int, end: int) -> None:
        """The copy's header; the first row follows it in the same message."""
        if self._buffer[begin : begin + len(_SIGNATURE)] != _SIGNATURE:
            raise Garbled("the copy does not begin with its signature")
        flags, extension = struct.unpack_from(">II", self._buffer, begin + len(_SIGNATURE))
        if flags & _WITH_OIDS:
            raise Garbled("the copy has OIDs")
        row = begin + len(_SIGNATURE) + 8 + extension
        self._begun = True
        if row < end:
            # The row becomes a message of its own: its head is written over the header's end.
            self._at = row - _HEAD.size
            _HEAD.pack_into(self._buffer, self._at, _COPY_DATA, 4 + end - row)
