"""Generated rows of PostgreSQL arrive with equal values: each side's own text is compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import fresh_name
from tests.integration.exactness import generated, kinds
from tests.integration.exactness.lab import Lab

pytestmark = pytest.mark.stack


def _hex(data: bytes) -> str:
    return "\\x" + data.hex()


def _elements(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, max_size=3)


# Column: its type, how it is compared, and what the server is given as text (lists for arrays).
COLUMNS: dict[str, tuple[str, kinds.Kind, st.SearchStrategy[Any]]] = {
    "c_smallint": ("smallint", kinds.INT, generated.whole(16).map(str)),
    "c_integer": ("integer", kinds.INT, generated.whole(32).map(str)),
    "c_bigint": ("bigint", kinds.INT, generated.whole(64).map(str)),
    "c_real": ("real", kinds.DOUBLE, st.floats(width=32).map(str)),
    "c_double": ("double precision", kinds.DOUBLE, st.floats().map(repr)),
    "c_numeric_12_2": ("numeric(12,2)", kinds.NUMERIC, generated.decimals(12, 2)),
    "c_numeric_38_9": ("numeric(38,9)", kinds.NUMERIC, generated.decimals(38, 9)),
    # The stand-in's BIGNUMERIC has 38 digits.
    "c_numeric_38_18": ("numeric(38,18)", kinds.BIGNUMERIC, generated.decimals(38, 18)),
    "c_numeric": ("numeric", kinds.BIGNUMERIC, generated.decimals(30, 11)),
    "c_boolean": ("boolean", kinds.BOOL, st.sampled_from(["true", "false"])),
    "c_text": ("text", kinds.TEXT, generated.texts(30)),
    "c_varchar": ("varchar(5)", kinds.TEXT, generated.texts(5)),
    "c_char": ("char(6)", kinds.TEXT, generated.texts(6)),
    "c_bytea": ("bytea", kinds.BYTES, st.binary(max_size=20).map(_hex)),
    "c_date": ("date", kinds.DATE, generated.dates()),
    "c_time": ("time", kinds.TIME, generated.times()),
    "c_timestamp": ("timestamp", kinds.DATETIME, generated.clocks()),
    "c_timestamptz": ("timestamptz", kinds.TIMESTAMP, generated.clocks().map(lambda text: f"{text}+00")),
    "c_interval": (
        "interval",
        kinds.TEXT,
        st.tuples(st.integers(-2_000, 2_000), st.integers(-9_999, 9_999), generated.whole(48)).map(
            lambda parts: f"{parts[0]} mons {parts[1]} days {parts[2]} microseconds"
        ),
    ),
    "c_uuid": ("uuid", kinds.TEXT, st.uuids().map(str)),
    "c_inet": ("inet", kinds.TEXT, st.ip_addresses().map(str)),
    "c_json": ("json", kinds.JSON, generated.json_texts()),
    # jsonb prints 1e300 as 301 digits, which no 64 bits hold.
    "c_jsonb": ("jsonb", kinds.JSON, generated.json_texts(largest=1e15)),
    "c_enum": ("mood", kinds.TEXT, st.sampled_from(["fine", "so so", "'"])),
}
ARRAYS: dict[str, tuple[str, kinds.Kind, st.SearchStrategy[list[Any]]]] = {
    "a_bigint": ("bigint", kinds.INT, _elements(generated.whole(64).map(str))),
    "a_text": ("text", kinds.TEXT, _elements(generated.texts(8))),
    "a_numeric": ("numeric(12,2)", kinds.NUMERIC, _elements(generated.decimals(12, 2))),
    "a_bytea": ("bytea", kinds.BYTES, _elements(st.binary(max_size=4).map(_hex))),
    "a_timestamptz": (
        "timestamptz",
        kinds.TIMESTAMP,
        _elements(generated.clocks().map(lambda text: f"{text}+00")),
    ),
}
ALL = {**COLUMNS, **ARRAYS}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(name: str, value: Any) -> str:
    declared = ALL[name][0]
    if value is None:
        return "NULL"
    if name in ARRAYS:
        return f"ARRAY[{', '.join(f'{_quoted(item)}::{declared}' for item in value)}]::{declared}[]"
    return f"{_quoted(value)}::{declared}"


def _of_source(lab: Lab, table: str) -> list[dict[str, Any]]:
    items = [
        f"CASE WHEN num_nonnulls({name}) = 1 THEN {kind.postgres.format(c=name)} END"
        for name, (_, kind, _) in COLUMNS.items()
    ]
    items += [
        f"ARRAY(SELECT {kind.postgres.format(c='e')} FROM unnest({name}) WITH ORDINALITY AS u(e, n)"
        " ORDER BY n)"
        for name, (_, kind, _) in ARRAYS.items()
    ]
    return _normal(lab.database.query(f"SELECT {', '.join(items)} FROM {table} ORDER BY id"))


def _of_destination(lab: Lab) -> list[dict[str, Any]]:
    items = [f"{kind.bigquery.format(c=name)} AS {name}" for name, (_, kind, _) in COLUMNS.items()]
    items += [
        f"ARRAY(SELECT {kind.bigquery.format(c='e')} FROM UNNEST({name}) AS e) AS {name}"
        for name, (_, kind, _) in ARRAYS.items()
    ]
    return _normal(lab.query(f"SELECT {', '.join(items)} FROM {{table}} ORDER BY id"))


def _normal(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        values: dict[str, Any] = {}
        for (name, (_, kind, _)), text in zip(ALL.items(), row, strict=True):
            if name in ARRAYS:
                values[name] = [kind.normal(item) for item in text]
            else:
                values[name] = None if text is None else kind.normal(text)
        found.append(values)
    return found


@generated.round_trips
@given(rows=generated.tables({name: strategy for name, (_, _, strategy) in ALL.items()}))
def test_postgresql_round_trip(lab: Lab, rows: list[dict[str, Any]]) -> None:
    table = fresh_name("t")
    lab.source_id = lab.table = table
    lab.database.execute(
        "DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('fine', 'so so', '''');"
        " SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'"
    )
    declared = [f"{name} {kind}{'[]' if name in ARRAYS else ''}" for name, (kind, _, _) in ALL.items()]
    lab.database.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {', '.join(declared)})")
    values = [
        f"({number}, {', '.join(_literal(*item) for item in row.items())})" for number, row in enumerate(rows)
    ]
    lab.database.execute(f"INSERT INTO {table} VALUES {', '.join(values)}")
    lab.put(source_table_name=table, load_type="catalog", metadata_columns=False)
    lab.steps_ok("first")
    assert not generated.differences(_of_source(lab, table), _of_destination(lab))
