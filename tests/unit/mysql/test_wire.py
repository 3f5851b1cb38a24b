"""Rows of the text protocol, decoded from bytes cut at any place."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_runner.sources.mysql import wire

_EOF = b"\xfe\0\0\x02\0"


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    size = len(value)
    if size < 251:
        return bytes([size]) + value
    if size < 1 << 16:
        return b"\xfc" + size.to_bytes(2, "little") + value
    return b"\xfd" + size.to_bytes(3, "little") + value


class _Dribble(io.RawIOBase):
    """Gives the bytes in pieces of the given sizes, again and again."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes, self._turn = data, sizes, 0

    def read1(self, room: int) -> bytes:
        size = min(room, self._sizes[self._turn % len(self._sizes)])
        self._turn += 1
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def _connection(payloads: list[bytes], columns: int, sizes: list[int], first: int = 3) -> Any:
    """A connection whose query has been answered up to the column descriptions."""
    data = b""
    for number, payload in enumerate(payloads, first):
        data += len(payload).to_bytes(3, "little") + bytes([number & 0xFF]) + payload

    def query(sql: str, unbuffered: bool) -> None:
        assert unbuffered

    return SimpleNamespace(
        query=query,
        _result=SimpleNamespace(field_count=columns, unbuffered_active=True),
        _rfile=_Dribble(data, sizes),
        _next_seq_id=first & 0xFF,
        encoding="utf8",
    )


def _read(connection: Any) -> list[tuple[bytes | None, ...]]:
    rows: list[tuple[bytes | None, ...]] = []
    for chunk in wire.chunks(connection, "SELECT"):
        rows += zip(*(array.to_pylist() for array in chunk.arrays()), strict=True)
    return rows


_SIZES = st.lists(st.integers(1, 5_000), min_size=1, max_size=5)
_VALUES = st.none() | st.binary(max_size=20) | st.integers(0, 70_000).map(lambda size: b"v" * size)


@settings(deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.tuples(*[_VALUES] * width), min_size=1, max_size=300)
    ),
    sizes=_SIZES,
    first=st.integers(1, 300),
)
def test_every_value_comes_back(rows: list[tuple[bytes | None, ...]], sizes: list[int], first: int) -> None:
    payloads = [b"".join(map(_value, row)) for row in rows]
    assert _read(_connection([*payloads, _EOF], len(rows[0]), sizes, first)) == rows


def test_rows_of_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks end in the middle of packets, and a row may be longer than a chunk."""
    monkeypatch.setattr(wire, "CHUNK_BYTES", 100)
    monkeypatch.setattr(wire, "CHUNK_ROWS", 7)
    rows = [(b"%d" % number, None if number % 3 else b"x" * (number * 7 % 400)) for number in range(500)]
    payloads = [b"".join(map(_value, row)) for row in rows]
    for sizes in ([1], [3, 50], [1_000]):
        connection = _connection([*payloads, _EOF], 2, sizes)
        assert _read(connection) == rows


def test_a_row_of_several_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_FULL_PACKET", 0xFF)
    long = b"y" * 700
    row = _value(long) + _value(None)
    pieces = [row[at : at + 0xFF] for at in range(0, len(row), 0xFF)]
    exact = _value(b"z" * (2 * 0xFF - 4)) + _value(None)
    pieces_of_exact = [exact[:0xFF], exact[0xFF:], b""]
    assert len(exact) == 2 * 0xFF
    payloads = [_value(b"a") + _value(b"b"), *pieces, *pieces_of_exact, _value(b"c") + _value(b"d"), _EOF]
    assert _read(_connection(payloads, 2, [100])) == [
        (b"a", b"b"),
        (long, None),
        (b"z" * (2 * 0xFF - 4), None),
        (b"c", b"d"),
    ]


def test_no_rows() -> None:
    assert _read(_connection([_EOF], 2, [100])) == []


def test_an_error_behind_some_rows() -> None:
    """Rows before it come out; then it is raised, with the server's number."""
    error = b"\xff" + (1317).to_bytes(2, "little") + b"#70100Query execution was interrupted"
    chunks = wire.chunks(_connection([_value(b"a"), error], 1, [100]), "SELECT")
    assert next(chunks).arrays()[0].to_pylist() == [b"a"]
    with pytest.raises(pymysql.MySQLError) as caught:
        next(chunks)
    assert caught.value.args[0] == 1317


def test_the_connection_ends_within_a_row() -> None:
    with pytest.raises(pymysql.OperationalError, match="Lost connection"):
        _read(_connection([_value(b"a")], 1, [100]))


def test_a_packet_that_is_missing() -> None:
    connection = _connection([_value(b"a"), _value(b"b"), _EOF], 1, [100])
    connection._next_seq_id = 2
    with pytest.raises(pymysql.OperationalError, match="out of order"):
        _read(connection)
