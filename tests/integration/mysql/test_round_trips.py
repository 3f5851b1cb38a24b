"""Generated rows of MariaDB arrive with equal values: each side's own text is compared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import fresh_name
from tests.integration.exactness import generated, kinds
from tests.integration.exactness.lab import Lab
from tests.integration.mysql.support import Database

pytestmark = pytest.mark.stack


def _text(value: str) -> str:
    return f"_utf8mb4 X'{value.encode().hex()}'"


def _json(value: str) -> str:
    return f"IF(JSON_VALID({_text(value)}), {_text(value)}, NULL)"


def _quoted(value: str) -> str:
    return f"'{value}'"


def _bytes(value: bytes) -> str:
    return f"X'{value.hex()}'"


# Column: its type, how it is compared, the server's text of it, values, and how they are written in SQL.
Column = tuple[str, kinds.Kind, str, st.SearchStrategy[Any], Callable[[Any], str]]
_UNIX = "CAST(UNIX_TIMESTAMP({c}) * 1000000 AS DECIMAL(30, 0))"
_EPOCH, _END = dt.date(1970, 1, 2), dt.date(2038, 1, 18)
COLUMNS: dict[str, Column] = {
    "c_tiny": ("tinyint", kinds.INT, "{c}", generated.whole(8), str),
    "c_int": ("int", kinds.INT, "{c}", generated.whole(32), str),
    "c_bigint": ("bigint", kinds.INT, "{c}", generated.whole(64), str),
    "c_unsigned": ("bigint unsigned", kinds.NUMERIC, "{c}", generated.whole(64, signed=False), str),
    "c_bit": ("bit(17)", kinds.INT, "{c} + 0", generated.whole(17, signed=False), str),
    "c_year": ("year", kinds.INT, "{c}", st.integers(1901, 2155), str),
    "c_float": (
        "float",
        kinds.DOUBLE,
        "{c} * 1e0",
        st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
        repr,
    ),
    "c_double": ("double", kinds.DOUBLE, "{c}", st.floats(allow_nan=False, allow_infinity=False), repr),
    "c_decimal": ("decimal(12,2)", kinds.NUMERIC, "{c}", generated.decimals(12, 2), str),
    "c_decimal_wide": ("decimal(38,9)", kinds.NUMERIC, "{c}", generated.decimals(38, 9), str),
    # The stand-in's BIGNUMERIC has 38 digits.
    "c_decimal_big": ("decimal(38,18)", kinds.BIGNUMERIC, "{c}", generated.decimals(38, 18), str),
    "c_latin": (
        "varchar(20) CHARACTER SET latin1",
        kinds.TEXT,
        "{c}",
        st.text(st.characters(codec="cp1252", exclude_categories=["Cs"]), max_size=20),
        _text,
    ),
    "c_varchar": (
        "varchar(40) CHARACTER SET utf8mb4",
        kinds.TEXT,
        "{c}",
        generated.texts(40, nul=True),
        _text,
    ),
    "c_text": ("longtext CHARACTER SET utf8mb4", kinds.TEXT, "{c}", generated.texts(40, nul=True), _text),
    "c_enum": ("enum('', 'a,b', 'ä')", kinds.TEXT, "{c}", st.sampled_from(["", "a,b", "ä"]), _text),
    "c_blob": ("blob", kinds.BYTES, "LOWER(HEX({c}))", st.binary(max_size=40), _bytes),
    "c_binary": ("binary(4)", kinds.BYTES, "LOWER(HEX({c}))", st.binary(max_size=4), _bytes),
    "c_date": ("date", kinds.DATE, "{c}", generated.dates(dt.date(1000, 1, 1)), _quoted),
    "c_time": ("time(6)", kinds.TIME, "{c}", generated.times(), _quoted),
    "c_datetime": ("datetime(6)", kinds.DATETIME, "{c}", generated.clocks(dt.date(1000, 1, 1)), _quoted),
    "c_timestamp": ("timestamp(6) NULL", kinds.TIMESTAMP, _UNIX, generated.clocks(_EPOCH, _END), _quoted),
    # MariaDB does not take all JSON for valid.
    "c_json": ("json", kinds.JSON, "{c}", generated.json_texts(), _json),
    "c_uuid": ("uuid", kinds.TEXT, "{c}", st.uuids().map(str), _quoted),
}


def _normal(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        {
            name: None if text is None else kind.normal(text)
            for (name, (_, kind, _, _, _)), text in zip(COLUMNS.items(), row, strict=True)
        }
        for row in rows
    ]


@generated.round_trips
@given(rows=generated.tables({name: column[3] for name, column in COLUMNS.items()}))
def test_mariadb_round_trip(lab: Lab, mariadb: Database, rows: generated.Rows) -> None:
    table = fresh_name("t")
    lab.source_id = lab.table = table
    lab.password_file.write_text(mariadb.server.password)
    declared = ", ".join(f"{name} {column[0]}" for name, column in COLUMNS.items())
    mariadb.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {declared})")
    literals = [
        ", ".join("NULL" if value is None else COLUMNS[name][4](value) for name, value in row.items())
        for row in rows
    ]
    mariadb.execute(
        f"INSERT INTO {table} VALUES {', '.join(f'({i}, {row})' for i, row in enumerate(literals))}"
    )
    server = {
        "source_type": "mysql",
        "host": mariadb.server.host,
        "port": mariadb.server.port,
        "database": mariadb.name,
        "username": mariadb.server.user,
        "password": {"file": str(lab.password_file)},
    }
    lab.put(
        server=server,
        source_type="mysql",
        source_table_name=table,
        load_type="catalog",
        metadata_columns=False,
    )
    lab.steps_ok("first")
    printed = ", ".join(column[2].format(c=name) for name, column in COLUMNS.items())
    wanted = mariadb.text(f"SELECT {printed} FROM {table} ORDER BY id")
    printed = ", ".join(
        f"{kind.bigquery.format(c=name)} AS {name}" for name, (_, kind, *_) in COLUMNS.items()
    )
    found = lab.query(f"SELECT {printed} FROM {{table}} ORDER BY id")
    assert not generated.differences(_normal(wanted), _normal(found))
