"""Binary COPY, decoded: any bytes cut at any place, any number, any day; and bytes that do not add up."""

from __future__ import annotations

import datetime as dt
import json
import random
import struct
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg8000.exceptions import DatabaseError

from etl_runner.sources.postgres import copy_wire
from etl_runner.sources.postgres.copy_columns import Field, record_batch
from etl_runner.sources.postgres.copy_times import date_text, timestamp_text
from etl_runner.sources.postgres.copy_wire import copy_rows
from etl_runner.sources.postgres.diagnose import Garbled

Row = Sequence[bytes | None]
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
READY = b"Z\0\0\0\5I"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", 4 + len(body)) + body


def row_of(row: Row) -> bytes:
    fields = (b"\xff\xff\xff\xff" if v is None else struct.pack(">I", len(v)) + v for v in row)
    return struct.pack(">H", len(row)) + b"".join(fields)


def answer(rows: Sequence[Row], *, end: bytes | None = None, sent: int | None = None) -> bytes:
    """What a server sends: the header in one message with the first row, then one message a row."""
    bodies = [row_of(row) for row in rows] or [b"\xff\xff"]
    parts = [message(b"H", b"\1\0\0"), message(b"d", HEADER + bodies[0])]
    parts += [message(b"d", body) for body in bodies[1:]]
    if rows:
        parts.append(message(b"d", b"\xff\xff"))
    count = len(rows) if sent is None else sent
    return b"".join(parts) + (end or message(b"c", b"") + message(b"C", b"COPY %d\0" % count) + READY)


class Server:
    """A connection over which ``data`` arrives in pieces of random sizes."""

    def __init__(self, data: bytes, seed: int = 0, most: int = 1 << 20) -> None:
        self._data = data
        self._random = random.Random(seed)
        self._most = most
        self._sock = SimpleNamespace(flush=lambda: None, readinto1=self._read)
        self.message_types = {b"Z": lambda *_: None, b"N": lambda *_: None, b"E": self._error}

    def send_QUERY(self, sql: str) -> None:
        assert sql == "COPY"

    def _read(self, into: memoryview) -> int:
        size = min(self._random.randint(1, self._most), len(into), len(self._data))
        into[:size], self._data = self._data[:size], self._data[size:]
        return size

    def _error(self, data: bytes, context: Any) -> None:
        context.error = DatabaseError({"M": data.decode()})


def batches(server: Server, fields: Sequence[Field]) -> Iterable[pa.RecordBatch]:
    for rows in copy_rows(server, "COPY", len(fields)):
        yield record_batch(rows, fields)


def read(rows: Sequence[Row], oids: Sequence[int], **server: Any) -> list[dict[str, Any]]:
    fields = [Field(f"c{number}", oid, -1) for number, oid in enumerate(oids)]
    found = batches(Server(answer(rows), **server), fields)
    return [row for batch in found for row in (batch.validate(full=True) or batch.to_pylist())]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.binary(max_size=60), st.none() | st.text(max_size=20)), max_size=40),
    st.integers(0, 1000),
    st.sampled_from([1, 3, 50, 400]),
)
def test_rows_are_whole_wherever_the_bytes_are_cut(
    rows: list[tuple[bytes | None, str | None]], seed: int, most: int
) -> None:
    sent = [(data, None if text is None else text.encode()) for data, text in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_wire, "BUFFER_BYTES", 256)
        got = read(sent, [17, 25], seed=seed, most=most)
    assert [(row["c0"], row["c1"]) for row in got] == rows


def test_a_value_that_looks_like_a_row_is_a_value() -> None:
    lure = row_of([b"x"])
    rows = [[message(b"d", lure) * 3 + b"Z\0\0\0\5"], [b"Z\0\0\0\5I"], [b"d\0\0\0\7\0\1"], [b""]]
    assert [row["c0"] for row in read(rows, [17], most=7)] == [row[0] for row in rows]


def test_a_row_larger_than_the_buffer_and_than_16_mib_arrives() -> None:
    rows = [[b"a"], [b"b" * (17 << 20)], [b"c"], [b"d" * (3 << 20)], [b"e"]]
    assert [row["c0"] for row in read(rows, [17], most=8 << 20)] == [row[0] for row in rows]


def test_notices_between_rows_are_no_rows() -> None:
    data = answer([[b"1"], [b"2"]])
    place = data.rindex(message(b"d", row_of([b"2"])))
    server = Server(data[:place] + message(b"N", b"C01000\0") + data[place:])
    assert [b.to_pylist() for b in batches(server, [Field("c", 25, -1)])] == [[{"c": "1"}], [{"c": "2"}]]


def numeric_bytes(number: Decimal) -> bytes:
    sign, _, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    fraction = -(-scale // 4)
    whole = int(abs(number).scaleb(scale)) * 10 ** (4 * fraction - scale)
    groups: list[int] = []
    while whole:
        whole, group = divmod(whole, 10_000)
        groups.insert(0, group)
    weight = len(groups) - fraction - 1 if groups else 0
    while groups and groups[-1] == 0:
        groups.pop()
    head = struct.pack(">HhHH", len(groups), weight, 0x4000 if sign and groups else 0, scale)
    return head + b"".join(struct.pack(">H", group) for group in groups)


def numbers(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    limit = 10**digits
    return st.builds(lambda n, s: Decimal(n).scaleb(-s), st.integers(-limit, limit), st.integers(0, places))


@settings(deadline=None)
@given(
    st.one_of(
        [st.lists(st.none() | numbers(d, p), max_size=30) for d, p in ((4, 2), (17, 9), (30, 2), (60, 40))]
    )
)
def test_numbers_are_the_same_numbers(values: list[Decimal | None]) -> None:
    rows = [[None if value is None else numeric_bytes(value)] for value in values]
    got = [row["c0"] for row in read(rows, [1700])]
    assert [None if value is None else Decimal(value) for value in got] == values


def test_a_column_with_a_special_number_is_text() -> None:
    special = [struct.pack(">HhHH", 0, 0, sign, 0) for sign in (0xC000, 0xD000, 0xF000)]
    rows = [[data] for data in [*special, numeric_bytes(Decimal("-1.50"))]]
    assert [row["c0"] for row in read(rows, [1700])] == ["NaN", "Infinity", "-Infinity", "-1.50"]


@given(st.dates(), st.datetimes(), st.uuids(), st.booleans(), st.integers(-(2**15), 2**15 - 1))
def test_fixed_values_are_the_same_values(
    day: dt.date, moment: dt.datetime, token: uuid.UUID, flag: bool, small: int
) -> None:
    micros = (moment - dt.datetime(2000, 1, 1)) // dt.timedelta(microseconds=1)
    days = (day - dt.date(2000, 1, 1)).days
    row = [
        struct.pack(">i", days),
        struct.pack(">q", micros),
        token.bytes,
        bytes([flag]),
        struct.pack(">h", small),
    ]
    ((got),) = [tuple(r.values()) for r in read([row], [1082, 1114, 2950, 16, 21])]
    assert got == (day, moment, str(token), flag, small)


def test_moments_that_bigquery_cannot_hold_stand_in_the_raw_column() -> None:
    days = {2**31 - 1: "infinity", -730_120: "0001-12-31 BC", 2_921_940: "10000-01-01", 0: None}
    rows: list[Row] = [[struct.pack(">i", day), struct.pack(">q", 0)] for day in days]
    rows.append([None, struct.pack(">q", 86_400_000_000)])
    got = read(rows, [1082, 1083])
    raw = [json.loads(row["__etl_raw"] or "{}") for row in got]
    assert raw == [*({"c0": text} if text else {} for text in days.values()), {"c1": "24:00:00"}]
    assert got[3]["c0"] == dt.date(2000, 1, 1)
    assert (got[0]["c0"], got[4]["c1"]) == (None, None)


def test_texts_of_days_are_the_servers() -> None:
    # As PostgreSQL 18 writes DATE '2000-01-01' + n and its like.
    assert [date_text(n) for n in (-730_550, -2_451_507, 59, 2_145_031_948)] == [
        "0002-10-28 BC",
        "4713-01-01 BC",
        "2000-02-29",
        "5874897-12-31",
    ]
    assert timestamp_text(-1, "+00") == "1999-12-31 23:59:59.999999+00"
    assert timestamp_text(-63_082_281_600_000_000, "+00") == "0001-01-01 00:00:00+00"
    assert timestamp_text(-63_082_281_600_000_000 - 500_000) == "0001-12-31 23:59:59.5 BC"


@pytest.mark.parametrize(
    ("data", "oid"),
    [
        (answer([[b"\0\0\0\1"]], sent=2), 23),  # fewer rows than the server counts
        (answer([[b"\0\0\1"]]), 23),  # three bytes of four
        (answer([[b"\2{}"]]), 3802),  # jsonb of a version to come
        (answer([[struct.pack(">HhHHH", 2, 0, 0, 0, 1)]]), 1700),
        (answer([[b"a", b"b"]]), 25),  # two fields of one
        (answer([[b"a"]]).replace(b"\0\0\0\1a", b"\0\0\0\2a"), 25),  # longer than its row
        (answer([[b"a"]]).replace(b"\0\0\0\1a", b"\x7f\0\0\0a"), 25),  # longer than what was sent
        (answer([[b"ab"]]).replace(b"\0\0\0\2ab", b"\0\0\0\1ab"), 25),  # shorter than its row
        (answer([[b"a"]]).replace(b"PGCOPY", b"PGCOPX"), 25),
        (answer([[b"a"]]).replace(message(b"d", b"\xff\xff"), b""), 25),  # no trailer
    ],
)
def test_bytes_that_do_not_add_up_are_refused(data: bytes, oid: int) -> None:
    with pytest.raises(Garbled):
        list(batches(Server(data), [Field("c", oid, -1)]))


def test_an_error_in_the_middle_is_the_servers() -> None:
    data = answer([[b"a"]], end=message(b"E", b"gone") + READY)
    with pytest.raises(DatabaseError, match="gone"):
        list(batches(Server(data), [Field("c", 25, -1)]))


def test_a_connection_that_ends_in_the_middle_is_lost() -> None:
    with pytest.raises(ConnectionResetError):
        list(batches(Server(answer([[b"a"]])[:-20]), [Field("c", 25, -1)]))
