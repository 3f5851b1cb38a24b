"""A column of every type, from PostgreSQL to BigQuery: what each side holds by its own account."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etl_runner.commit.close import Done
from tests.integration.exactness.kinds import (
    BIGNUMERIC,
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    DOUBLE,
    INT,
    JSON,
    MONEY,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    Kind,
)
from tests.integration.exactness.lab import Lab, add_orders, orders

pytestmark = pytest.mark.stack

# Column: its type, how it is compared, and literals: an ordinary value and edge values. NULL comes by itself.
COLUMNS: dict[str, tuple[str, Kind, tuple[str, ...]]] = {
    "c_smallint": ("smallint", INT, ("7", "-32768", "32767")),
    "c_integer": ("integer", INT, ("7", "-2147483648", "2147483647")),
    "c_bigint": ("bigint", INT, ("7", "-9223372036854775808", "9223372036854775807")),
    "c_oid": ("oid", INT, ("7", "0", "4294967295")),
    "c_xid8": ("xid8", NUMERIC, ("'7'", "'0'", "'18446744073709551615'")),
    "c_real": ("real", DOUBLE, ("0.1", "'-Infinity'", "3.4028235e38")),
    "c_double": ("double precision", DOUBLE, ("0.1", "'NaN'", "1.7976931348623157e308")),
    "c_double_2": ("double precision", DOUBLE, ("-0.0::float8", "5e-324", "'-Infinity'")),
    "c_numeric_12_2": ("numeric(12,2)", NUMERIC, ("12.30", "-9999999999.99", "9999999999.99")),
    "c_numeric_38_9": (
        "numeric(38,9)",
        NUMERIC,
        ("0.1", "-99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
    ),
    "c_numeric_5_0": ("numeric(5)", NUMERIC, ("0", "-99999", "99999")),
    "c_numeric_tens": ("numeric(5,-2)", NUMERIC, ("100", "-9999900", "1234500")),
    "c_numeric_wide": (
        "numeric(40,18)",
        BIGNUMERIC,
        ("0.000000000000000001", "-1", "12345678901234567890.5"),
    ),
    "c_numeric": ("numeric", BIGNUMERIC, ("1e-18", "-12345678901234567890.123456789012345678", "1e19")),
    "c_numeric_text": ("numeric(100,50)", TEXT, ("1.5", "-1e49", "1e-50")),
    "c_money": ("money", MONEY, ("12.34", "-92233720368547758.08", "92233720368547758.07")),
    "c_boolean": ("boolean", BOOL, ("true", "false", "true")),
    "c_text": ("text", TEXT, ("'plain'", "''", "E'\\u2028 \"\\t\\r\\n\\\\, | ''quoted'' é 漢 \\U0001F600'")),
    "c_varchar": ("varchar(5)", TEXT, ("'ab'", "''", "'  x  '")),
    "c_char": ("char(4)", TEXT, ("'ab'", "''", "'abcd'")),
    "c_name": ("name", TEXT, ("'a_name'", "''", "repeat('n', 63)")),
    "c_one_char": ('"char"', TEXT, ("'x'", "''", "'~'")),
    "c_bytea": ("bytea", BYTES, (r"'\x00ff10'", r"'\x'", "decode(repeat('deadbeef00', 2000), 'hex')")),
    "c_date": ("date", DATE, ("'2024-02-29'", "'0001-01-01'", "'9999-12-31'")),
    "c_time": ("time", TIME, ("'12:34:56.7'", "'00:00:00'", "'23:59:59.999999'")),
    "c_timetz": ("timetz", TEXT, ("'12:34:56.7+02'", "'00:00:00-15:59'", "'24:00:00+00'")),
    "c_timestamp": (
        "timestamp",
        DATETIME,
        ("'2024-02-29 12:34:56.7'", "'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"),
    ),
    "c_timestamptz": (
        "timestamptz",
        TIMESTAMP,
        ("'1969-12-31 23:59:59.999999+00'", "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'"),
    ),
    "c_interval": (
        "interval",
        TEXT,
        ("'1 mon 2 days 03:04:05.000006'", "'-178000000 years'", "'-1 mon +1 day -00:00:01'"),
    ),
    "c_uuid": (
        "uuid",
        TEXT,
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'0'::text::uuid", "'f'::text::uuid"),
    ),
    "c_inet": ("inet", TEXT, ("'10.0.0.1'", "'10.0.0.1/8'", "'fe80::1/128'")),
    "c_cidr": ("cidr", TEXT, ("'10.0.0.0/8'", "'0.0.0.0/0'", "'::/0'")),
    "c_macaddr": ("macaddr", TEXT, ("'08:00:2b:01:02:03'",) * 3),
    "c_macaddr8": ("macaddr8", TEXT, ("'08:00:2b:01:02:03:04:05'",) * 3),
    "c_bit": ("bit(3)", TEXT, ("B'101'", "B'000'", "B'111'")),
    "c_varbit": ("varbit", TEXT, ("B'101'", "B''", "B'11111111111111111111111111111111111'")),
    "c_point": ("point", TEXT, ("'(1,2)'", "'(-0.1,1e300)'", "'(0,NaN)'")),
    "c_line": ("line", TEXT, ("'{1,2,3}'",) * 3),
    "c_lseg": ("lseg", TEXT, ("'[(1,2),(3,4)]'",) * 3),
    "c_box": ("box", TEXT, ("'(3,4),(1,2)'",) * 3),
    "c_path": ("path", TEXT, ("'[(1,2),(3,4)]'", "'((1,2),(3,4))'", "'[(0,0)]'")),
    "c_polygon": ("polygon", TEXT, ("'((1,2),(3,4),(5,6))'",) * 3),
    "c_circle": ("circle", TEXT, ("'<(1,2),3>'",) * 3),
    "c_tsvector": ("tsvector", TEXT, ("'a:1 b:2A'", "''", "'''it''''s'''")),
    "c_tsquery": ("tsquery", TEXT, ("'a & b'", "'!a'", "'a <-> b'")),
    "c_json": ("json", JSON, ('\'{"a": [1, 2.5, null, "x"]}\'', "'null'", "'9007199254740991'")),
    "c_jsonb": ("jsonb", JSON, ('\'{"b": {"ü": true}}\'', "'[]'", "'\"\\\\u00e9\\\\n\"'")),
    "c_jsonpath": ("jsonpath", TEXT, ("'$.a[*]'",) * 3),
    "c_range": ("int4range", TEXT, ("'[1,5)'", "'empty'", "'(,)'")),
    "c_tstzrange": (
        "tstzrange",
        TEXT,
        ("'[2024-01-01 00:00:00+00,2024-01-02 00:00:00+00)'", "'empty'", "'(,)'"),
    ),
    "c_multirange": ("int4multirange", TEXT, ("'{[1,5),[7,9)}'", "'{}'", "'{(,)}'")),
    "c_lsn": ("pg_lsn", TEXT, ("'16/B374D848'", "'0/0'", "'FFFFFFFF/FFFFFFFF'")),
    "c_snapshot": ("pg_snapshot", TEXT, ("'10:20:10,14,15'",) * 3),
    "c_regclass": ("regclass", TEXT, ("'pg_class'::regclass",) * 3),
    "c_enum": ("mood", TEXT, ("'fine'", "'so so'", "'fine'")),
    "c_domain_int": ("quantity", INT, ("1", "2147483647", "2")),
    "c_domain_numeric": ("price", NUMERIC, ("1.10", "-99999999.99", "99999999.99")),
    "c_domain_text": ("code", TEXT, ("'AB'", "'XYZ'", "''")),
    "c_composite": ("address", JSON, ("ROW('Main St', 5)", "ROW(NULL, NULL)", "ROW('\"q\", (x)', -1)")),
}

# Elements are compared one by one. A NULL array arrives empty.
ARRAYS: dict[str, tuple[str, Kind, tuple[str, ...]]] = {
    "a_smallint": ("smallint[]", INT, ("'{1,-32768}'", "'{}'", "'[5:6]={8,9}'")),
    "a_integer": ("integer[]", INT, ("'{1,2147483647}'", "'{}'", "'{0}'")),
    "a_bigint": ("bigint[]", INT, ("'{-9223372036854775808}'", "'{}'", "'{1,1,1}'")),
    "a_real": ("real[]", DOUBLE, ("'{0.1,-Infinity}'", "'{}'", "'{3.4028235e38}'")),
    "a_double": ("double precision[]", DOUBLE, ("'{0.1,1e-300}'", "'{}'", "'{Infinity}'")),
    "a_numeric": ("numeric(10,2)[]", NUMERIC, ("'{1.10,-99999999.99}'", "'{}'", "'{0}'")),
    "a_boolean": ("boolean[]", BOOL, ("'{t,f}'", "'{}'", "'{f}'")),
    "a_text": ("text[]", TEXT, ("ARRAY['a,b', '\"{}\"', '', 'NULL', 'é']", "'{}'", "'{x}'")),
    "a_varchar": ("varchar(3)[]", TEXT, ("'{abc}'", "'{}'", "'{\" a\"}'")),
    "a_bytea": ("bytea[]", BYTES, (r"ARRAY['\x00ff'::bytea, '\x']", "'{}'", r"ARRAY['\x01'::bytea]")),
    "a_date": ("date[]", DATE, ("'{0001-01-01,9999-12-31}'", "'{}'", "'{2024-02-29}'")),
    "a_timestamp": (
        "timestamp[]",
        DATETIME,
        ("'{2024-02-29 12:34:56.789}'", "'{}'", "'{0001-01-01 00:00:00}'"),
    ),
    "a_timestamptz": (
        "timestamptz[]",
        TIMESTAMP,
        ("'{1969-12-31 23:59:59.5+00}'", "'{}'", "'{2024-01-01 00:00+00}'"),
    ),
    "a_uuid": ("uuid[]", TEXT, ("'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'", "'{}'", "'{}'")),
    "a_inet": ("inet[]", TEXT, ("'{10.0.0.1,10.0.0.0/8}'", "'{}'", "'{::1}'")),
    "a_enum": ("mood[]", TEXT, ("'{fine,\"so so\"}'", "'{}'", "'{fine}'")),
}
WHOLE_ARRAYS: dict[str, tuple[str, Kind, tuple[str, ...]]] = {
    "w_jsonb": ("jsonb[]", JSON, ("ARRAY['{\"a\": 1}'::jsonb, '2']", "'{}'", "ARRAY['null'::jsonb]")),
    "w_composite": (
        "address[]",
        JSON,
        ("ARRAY[ROW('x', 1)::address]", "'{}'", "ARRAY[ROW('y', NULL)::address]"),
    ),
}
SINGLE = {**COLUMNS, **WHOLE_ARRAYS}
ALL = {**SINGLE, **ARRAYS}

TYPES = """
CREATE TYPE mood AS ENUM ('fine', 'so so');
CREATE TYPE address AS (street text, number int);
CREATE DOMAIN quantity AS int CHECK (VALUE > 0);
CREATE DOMAIN price AS numeric(10,2);
CREATE DOMAIN code AS varchar(3);
"""
KEYS = (
    "id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, version int NOT NULL DEFAULT 1,"
    " updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
    " generated text GENERATED ALWAYS AS ('row ' || version) STORED"
)


def _literal(text: str, sql_type: str) -> str:
    """The test's literals in full: two shorthands, and the column's type where the server must not guess."""
    if text.endswith("::text::uuid"):
        text = f"repeat({text.split('::')[0]}, 32)::uuid"
    return f"({text})::{sql_type}"


def _create(lab: Lab) -> None:
    columns = ", ".join(f"{name} {sql_type}" for name, (sql_type, _, _) in ALL.items())
    lab.database.execute(TYPES)
    lab.database.execute(f"CREATE TABLE orders ({KEYS}, {columns})")
    _insert(lab)


def _insert(lab: Lab) -> None:
    """Four rows: three with values, the last with NULLs only."""
    for number in range(3):
        values = ", ".join(_literal(values[number], sql_type) for sql_type, _, values in ALL.values())
        lab.database.execute(f"INSERT INTO orders ({', '.join(ALL)}) VALUES ({values})")
    lab.database.execute("INSERT INTO orders DEFAULT VALUES")


def _of_source(lab: Lab) -> list[dict[str, Any]]:
    lab.database.execute("SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; SET bytea_output = 'hex'")
    texts = [
        f"CASE WHEN num_nonnulls({c}) = 1 THEN {kind.postgres.format(c=c)} END"
        for c, (_, kind, _) in SINGLE.items()
    ]
    lists = [
        f"(SELECT coalesce(json_agg({kind.postgres.format(c='e')} ORDER BY n), '[]')::text"
        f" FROM unnest({c}) WITH ORDINALITY AS u(e, n))"
        for c, (_, kind, _) in ARRAYS.items()
    ]
    rows = lab.database.query(
        f"SELECT id::text, generated, {', '.join([*texts, *lists])} FROM orders ORDER BY id"
    )
    return [_normal(row) for row in rows]


def _of_destination(lab: Lab) -> list[dict[str, Any]]:
    texts = [f"{kind.bigquery.format(c=c)} AS {c}" for c, (_, kind, _) in SINGLE.items()]
    lists = [
        f"TO_JSON_STRING(ARRAY(SELECT {kind.bigquery.format(c='e')} FROM UNNEST({c}) AS e)) AS {c}"
        for c, (_, kind, _) in ARRAYS.items()
    ]
    rows = lab.query(
        f"SELECT CAST(id AS STRING), generated, {', '.join([*texts, *lists])} FROM {{table}} ORDER BY id"
    )
    return [_normal(row) for row in rows]


def _normal(row: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row[0], "generated": row[1]}
    for (name, (_, kind, _)), text in zip(SINGLE.items(), row[2:], strict=False):
        found[name] = None if text is None else kind.normal(text)
    for (name, (_, kind, _)), text in zip(ARRAYS.items(), row[2 + len(SINGLE) :], strict=True):
        found[name] = [kind.normal(item) for item in json.loads(text)]
    return found


def _check(lab: Lab) -> None:
    source, destination = _of_source(lab), _of_destination(lab)
    assert len(source) == len(destination)
    differences = {
        (row["id"], name): (row[name], other[name])
        for row, other in zip(source, destination, strict=True)
        for name in row
        if row[name] != other[name]
    }
    assert not differences


def test_every_type_arrives_as_the_source_has_it(lab: Lab) -> None:
    _create(lab)
    lab.put(source_table_name="orders", timestamp_column="updated_at")
    receipt = lab.run_ok()
    assert receipt["rows_loaded"] == 4
    _check(lab)
    schema = {field.name: field for field in lab.bigquery.get_table(lab.path).schema}
    for name, (_, kind, _) in ALL.items():
        assert schema[name].field_type == kind.field, name
        assert schema[name].mode == ("REPEATED" if name in ARRAYS else "NULLABLE"), name
    table = lab.bigquery.get_table(lab.path)
    assert table.time_partitioning.field == "updated_at"
    assert lab.query("SELECT DISTINCT _etl_run_id FROM {table}") == [(receipt["run_id"],)]
    # A second run finds the table that the first one made, and appends.
    _insert(lab)
    assert lab.step_by_step("second").outcome == "ok"
    _check(lab)
    assert len(lab.loaded("id")) == 8


def test_every_type_in_a_catalog_that_is_replaced(lab: Lab) -> None:
    _create(lab)
    lab.put(source_table_name="orders", load_type="catalog")
    assert lab.step_by_step("first").outcome == "ok"
    _check(lab)
    lab.database.execute("DELETE FROM orders WHERE id = 2; UPDATE orders SET version = 2 WHERE id = 1")
    assert lab.step_by_step("second").outcome == "ok"
    _check(lab)
    assert lab.loaded() == [(1, 2), (3, 1), (4, 1)]


def _columns(lab: Lab) -> list[str]:
    return [field.name for field in lab.bigquery.get_table(lab.path).schema]


def test_selected_and_renamed_columns(lab: Lab) -> None:
    orders(
        lab,
        rows=3,
        selected_columns=["note", "id", "updated_at"],
        column_mapping={"note": "remark", "id": "order_id"},
        metadata_columns=False,
    )
    lab.step_by_step("first")
    add_orders(lab, 2)
    lab.step_by_step("second")
    assert _columns(lab) == ["remark", "order_id", "updated_at"]
    assert lab.loaded("order_id, remark") == lab.source_rows("id, note")


def test_names_that_bigquery_refuses(lab: Lab) -> None:
    names = (
        "DiscountApplied(%)",
        "a b",
        "A B",
        "1st",
        "_TABLE_x",
        "emoji 😀",
        "line\nbreak",
        'quo"te',
        "sélect",
    )
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    listed = ", ".join(f"{name} int" for name in quoted)
    lab.database.execute(f"CREATE TABLE orders (id int, version int, {listed})")
    values = ", ".join(str(10 + number) for number in range(len(names)))
    lab.database.execute(f"INSERT INTO orders VALUES (1, 1, {values})")
    lab.put(source_table_name="orders", load_type="catalog", metadata_columns=False)
    lab.step_by_step("first")
    found = _columns(lab)
    assert found[:3] == ["id", "version", "discountapplied"]
    assert len({name.lower() for name in found}) == len(names) + 2
    assert lab.loaded(", ".join(f"`{name}`" for name in found)) == [(1, 1, *range(10, 10 + len(names)))]


def test_a_custom_query(lab: Lab) -> None:
    orders(lab, rows=3)
    lab.put(
        query="SELECT id, version, id * 10 AS tenfold, updated_at FROM orders WHERE id <> 2 -- no 2",
        timestamp_column="updated_at",
        late_window="0",
    )
    lab.step_by_step("first")
    add_orders(lab, 2)
    lab.step_by_step("second")
    assert lab.loaded("id, tenfold") == [(1, 10), (3, 30), (4, 40), (5, 50)]


def test_an_increasing_key(lab: Lab) -> None:
    orders(lab, rows=0)
    lab.put(source_table_name="orders", incrementing_column="id", unit_rows=100)
    add_orders(lab, 250, first=-100)
    lab.step_by_step("first")
    lab.check_equal()
    assert lab.settled().watermark is not None
    for number in range(2):
        add_orders(lab, 10)
        lab.step_by_step(f"next-{number}")
        lab.check_equal()
    done = lab.step_by_step("nothing")
    assert done.receipt is not None
    assert done.receipt["rows_loaded"] == 0


def _grown(lab: Lab, **fields: Any) -> Done:
    """A loaded table whose source gets a column and rows with it; the next run."""
    orders(lab, rows=2, **fields)
    lab.step_by_step("first")
    lab.database.execute("ALTER TABLE orders ADD COLUMN added jsonb, ADD COLUMN plain int DEFAULT 7")
    add_orders(lab, 1)
    return lab.step_by_step("grown")


@pytest.mark.parametrize("load_type", ["transactional", "catalog"])
def test_a_new_column_is_added(lab: Lab, load_type: str) -> None:
    assert _grown(lab, load_type=load_type, schema_drift="evolve").outcome == "ok"
    assert {"added", "plain"} <= set(_columns(lab))
    earlier = 7 if load_type == "catalog" else None
    assert lab.loaded("id, plain") == [(1, earlier), (2, earlier), (3, 7)]


def test_a_new_plain_column_is_added_by_the_load_itself(lab: Lab) -> None:
    orders(lab, rows=2)
    lab.step_by_step("first")
    lab.database.execute("ALTER TABLE orders ADD COLUMN plain int DEFAULT 7")
    add_orders(lab, 1)
    lab.step_by_step("grown")
    assert lab.loaded("id, plain") == [(1, None), (2, None), (3, 7)]
    lab.check_equal()


def test_a_new_column_is_left_out(lab: Lab) -> None:
    done = _grown(lab, schema_drift="ignore")
    assert done.outcome == "ok"
    assert done.receipt is not None
    assert any("added: left out" in note for note in done.receipt["notes"])
    assert not {"added", "plain"} & set(_columns(lab))
    lab.check_equal()


def test_a_new_column_fails_the_run_before_anything_is_read(lab: Lab) -> None:
    orders(lab, rows=2, schema_drift="fail")
    lab.step_by_step("first")
    before, loaded = lab.state().watermark, lab.loaded()
    lab.database.execute("ALTER TABLE orders ADD COLUMN added int")
    body = {"source_id": lab.source_id, "run_id": lab.run_id("grown")}
    epoch = lab.call("trigger", body)[1]["epoch"]
    status, answer = lab.call("plan", {**body, "epoch": epoch})
    assert status == 422
    assert "added" in answer["error"]["message"]
    assert "schema_drift: fail" in answer["error"]["message"]
    failure = {"step": "plan", "message": answer["error"]["message"]}
    assert lab.call("finalize", {**body, "epoch": epoch, "failure": failure})[1]["outcome"] == "failed"
    assert lab.settled().watermark == before
    assert lab.loaded() == loaded
    assert "added" not in _columns(lab)
