"""Every built-in type, read through the source and compared with the server's own text.

A type is added by one line in CASES. Values in ``rejects`` must arrive as NULL
with their text beside the row.
"""

from __future__ import annotations

import datetime
import json
import math
import struct
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from local.postgres import PostgresServer
from tests.conftest import Database, fresh_name
from tests.integration.postgres.support import plan_of, read_all, source_of

pytestmark = pytest.mark.stack


@dataclass(frozen=True)
class Case:
    """A declared type, the natural field (``TYPE`` or ``TYPE[]`` for REPEATED), and values as literals."""

    declared: str
    natural: str
    values: list[str]
    rejects: list[str] = field(default_factory=list)
    expect: list[Any] | None = None
    """What the values arrive as, where it is not the server's text."""
    setup: str = ""

    def __str__(self) -> str:
        return self.declared


LONG = "9" * 38 + "." + "9" * 38

CASES = [
    Case("smallint", "INT64", ["-32768", "0", "32767"]),
    Case("integer", "INT64", ["-2147483648", "2147483647"]),
    Case("bigint", "INT64", ["-9223372036854775808", "9223372036854775807"]),
    Case("oid", "INT64", ["0", "4294967295"]),
    Case("xid", "INT64", ["3", "4294967295"]),
    Case("cid", "INT64", ["4294967295"]),
    Case("xid8", "NUMERIC", ["18446744073709551615"]),
    Case("numeric(12,2)", "NUMERIC", ["-9999999999.99", "0.10", "1"]),
    Case("numeric(38,9)", "NUMERIC", ["-" + "9" * 29 + ".999999999"]),
    Case("numeric(30,0)", "BIGNUMERIC", ["9" * 30]),
    Case("numeric(20,10)", "BIGNUMERIC", ["1234567890.1234567891"]),
    Case("numeric(5,-2)", "NUMERIC", ["1234500"]),
    Case("numeric(3,5)", "NUMERIC", ["0.00999"]),
    Case("numeric(100,50)", "STRING", ["1." + "1" * 50]),
    Case("numeric", "BIGNUMERIC", ["0", "-0.000", "1e-38", LONG, "1e100"]),
    Case("real", "FLOAT64", ["1.5", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38", "0.1"]),
    Case(
        "double precision",
        "FLOAT64",
        ["0.1", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308"],
    ),
    Case(
        "money",
        "NUMERIC",
        ["12.34", "-92233720368547758.08"],
        expect=[Decimal("12.34"), Decimal("-92233720368547758.08")],
    ),
    Case("text", "STRING", ["", "it's", '🎈 \\ " \n\t', "'"]),
    Case("varchar(10)", "STRING", ["", "ten  chars"]),
    Case("char(5)", "STRING", ["ab", ""]),
    Case("name", "STRING", ["a_name"]),
    Case('"char"', "STRING", ["x"]),
    Case("bytea", "BYTES", ["\\x", "\\x00ff10"]),
    Case("boolean", "BOOL", ["t", "f"]),
    Case(
        "date",
        "DATE",
        ["0001-01-01", "1969-12-31", "9999-12-31"],
        ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"],
    ),
    Case("time", "TIME", ["00:00:00", "23:59:59.999999"], ["24:00:00"]),
    Case("time(0)", "TIME", ["12:34:56"]),
    Case("timetz", "STRING", ["12:34:56.789+05:30", "24:00:00-12"]),
    Case(
        "timestamp",
        "DATETIME",
        ["0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"],
        ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "10000-01-01 00:00:00"],
    ),
    Case(
        "timestamptz",
        "TIMESTAMP",
        ["0001-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "9999-12-31 23:59:59.999999+00"],
        ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "10000-01-01 00:00:00+00"],
    ),
    Case(
        "interval", "STRING", ["P1Y2M-3DT4H5M6.789S", "0", "178000000 years", "-1 day +2 hours", "infinity"]
    ),
    Case("uuid", "STRING", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    Case("json", "JSON", ['{"b": 1.10,  "a":[null]}', '"x"', "null", "1e400"]),
    Case("jsonb", "JSON", ['{"b": 1.10, "a": [null]}', '"x"', "null"]),
    # A server built without libxml has the type, and NULL as its only value.
    Case("xml", "STRING", []),
    Case("inet", "STRING", ["192.168.0.1", "192.168.0.1/24", "::1"]),
    Case("cidr", "STRING", ["192.168.0.0/16", "10.0.0.0/8"]),
    Case("macaddr", "STRING", ["08:00:2b:01:02:03"]),
    Case("macaddr8", "STRING", ["08:00:2b:01:02:03:04:05"]),
    Case("bit(3)", "STRING", ["101"]),
    Case("bit varying", "STRING", ["", "10101"]),
    Case("int4range", "STRING", ["[1,10)", "empty", "(,5)"]),
    Case("int8range", "STRING", ["[1,10)"]),
    Case("numrange", "STRING", ["[1.10,2]"]),
    Case("tsrange", "STRING", ["[2020-01-01,2020-01-02 12:00:00.5)"]),
    Case("tstzrange", "STRING", ["[2020-01-01 00:00:00+02,infinity]"]),
    Case("daterange", "STRING", ["[2020-01-01,2020-01-03]"]),
    Case("int4multirange", "STRING", ["{[1,3),[5,9)}"]),
    Case("datemultirange", "STRING", ["{[2020-01-01,2020-01-03)}"]),
    Case("tsvector", "STRING", ["'fat':2 'rat':3"]),
    Case("tsquery", "STRING", ["'fat' & 'rat'"]),
    Case("point", "STRING", ["(1,2)"]),
    Case("line", "STRING", ["{1,2,3}"]),
    Case("lseg", "STRING", ["[(0,0),(1,1)]"]),
    Case("box", "STRING", ["(1,1),(0,0)"]),
    Case("path", "STRING", ["((0,0),(1,1))"]),
    Case("polygon", "STRING", ["((0,0),(1,1),(1,0))"]),
    Case("circle", "STRING", ["<(0,0),2>"]),
    Case("pg_lsn", "STRING", ["16/B374D848"]),
    Case("pg_snapshot", "STRING", ["10:20:10,14,15"]),
    Case("tid", "STRING", ["(0,1)"]),
    Case("regclass", "STRING", ["pg_class"]),
    Case("regtype", "STRING", ["integer"]),
    Case("int2vector", "STRING", ["1 2 3"]),
    Case("jsonpath", "STRING", ['$."a"']),
    Case('"Mood"', "STRING", ["ok", "so so"], setup="CREATE TYPE \"Mood\" AS ENUM ('ok', 'so so')"),
    Case(
        "pair",
        "JSON",
        ['(1,"a b")'],
        expect=['{"a":1,"b":"a b"}'],
        setup="CREATE TYPE pair AS (a int, b text)",
    ),
    Case("posint", "INT64", ["7"], setup="CREATE DOMAIN posint AS int CHECK (VALUE > 0)"),
    Case(
        "price",
        "NUMERIC",
        ["1.50"],
        setup="CREATE DOMAIN base_price AS numeric(10,2); CREATE DOMAIN price AS base_price",
    ),
    Case("code", "STRING", ["ab"], setup="CREATE DOMAIN code AS char(4)"),
    Case(
        "moment",
        "TIMESTAMP",
        ["2020-01-01 00:00:00+00"],
        ["infinity"],
        setup="CREATE DOMAIN moment AS timestamptz",
    ),
    Case("ints", "INT64[]", ["{1,2}"], setup="CREATE DOMAIN ints AS int[]"),
    Case("posint2[]", "INT64[]", ["{1,2}"], setup="CREATE DOMAIN posint2 AS int"),
    Case("smallint[]", "INT64[]", ["{1,2}", "{}"], ["{1,NULL}", "{{1,2},{3,4}}"]),
    Case("integer[]", "INT64[]", ["{1,2}"], ["{NULL}", "{{1},{2}}"]),
    Case("bigint[]", "INT64[]", ["{9223372036854775807}"], ["{{1}}"]),
    Case("oid[]", "INT64[]", ["{4294967295}"], ["{NULL}"]),
    Case("xid8[]", "NUMERIC[]", ["{18446744073709551615}"]),
    Case("numeric[]", "BIGNUMERIC[]", ["{1.10,2}"], ["{NULL}"]),
    Case("numeric(10,2)[]", "NUMERIC[]", ["{1.10,2.00}"]),
    Case("money[]", "NUMERIC[]", ["{1.10}"], expect=[["1.10"]]),
    Case("real[]", "FLOAT64[]", ["{1.5,NaN}"]),
    Case("double precision[]", "FLOAT64[]", ["{1.5,Infinity}"]),
    Case("boolean[]", "BOOL[]", ["{t,f}"], ["{NULL}"]),
    Case("text[]", "STRING[]", ['{a,"b c","it\'s"}', "{}"], ["{NULL}", "{{a},{b}}"]),
    Case("varchar(5)[]", "STRING[]", ["{ab}"]),
    Case("char(3)[]", "STRING[]", ["{ab}"], expect=[["ab "]]),
    Case("uuid[]", "STRING[]", ["{00000000-0000-0000-0000-000000000001}"], ["{NULL}"]),
    Case("inet[]", "STRING[]", ["{192.168.0.1,10.0.0.0/8}"]),
    Case("interval[]", "STRING[]", ["{P1D}"]),
    Case("timetz[]", "STRING[]", ["{12:00:00+02}"]),
    Case("int4range[]", "STRING[]", ['{"[1,3)"}'], expect=[["[1,3)"]]),
    Case("date[]", "DATE[]", ["{2020-01-01}", "{}"], ["{infinity}", "{NULL}", "{{2020-01-01}}"]),
    Case("time[]", "TIME[]", ["{12:00:00}"], ["{24:00:00}"]),
    Case("timestamp[]", "DATETIME[]", ['{"2020-01-01 00:00:00"}'], ["{infinity}"]),
    Case("timestamptz[]", "TIMESTAMP[]", ['{"2020-01-01 00:00:00+00"}'], ["{-infinity}"]),
    Case("bytea[]", "BYTES[]", ['{"\\\\x00ff"}'], expect=[[b"\x00\xff"]]),
    Case("json[]", "JSON", ['{"{\\"a\\": 1.10}"}'], expect=['[{"a": 1.10}]']),
    Case("box[]", "JSON", ["{(1,1),(0,0)}"], expect=['["(1,1),(0,0)"]']),
    Case("pair2[]", "JSON", ['{"(1)"}'], expect=['[{"a":1}]'], setup="CREATE TYPE pair2 AS (a int)"),
]

SESSION = (
    "SET TimeZone = 'UTC'; SET IntervalStyle = 'iso_8601'; SET DateStyle = 'ISO, YMD';"
    " SET bytea_output = 'hex'"
)


def server_text(database: Database, column: str) -> list[str | None]:
    """The column as the server's output function writes it, in row order."""
    rows = database.query(
        f"SELECT CASE WHEN {column} IS NOT NULL THEN format('%s', {column}) END FROM t ORDER BY id"
    )
    return [row[0] for row in rows]


def as_text(value: Any) -> str | None:
    """An Arrow value in PostgreSQL's spelling, written without any code of the project."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat(sep=" ")
        text = text.rstrip("0") if "." in text else text
        return text + ("+00" if value.tzinfo else "")
    if isinstance(value, datetime.time):
        text = value.isoformat()
        return text.rstrip("0") if "." in text else text
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def same(value: Any, text: str | None, declared: str) -> bool:
    if isinstance(value, float) and text is not None:
        expected = float(text)
        if declared.startswith("real"):
            expected = struct.unpack("f", struct.pack("f", expected))[0]
        both_nan = math.isnan(value) and math.isnan(expected)
        return both_nan or (value == expected and math.copysign(1, value) == math.copysign(1, expected))
    if text in ("NaN", "Infinity", "-Infinity") and isinstance(value, str):
        return float(value) == float(text) or math.isnan(float(value))
    return as_text(value) == text


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_type_arrives_as_the_server_writes_it(postgres: Database, case: Case) -> None:
    postgres.execute(SESSION)
    for statement in filter(None, case.setup.split(";")):
        postgres.execute(statement)
    postgres.execute(f"CREATE TABLE t (id int PRIMARY KEY, c {case.declared})")
    literals = [*case.values, *case.rejects]
    for number, value in enumerate(literals):
        postgres.execute(
            f"INSERT INTO t VALUES ({number}, cast(:value AS text)::{case.declared})", value=value
        )
    postgres.execute(f"INSERT INTO t VALUES ({len(literals)}, NULL)")
    source = source_of(postgres, source_table_name="t")
    described = {column.name: column for column in source.describe().columns}["c"]
    spelled = postgres.query(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 't'::regclass AND attname = 'c'"
    )
    assert [(described.type,)] == spelled
    field = described.natural
    assert field.type + ("[]" if field.mode == "REPEATED" else "") == case.natural

    plan, _ = plan_of(source)
    read = read_all(source, plan)
    order = sorted(range(read.rows), key=lambda index: read.columns["id"][index])
    values = [read.columns["c"][index] for index in order]
    raw = [read.raw[index] for index in order]
    texts = server_text(postgres, "c")

    assert values[-1] is None
    assert raw[-1] == {}
    for number, value in enumerate(case.values):
        got = values[number]
        assert raw[number] == {}, f"{value} was not carried"
        if case.expect is not None:
            assert got == case.expect[number]
        elif isinstance(got, list):
            elements = postgres.query(
                "SELECT format('%s', e) FROM t, unnest(c) WITH ORDINALITY AS u(e, n)"
                f" WHERE id = {number} ORDER BY n"
            )
            assert len(got) == len(elements)
            for item, (text,) in zip(got, elements, strict=True):
                assert same(item, text, case.declared), (item, text)
        else:
            assert same(got, texts[number], case.declared), (got, texts[number])
    for number in range(len(case.values), len(literals)):
        assert values[number] is None
        assert raw[number] == {"c": texts[number]}


def test_every_scalar_type_of_the_server_is_described_and_read(postgres: Database) -> None:
    """No type that a column can have makes the source fail, also those without a line above."""
    names = [
        row[0]
        for row in postgres.query(
            "SELECT format_type(oid, NULL) FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typisdefined"
            " AND typname NOT LIKE '\\_%' AND typnamespace = 'pg_catalog'::regnamespace"
            " AND typarray <> 0 ORDER BY 1"
        )
    ]
    columns = ", ".join(f"c{index} {name}" for index, name in enumerate(names))
    arrays = ", ".join(f"a{index} {name}[]" for index, name in enumerate(names))
    postgres.execute(f"CREATE TABLE t (id int, {columns}, {arrays})")
    postgres.execute("INSERT INTO t (id) VALUES (1)")
    source = source_of(postgres, source_table_name="t")
    plan, _ = plan_of(source)
    read = read_all(source, plan)
    assert read.rows == 1
    assert read.raw == [{}]
    assert len(read.columns) == 1 + 2 * len(names)


@pytest.mark.parametrize(
    ("declared", "value", "destination", "expected"),
    [
        ("integer", "7", BqField("c", "STRING"), "7"),
        ("integer", "7", BqField("c", "NUMERIC"), 7),
        ("integer", "7", BqField("c", "FLOAT64"), 7),
        ("bigint", "9007199254740993", BqField("c", "FLOAT64"), None),
        ("bigint", "9007199254740992", BqField("c", "FLOAT64"), 9007199254740992),
        ("numeric", "5.00", BqField("c", "INT64"), 5),
        ("numeric", "5.01", BqField("c", "INT64"), None),
        ("numeric", "NaN", BqField("c", "INT64"), None),
        ("numeric", "1e30", BqField("c", "INT64"), None),
        ("numeric", "1.10", BqField("c", "FLOAT64"), 1.1),
        ("numeric", "0.12345678901234567890", BqField("c", "FLOAT64"), None),
        ("numeric", "1e400", BqField("c", "FLOAT64"), None),
        ("numeric", "1.10", BqField("c", "STRING"), "1.10"),
        ("double precision", "0.1", BqField("c", "NUMERIC"), Decimal("0.1")),
        ("double precision", "1e22", BqField("c", "NUMERIC"), Decimal(10**22)),
        ("double precision", "NaN", BqField("c", "NUMERIC"), None),
        ("double precision", "3", BqField("c", "INT64"), 3),
        ("double precision", "3.5", BqField("c", "INT64"), None),
        ("double precision", "1e19", BqField("c", "INT64"), None),
        ("real", "0.1", BqField("c", "BIGNUMERIC"), Decimal("0.1")),
        ("boolean", "t", BqField("c", "STRING"), "true"),
        ("boolean", "t", BqField("c", "INT64"), 1),
        ("text", "12", BqField("c", "INT64"), "12"),
        ("text", "[1]", BqField("c", "JSON"), "[1]"),
        ("integer[]", "{{1,NULL},{2,3}}", BqField("c", "STRING"), "[[1,null],[2,3]]"),
        ("integer[]", "{1,2}", BqField("c", "JSON"), "[1,2]"),
        ("jsonb", '{"a": 1.10}', BqField("c", "STRING"), '{"a": 1.10}'),
        ("date", "2020-01-02", BqField("c", "DATETIME"), datetime.datetime(2020, 1, 2)),
        ("date", "infinity", BqField("c", "DATETIME"), None),
        ("date", "infinity", BqField("c", "STRING"), "infinity"),
        ("timestamptz", "2020-01-02 03:04:05+02", BqField("c", "STRING"), "2020-01-02 01:04:05+00"),
        ("uuid", "00000000-0000-0000-0000-000000000001", BqField("c", "BYTES"), bytes(15) + b"\x01"),
        ("interval", "1 year 2 days", BqField("c", "INTERVAL"), "P1Y2D"),
        ("interval", "20000 years", BqField("c", "INTERVAL"), None),
        ("integer[]", "{1,2}", BqField("c", "NUMERIC", "REPEATED"), [1, 2]),
    ],
)
def test_a_type_for_a_destination_of_another(
    postgres: Database, declared: str, value: str, destination: BqField, expected: Any
) -> None:
    postgres.execute(f"CREATE TABLE t (c {declared})")
    postgres.execute(f"INSERT INTO t VALUES (cast(:value AS text)::{declared})", value=value)
    source = source_of(postgres, source_table_name="t")
    plan, _ = plan_of(source, fields={"c": destination})
    read = read_all(source, plan)
    assert read.columns["c"] == [expected]
    text = postgres.query("SELECT format('%s', c) FROM t")[0][0]
    assert read.raw == [{"c": text} if expected is None else {}]


@pytest.mark.parametrize(
    ("declared", "destination"),
    [
        ("timestamp", BqField("c", "TIMESTAMP")),
        ("timestamptz", BqField("c", "DATETIME")),
        ("timestamptz", BqField("c", "DATE")),
        ("integer", BqField("c", "BOOL")),
        ("integer", BqField("c", "INT64", "REPEATED")),
        ("integer[]", BqField("c", "INT64")),
        ("text[]", BqField("c", "INT64", "REPEATED")),
        ("uuid", BqField("c", "INT64")),
        ("json", BqField("c", "INT64")),
        ("boolean", BqField("c", "FLOAT64")),
        ("timetz", BqField("c", "TIME")),
    ],
)
def test_types_that_cannot_be_joined_are_refused_by_name(
    postgres: Database, declared: str, destination: BqField
) -> None:
    postgres.execute(f"CREATE TABLE t (c {declared})")
    source = source_of(postgres, source_table_name="t")
    with pytest.raises(
        PermanentError, match=r"column c of public\.t has type .* destination column c has type"
    ) as error:
        plan_of(source, fields={"c": destination})
    assert destination.type in str(error.value)


def test_raw_values_of_many_columns_stand_side_by_side(postgres: Database) -> None:
    names = [f"d{index}" for index in range(120)]
    postgres.execute(f"CREATE TABLE t ({', '.join(f'{name} date' for name in names)})")
    postgres.execute(f"INSERT INTO t VALUES ({', '.join(['DATE $$infinity$$'] * 119)}, DATE '2020-01-01')")
    source = source_of(postgres, source_table_name="t")
    plan, _ = plan_of(source)
    read = read_all(source, plan)
    assert read.raw == [dict.fromkeys(names[:-1], "infinity")]
    assert json.dumps(read.raw)


def test_a_database_of_another_encoding_is_read_as_utf8(postgres_server: PostgresServer) -> None:
    name = fresh_name("latin")
    with postgres_server.connect() as connection:
        connection.run(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    database = Database(postgres_server, name)
    try:
        database.execute("CREATE TABLE t (c text)")
        database.execute("INSERT INTO t VALUES ('caf' || chr(233))")
        source = source_of(database, source_table_name="t")
        plan, _ = plan_of(source)
        assert read_all(source, plan).columns["c"] == ["caf\u00e9"]
    finally:
        database.close()
        postgres_server.drop_database(name)
