"""Every BigQuery type arrives as BigQuery itself writes it, whichever engine loads it."""

from __future__ import annotations

import pytest

from tests.integration.bigquery.support import Lab

pytestmark = pytest.mark.stack

COLUMNS = {
    "s": ("STRING", ["'é 😀\\n'", "''", "NULL", "'a\\\\b'"], "s"),
    "s5": ("STRING(5)", ["'abcde'", "''", "NULL", "'é'"], "s5"),
    "b": ("BYTES", ["FROM_HEX('00ff10')", "b''", "NULL", "b'x'"], "TO_HEX(b)"),
    "i": ("INT64", ["-9223372036854775808", "9223372036854775807", "NULL", "0"], "CAST(i AS STRING)"),
    "f": (
        "FLOAT64",
        ["CAST('NaN' AS FLOAT64)", "CAST('-inf' AS FLOAT64)", "NULL", "0.1"],
        "CAST(f AS STRING)",
    ),
    "n": (
        "NUMERIC",
        [
            "NUMERIC '99999999999999999999999999999.999999999'",
            "NUMERIC '-99999999999999999999999999999.999999999'",
            "NULL",
            "NUMERIC '0.000000001'",
        ],
        "CAST(n AS STRING)",
    ),
    "n2": (
        "NUMERIC(10, 2)",
        ["NUMERIC '12345678.91'", "NUMERIC '-0.01'", "NULL", "NUMERIC '5'"],
        "CAST(CAST(n2 AS BIGNUMERIC) AS STRING)",
    ),
    "bn": (
        "BIGNUMERIC",
        [
            "BIGNUMERIC '12345678901234567890.123456789012345678'",
            "BIGNUMERIC '-0.000000000000000001'",
            "NULL",
            "BIGNUMERIC '7'",
        ],
        "CAST(bn AS STRING)",
    ),
    "o": ("BOOL", ["TRUE", "FALSE", "NULL", "TRUE"], "CAST(o AS STRING)"),
    "d": (
        "DATE",
        ["DATE '0001-01-01'", "DATE '9999-12-31'", "NULL", "DATE '1969-12-31'"],
        "CAST(d AS STRING)",
    ),
    "dt": (
        "DATETIME",
        [
            "DATETIME '0001-01-01 00:00:00'",
            "DATETIME '9999-12-31 23:59:59.999999'",
            "NULL",
            "DATETIME '1969-12-31 23:59:59.000001'",
        ],
        "CAST(dt AS STRING)",
    ),
    "tm": (
        "TIME",
        ["TIME '00:00:00'", "TIME '23:59:59.999999'", "NULL", "TIME '12:00:00'"],
        "CAST(tm AS STRING)",
    ),
    "ts": (
        "TIMESTAMP",
        [
            "TIMESTAMP '0001-01-01 00:00:00+00'",
            "TIMESTAMP '9999-12-31 23:59:59.999999+00'",
            "NULL",
            "TIMESTAMP '1969-12-31 23:59:59.000001+00'",
        ],
        "CAST(UNIX_MICROS(ts) AS STRING)",
    ),
    "j": (
        "JSON",
        ['JSON \'{"a": [1, null, "x"], "b": 1.5}\'', "JSON 'null'", "NULL", "JSON '\"é\"'"],
        "TO_JSON_STRING(j)",
    ),
    "g": (
        "GEOGRAPHY",
        ["ST_GEOGPOINT(1.5, -2)", "ST_GEOGPOINT(0, 0)", "NULL", "ST_GEOGPOINT(180, 90)"],
        "ST_ASTEXT(g)",
    ),
    "iv": (
        "INTERVAL",
        [
            "MAKE_INTERVAL(1, 2, 3, 4, 5, 6)",
            "MAKE_INTERVAL(0, 0, 3)",
            "NULL",
            "MAKE_INTERVAL(0, 14, 0, 100)",
        ],
        "CAST(iv AS STRING)",
    ),
    "r": (
        "RANGE<DATE>",
        [
            "RANGE(DATE '2020-01-01', DATE '2020-02-01')",
            "RANGE(DATE '2020-01-01', NULL)",
            "NULL",
            "RANGE(NULL, DATE '0001-01-02')",
        ],
        "CONCAT(IFNULL(CAST(RANGE_START(r) AS STRING), '-'), '/', IFNULL(CAST(RANGE_END(r) AS STRING), '-'))",
    ),
    "st": (
        "STRUCT<a INT64, b ARRAY<STRING>, c NUMERIC, d STRUCT<e DATE>>",
        [
            "STRUCT(1 AS a, ['p', 'é'] AS b, NUMERIC '1.5' AS c, STRUCT(DATE '0001-01-01' AS e) AS d)",
            "STRUCT(NULL AS a, [] AS b, NULL AS c, STRUCT(NULL AS e) AS d)",
            "NULL",
            "STRUCT(2 AS a, ['q'] AS b, NUMERIC '-2' AS c, NULL AS d)",
        ],
        "TO_JSON_STRING(st)",
    ),
    "ar": ("ARRAY<INT64>", ["[1, 2]", "[]", "[3]", "[]"], "TO_JSON_STRING(ar)"),
    "sa": (
        "ARRAY<STRUCT<x DATE, y STRING>>",
        ["[STRUCT(DATE '2020-02-02' AS x, 'q' AS y)]", "[]", "[STRUCT(NULL AS x, '' AS y)]", "[]"],
        "TO_JSON_STRING(sa)",
    ),
}
"""Column: type, one value a row, and how BigQuery writes it as text."""


def _make(lab: Lab) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in COLUMNS.items())
    lab.sql(f"CREATE TABLE {{source}}.t (id INT64 NOT NULL, {columns})")
    for row in range(4):
        values = ", ".join(written[row] for _, written, _ in COLUMNS.values())
        lab.sql(f"INSERT INTO {{source}}.t (id, {', '.join(COLUMNS)}) VALUES ({row}, {values})")


def _texts(lab: Lab, table: str, columns: list[str]) -> dict[str, list[object]]:
    """Each column's values as BigQuery's own text, in order."""
    selected = ", ".join(f"{COLUMNS[name][2]} AS {name}" for name in columns)
    rows = lab.rows(f"SELECT {selected} FROM {table} ORDER BY id")
    return {name: [row[index] for row in rows] for index, name in enumerate(columns)}


@pytest.mark.parametrize("engine", ["bigquery", "cloud_run"])
def test_every_type_arrives_as_it_was(lab: Lab, engine: str) -> None:
    _make(lab)
    # The stand-in cannot turn an interval's canonical text back into one; see test_an_interval_is_read.
    columns = [name for name in COLUMNS if engine == "bigquery" or name != "iv"]
    plan, receipt = lab.run(lab.put(engine=engine, selected_columns=["id", *columns]))
    assert (plan.header.engine, receipt["outcome"], receipt["rows_loaded"]) == (engine, "ok", 4), receipt[
        "reason"
    ]
    wanted, found = _texts(lab, "{source}.t", columns), _texts(lab, "{dataset}.loaded", columns)
    for name in columns:
        assert found[name] == wanted[name], name
    schema = {
        name: [field.to_api_repr() for field in lab.bigquery.client.get_table(path).schema]
        for name, path in (
            ("source", f"{lab.project}.{lab.source}.t"),
            ("loaded", f"{lab.project}.{lab.bigquery.dataset}.loaded"),
        )
    }
    of_source = {field["name"]: field for field in schema["source"]}
    for field in schema["loaded"]:
        if field["name"] in COLUMNS:
            assert field == of_source[field["name"]]


def test_changed_types_go_through_the_converter(lab: Lab) -> None:
    _make(lab)
    lab.sql(
        "CREATE TABLE {dataset}.loaded"
        " (id INT64, i STRING, n2 BIGNUMERIC, ts STRING, j STRING, ar STRING, st JSON)"
    )
    source = lab.put(selected_columns=["id", "i", "n2", "ts", "j", "ar", "st"], metadata_columns=False)
    plan, receipt = lab.run(source)
    assert (plan.header.engine, receipt["outcome"]) == ("cloud_run", "ok"), receipt["reason"]
    rows = lab.rows(
        "SELECT i, CAST(n2 AS STRING), ar, JSON_VALUE(st, '$.b[1]') FROM {dataset}.loaded ORDER BY id"
    )
    wanted = lab.rows(
        "SELECT CAST(i AS STRING), CAST(CAST(n2 AS BIGNUMERIC) AS STRING), TO_JSON_STRING(ar),"
        " st.b[SAFE_OFFSET(1)] FROM {source}.t ORDER BY id"
    )
    assert [row[:3] for row in rows] == [row[:3] for row in wanted]
    assert rows[0][3] == wanted[0][3]


def test_an_interval_is_read(lab: Lab) -> None:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#canonical_format_4"""
    _make(lab)
    lab.sql("CREATE TABLE {dataset}.loaded (id INT64, iv STRING)")
    assert lab.run(lab.put(selected_columns=["id", "iv"], metadata_columns=False))[1]["outcome"] == "ok"
    assert [text for (text,) in lab.rows("SELECT iv FROM {dataset}.loaded ORDER BY id")] == [
        "1-2 3 4:5:6",
        "0-0 3 0:0:0",
        None,
        "1-2 0 100:0:0",
    ]


def test_values_that_do_not_fit_are_rejected_one_by_one(lab: Lab) -> None:
    lab.sql(
        "CREATE TABLE {source}.t AS SELECT x AS id, NUMERIC '0.5' * x AS n"
        " FROM UNNEST(GENERATE_ARRAY(1, 10)) AS x",
        "CREATE TABLE {dataset}.loaded (id INT64, n INT64)",
    )
    plan, receipt = lab.run(lab.put(on_bad_row="reject", metadata_columns=False))
    assert plan.header.engine == "cloud_run"
    assert (receipt["outcome"], receipt["rows_loaded"], receipt["rejects"]) == ("ok", 5, 5), receipt["reason"]
    assert lab.rows("SELECT id, n FROM {dataset}.loaded ORDER BY id") == [(2 * n, n) for n in range(1, 6)]
