"""Every type: read, converted, and compared with what the server itself prints for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from tests.integration.mysql.support import Database, plan_of, read_all, source_of

pytestmark = pytest.mark.stack


@dataclass
class Loaded:
    """What arrives: the destination's type, values by row number, rejected values by row number."""

    type: str
    values: dict[int, Any]
    rejected: dict[int, str | None]


def load(database: Database, field: BqField | None = None, **fields: Any) -> Loaded:
    """Read column ``v`` of table ``t`` and convert it as a worker does; rows go by ``id``."""
    source = source_of(database, **({"source_table_name": "t"} | fields))
    plan, _ = plan_of(source, fields={"v": field} if field else None)
    columns = {column.source: column for column in plan.header.columns}
    values: dict[int, Any] = {}
    rejected: dict[int, str | None] = {}
    converter = Converter(plan.header.columns, unit="u00000")
    for batch in read_all(source, plan).batches:
        converted = converter.convert(batch)
        values |= dict(
            zip(
                converted.batch.column("id").to_pylist(), converted.batch.column("v").to_pylist(), strict=True
            )
        )
        ids = batch.column("id").to_pylist()
        rejected |= {ids[reject.row - 1]: reject.value for reject in converted.rejects}
    return Loaded(columns["v"].destination.type, values, rejected)


def fill(database: Database, type_sql: str, *values: str) -> None:
    """Table ``t`` with these values (SQL) in column ``v``, numbered from 1."""
    database.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {type_sql})")
    for number, value in enumerate(values, 1):
        database.execute(f"INSERT INTO t VALUES ({number}, {value})")


def plain(value: Any) -> str | None:
    """A Python value as the server spells it."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return None if value is None else str(value)


_NUMBERS = [
    ("tinyint", "INT64", ["-128", "127", "0", "NULL"]),
    ("tinyint(1)", "INT64", ["2", "0", "1", "-128", "NULL"]),
    ("tinyint unsigned", "INT64", ["255", "0"]),
    ("smallint", "INT64", ["-32768", "32767"]),
    ("smallint unsigned", "INT64", ["65535"]),
    ("mediumint", "INT64", ["-8388608", "8388607"]),
    ("mediumint unsigned", "INT64", ["16777215"]),
    ("int", "INT64", ["-2147483648", "2147483647", "NULL"]),
    ("int unsigned", "INT64", ["4294967295"]),
    ("int(10) unsigned zerofill", "INT64", ["7"]),
    ("bigint", "INT64", ["-9223372036854775808", "9223372036854775807", "NULL"]),
    ("bigint unsigned", "NUMERIC", ["18446744073709551615", "9223372036854775808", "0", "NULL"]),
    ("year", "INT64", ["1901", "2155", "0", "NULL"]),
    ("decimal(38,9)", "NUMERIC", ["12345678901234567890123456789.123456789", "-0.000000001", "NULL"]),
    ("decimal(12,2)", "NUMERIC", ["1.10", "-9999999999.99", "0"]),
    (
        "decimal(65,30)",
        "BIGNUMERIC",
        ["99999999999999999999999999999999999." + "9" * 30, "-1." + "0" * 29 + "1"],
    ),
    ("decimal(10,0)", "NUMERIC", ["-9999999999"]),
]


@pytest.mark.parametrize(("type_sql", "expected", "values"), _NUMBERS, ids=[row[0] for row in _NUMBERS])
def test_numbers(mariadb: Database, type_sql: str, expected: str, values: list[str]) -> None:
    fill(mariadb, type_sql, *values)
    loaded = load(mariadb)
    assert loaded.type == expected
    assert not loaded.rejected
    for number, text in mariadb.text("SELECT id, v FROM t"):
        value = loaded.values[int(number or 0)]
        assert (None if value is None else Decimal(value)) == (None if text is None else Decimal(text))


def test_a_decimal_beyond_bignumeric_is_text(mariadb: Database) -> None:
    fill(mariadb, "decimal(65,0)", "9" * 65, "-1", "NULL")
    loaded = load(mariadb)
    assert (loaded.type, loaded.values) == ("STRING", {1: "9" * 65, 2: "-1", 3: None})


def test_a_decimal_with_too_many_digits_for_the_destination_is_rejected(mariadb: Database) -> None:
    fill(mariadb, "decimal(65,0)", "9" * 65, "17")
    loaded = load(mariadb, BqField("v", "BIGNUMERIC"))
    assert loaded.values == {2: Decimal(17)}
    assert loaded.rejected == {1: "9" * 65}


def test_tinyint_as_bool_takes_zero_and_one(mariadb: Database) -> None:
    fill(mariadb, "tinyint(1)", "0", "1", "2", "NULL")
    loaded = load(mariadb, BqField("v", "BOOL"))
    assert loaded.values == {1: False, 2: True, 4: None}
    assert loaded.rejected == {3: "2"}


@pytest.mark.parametrize("bits", [1, 8, 63, 64])
def test_bits(mariadb: Database, bits: int) -> None:
    fill(mariadb, f"bit({bits})", "0", "1", str(2**bits - 1), "NULL")
    loaded = load(mariadb)
    assert loaded.type == ("INT64" if bits < 64 else "NUMERIC")
    assert loaded.values == {1: 0, 2: 1, 3: 2**bits - 1, 4: None}


_TIMES = [
    ("date", "DATE", ["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "NULL"], []),
    ("date", "DATE", ["'2024-01-01'"], ["'0000-00-00'", "'2021-00-10'", "'2021-10-00'", "'2021-02-30'"]),
    ("datetime", "DATETIME", ["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"], ["'0000-00-00 00:00:00'"]),
    ("datetime(6)", "DATETIME", ["'2024-10-27 02:30:00.000001'", "'2024-10-27 02:30:00.999999'"], []),
    ("datetime(3)", "DATETIME", ["'1969-12-31 23:59:59.999'"], ["'2021-02-31 10:00:00.5'"]),
    (
        "timestamp(6) NULL",
        "TIMESTAMP",
        ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'", "NULL"],
        ["0"],
    ),
    (
        "time",
        "TIME",
        ["'00:00:00'", "'23:59:59'"],
        ["'24:00:00'", "'-00:00:01'", "'838:59:59'", "'-838:59:59'"],
    ),
    ("time(6)", "TIME", ["'12:34:56.000001'", "NULL"], ["'100:00:00.5'"]),
]


@pytest.mark.parametrize(("type_sql", "expected", "good", "bad"), _TIMES, ids=[row[0] for row in _TIMES])
def test_dates_and_times(
    mariadb: Database, type_sql: str, expected: str, good: list[str], bad: list[str]
) -> None:
    fill(mariadb, type_sql, *good, *bad)
    loaded = load(mariadb)
    assert loaded.type == expected
    assert len(loaded.values) == len(good)
    assert len(loaded.rejected) == len(bad)
    for number, text in mariadb.text("SELECT id, v FROM t"):
        row = int(number or 0)
        if row > len(good):
            assert loaded.rejected[row] == text
            continue
        value = loaded.values[row]
        if value is None:
            assert text is None
        else:
            spelled = value.isoformat(sep=" ") if expected in ("DATETIME", "TIMESTAMP") else value.isoformat()
            whole, _, fraction = spelled.removesuffix("+00:00").partition(".")
            its_whole, _, its_fraction = (text or "").partition(".")
            assert (whole, fraction.rstrip("0")) == (its_whole, its_fraction.rstrip("0"))


def test_times_over_a_day_are_kept_as_text(mariadb: Database) -> None:
    fill(mariadb, "time(6)", "'838:59:59'", "'-00:00:00.000001'", "NULL")
    assert load(mariadb, BqField("v", "STRING")).values == {
        1: "838:59:59.000000",
        2: "-00:00:00.000001",
        3: None,
    }


def test_zero_dates_are_kept_as_text(mariadb: Database) -> None:
    fill(mariadb, "datetime", "'0000-00-00'", "'2021-02-30 10:00:00'")
    loaded = load(mariadb, BqField("v", "STRING"))
    assert loaded.values == {1: "0000-00-00 00:00:00", 2: "2021-02-30 10:00:00"}


def test_a_timestamp_is_the_same_instant_whatever_the_sessions_zone(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v timestamp NULL)",
        "SET time_zone = '+05:30'",
        "INSERT INTO t VALUES (1, '2024-06-01 05:30:00')",
        "SET time_zone = '+00:00'",
    )
    assert load(mariadb).values[1].isoformat() == "2024-06-01T00:00:00+00:00"


_TEXTS = [
    "varchar(200) CHARACTER SET utf8mb4",
    "tinytext CHARACTER SET utf8mb4",
    "text CHARACTER SET utf8mb4",
    "longtext CHARACTER SET utf8mb4",
]


@pytest.mark.parametrize("type_sql", _TEXTS)
def test_hostile_text(mariadb: Database, type_sql: str) -> None:
    values = ["", " ", "\0", "a\0b", "NULL", "\\N", "'\"`\\", "tab\tnew\nline\r\n", "😀 é ß 中文", "x" * 200]
    values += ["\x00\xfb", "twelve chars", "thirteen char", "%s %(a)s {} :name ?"]
    fill(mariadb, type_sql, *(f"_utf8mb4 X'{value.encode().hex()}'" for value in values), "NULL")
    loaded = load(mariadb)
    assert loaded.type == "STRING"
    assert loaded.values == {**dict(enumerate(values, 1)), len(values) + 1: None}


@pytest.mark.parametrize(
    ("charset", "text"),
    [("latin1", "é ÿ € ß"), ("utf8mb3", "é 中"), ("cp1251", "Привет"), ("ucs2", "中文"), ("sjis", "日本")],
)
def test_character_sets(mariadb: Database, charset: str, text: str) -> None:
    fill(mariadb, f"varchar(50) CHARACTER SET {charset}", f"_utf8mb4 X'{text.encode().hex()}'")
    assert load(mariadb).values == {1: text}


def test_enum_and_set(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v enum('', 'a,b', 'ä'), s set('x', 'y', 'z'))",
        "INSERT INTO t VALUES (1, 'a,b', 'x,z'), (2, '', ''), (3, NULL, NULL), (4, 'ä', 'x,y,z')",
    )
    source = source_of(mariadb, source_table_name="t")
    read = read_all(source, plan_of(source)[0])
    assert read.columns["v"] == ["a,b", "", None, "ä"]
    assert read.columns["s"] == ["x,z", "", None, "x,y,z"]


@pytest.mark.parametrize("type_sql", ["varbinary(300)", "tinyblob", "blob", "longblob"])
def test_bytes(mariadb: Database, type_sql: str) -> None:
    values = [b"", b"\0", bytes(range(251)), b"\xfb\xfe\xff", b"x" * 250]
    fill(mariadb, type_sql, *(f"X'{value.hex()}'" for value in values), "NULL")
    loaded = load(mariadb)
    assert loaded.type == "BYTES"
    assert loaded.values == {**dict(enumerate(values, 1)), 6: None}


def test_binary_keeps_its_padding(mariadb: Database) -> None:
    fill(mariadb, "binary(4)", "X'01'")
    assert load(mariadb).values == {1: b"\x01\0\0\0"}


def test_json_is_recognised_and_kept_as_written(mariadb: Database) -> None:
    texts = ['{"a": 1.10, "b": [1e3, 18446744073709551615]}', "null", '"\\u00e9"', "[]"]
    fill(mariadb, "json", *(f"_utf8mb4 X'{text.encode().hex()}'" for text in texts), "NULL")
    loaded = load(mariadb)
    assert loaded.type == "JSON"
    assert loaded.values == {**dict(enumerate(texts, 1)), 5: None}
    assert loaded.rejected == {}


def test_json_numbers_beyond_64_bits_are_rejected_by_row(mariadb: Database) -> None:
    texts = ["[1]", "[1e400]", "[18446744073709551616]"]
    fill(mariadb, "json", *(f"'{text}'" for text in texts))
    loaded = load(mariadb)
    assert loaded.values == {1: "[1]"}
    assert loaded.rejected == {2: texts[1], 3: texts[2]}


def test_geometry_uuid_and_addresses_are_text(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v point, u uuid, i6 inet6, i4 inet4)",
        "INSERT INTO t VALUES (1, POINT(1.5, -2.25), '123e4567-e89b-12d3-a456-426655440000', '::1',"
        " '10.0.0.1'),"
        " (2, NULL, NULL, NULL, NULL)",
    )
    source = source_of(mariadb, source_table_name="t")
    read = read_all(source, plan_of(source)[0])
    assert {column.natural.type for column in source.describe().columns[1:]} == {"STRING"}
    for name in ("u", "i6", "i4"):
        assert read.columns[name] == [row[0] for row in mariadb.text(f"SELECT {name} FROM t ORDER BY id")]
    assert read.columns["v"] == [row[0] for row in mariadb.text("SELECT ST_AsText(v) FROM t ORDER BY id")]
    raw = load(mariadb, BqField("v", "BYTES"))
    assert raw.values == {1: struct.pack("<IBIdd", 0, 1, 1, 1.5, -2.25), 2: None}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=1, max_size=40
    )
)
def test_doubles_round_trip(mariadb: Database, values: list[float]) -> None:
    """The bits of each double come back; MariaDB itself makes zero of negative zero."""
    mariadb.clear()
    mariadb.execute("CREATE TABLE t (id int PRIMARY KEY, v double)")
    rows = ", ".join(
        f"({number}, {value!r}e0)" if "e" not in repr(value) else f"({number}, {value!r})"
        for number, value in enumerate(values)
    )
    mariadb.execute(f"INSERT INTO t VALUES {rows}")
    loaded = load(mariadb)
    assert [struct.pack("<d", loaded.values[number]) for number in range(len(values))] == [
        struct.pack("<d", value + 0.0) for value in values
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
        min_size=1,
        max_size=40,
    )
)
def test_floats_round_trip(mariadb: Database, values: list[float]) -> None:
    """A float is read as the double that it is, not as the six digits that the server prints."""
    mariadb.clear()
    mariadb.execute("CREATE TABLE t (id int PRIMARY KEY, v float)")
    rows = ", ".join(f"({number}, '{value!r}')" for number, value in enumerate(values))
    mariadb.execute(f"INSERT INTO t VALUES {rows}")
    loaded = load(mariadb)
    assert [loaded.values[number] for number in range(len(values))] == values


def test_declared_decimals_of_a_double_do_not_cut_it(mariadb: Database) -> None:
    fill(mariadb, "double(20,3)", "0.1", "1234567.891", "-0e0")
    assert load(mariadb).values == {1: 0.1, 2: 1234567.891, 3: 0.0}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
            st.none() | st.binary(max_size=400),
            st.none() | st.decimals(-(10**35) + 1, 10**35 - 1, places=30),
            st.none() | st.datetimes(),
        ),
        max_size=30,
    )
)
def test_rows_round_trip(mariadb: Database, rows: list[tuple[Any, ...]]) -> None:
    mariadb.clear()
    mariadb.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a bigint, v longtext, b longblob, d decimal(65,30),"
        " m datetime(6))"
    )
    connection = mariadb.connect()
    with connection.cursor() as cursor:
        for number, row in enumerate(rows):
            cursor.execute(
                "INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)",
                (number, *row[:4], None if row[4] is None else row[4].isoformat(sep=" ")),
            )
    connection.close()
    source = source_of(mariadb, source_table_name="t")
    read = read_all(source, plan_of(source)[0])
    assert read.raw == [{}] * len(rows)
    assert read.columns["a"] == [row[0] for row in rows]
    assert read.columns["v"] == [row[1] for row in rows]
    assert read.columns["b"] == [row[2] for row in rows]
    assert [None if text is None else Decimal(text) for text in read.columns["d"]] == [row[3] for row in rows]
    assert read.columns["m"] == [row[4] for row in rows]


def test_a_query_has_the_types_of_its_columns(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (id bigint unsigned PRIMARY KEY, d decimal(65,30), f float, e enum('a'), b bit(64),"
        " x varbinary(9), s varchar(9), m timestamp NULL, g point, y year)"
    )
    table = source_of(mariadb, source_table_name="t").describe().columns
    query = source_of(mariadb, query="SELECT * FROM t -- all of it").describe().columns
    assert [replace(column.natural) for column in query] == [column.natural for column in table]


def test_incompatible_types_are_refused_by_name(mariadb: Database) -> None:
    fill(mariadb, "datetime", "NOW()")
    with pytest.raises(PermanentError, match=r"column v of .* has type datetime.*TIMESTAMP.*CONVERT_TZ"):
        load(mariadb, BqField("v", "TIMESTAMP"))


def test_a_value_of_more_than_one_packet(mariadb: Database) -> None:
    """A packet ends at 16 MiB; the row goes on in the next."""
    sizes = [(1 << 24) - 1, 1 << 24, (1 << 24) + 17, 5]
    fill(mariadb, "longtext", *(f"REPEAT('x', {size})" for size in sizes))
    source = source_of(mariadb, source_table_name="t")
    plan, _ = plan_of(source)
    lengths = {}
    with source.session(plan.header, snapshot=False) as session, session.reader() as reader:
        for batch in (rows.batch for rows in reader.read(plan.units[0])):
            for number, value in zip(
                batch.column("id").to_pylist(), batch.column("v").to_pylist(), strict=True
            ):
                lengths[number] = (len(value), set(value))
    assert lengths == {number: (size, {"x"}) for number, size in enumerate(sizes, 1)}
