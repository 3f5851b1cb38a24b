"""Generated rows of a BigQuery table arrive with equal values, read through the Storage API and converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import fresh_name
from tests.integration.bigquery.support import Lab
from tests.integration.exactness import generated

pytestmark = pytest.mark.stack


def _text(value: str) -> str:
    """A literal without any character that a parser could misread."""
    return f"SAFE_CONVERT_BYTES_TO_STRING(FROM_HEX('{value.encode().hex()}'))"


def _cast(kind: str) -> Callable[[Any], str]:
    return lambda value: f"CAST('{value}' AS {kind})"


def _struct(value: tuple[int, list[str], str]) -> str:
    number, words, day = value
    return f"STRUCT({number} AS a, [{', '.join(_text(word) for word in words)}] AS b, DATE '{day}' AS c)"


# Column: its type, how BigQuery prints it, values, and how they are written in SQL.
Column = tuple[str, str, st.SearchStrategy[Any], Callable[[Any], str]]
COLUMNS: dict[str, Column] = {
    "s": ("STRING", "{c}", generated.texts(30, nul=True), _text),
    "b": ("BYTES", "TO_HEX({c})", st.binary(max_size=20), lambda value: f"FROM_HEX('{value.hex()}')"),
    "i": ("INT64", "CAST({c} AS STRING)", generated.whole(64), _cast("INT64")),
    "f": ("FLOAT64", "CAST({c} AS STRING)", st.floats().map(repr), _cast("FLOAT64")),
    "n": ("NUMERIC", "CAST({c} AS STRING)", generated.decimals(38, 9), _cast("NUMERIC")),
    # The stand-in's BIGNUMERIC has 38 digits.
    "bn": ("BIGNUMERIC", "CAST({c} AS STRING)", generated.decimals(38, 18), _cast("BIGNUMERIC")),
    "o": ("BOOL", "CAST({c} AS STRING)", st.booleans(), lambda value: str(value).upper()),
    "d": ("DATE", "CAST({c} AS STRING)", generated.dates(), _cast("DATE")),
    "dt": ("DATETIME", "CAST({c} AS STRING)", generated.clocks(), _cast("DATETIME")),
    "tm": ("TIME", "CAST({c} AS STRING)", generated.times(), _cast("TIME")),
    "ts": (
        "TIMESTAMP",
        "CAST(UNIX_MICROS({c}) AS STRING)",
        generated.clocks(),
        lambda value: f"TIMESTAMP '{value}+00'",
    ),
    "j": ("JSON", "TO_JSON_STRING({c})", generated.json_texts(), lambda value: f"PARSE_JSON({_text(value)})"),
    "st": (
        "STRUCT<a INT64, b ARRAY<STRING>, c DATE>",
        "TO_JSON_STRING({c})",
        st.tuples(
            generated.whole(64), st.lists(generated.texts(6), min_size=1, max_size=3), generated.dates()
        ),
        _struct,
    ),
    "ar": (
        "ARRAY<INT64>",
        "TO_JSON_STRING({c})",
        st.lists(generated.whole(64), min_size=1, max_size=4),
        lambda value: str(value),
    ),
}


@generated.round_trips
@given(rows=generated.tables({name: column[2] for name, column in COLUMNS.items()}, never_null=["ar"]))
def test_bigquery_round_trip(lab: Lab, rows: generated.Rows) -> None:
    table = fresh_name("t")
    declared = ", ".join(f"{name} {column[0]}" for name, column in COLUMNS.items())
    values = ", ".join(
        f"({number}, "
        + ", ".join("NULL" if value is None else COLUMNS[name][3](value) for name, value in row.items())
        + ")"
        for number, row in enumerate(rows)
    )
    lab.sql(
        f"CREATE TABLE {{source}}.{table} (id INT64 NOT NULL, {declared})",
        f"INSERT INTO {{source}}.{table} (id, {', '.join(COLUMNS)}) VALUES {values}",
    )
    source = lab.put(
        source_table_name=table, dest_table_name=table, engine="cloud_run", metadata_columns=False
    )
    plan, receipt = lab.run(source)
    assert (plan.header.engine, receipt["outcome"]) == ("cloud_run", "ok"), receipt
    printed = ", ".join(f"{column[1].format(c=name)} AS {name}" for name, column in COLUMNS.items())
    wanted, found = (
        [
            dict(zip(COLUMNS, row, strict=True))
            for row in lab.rows(f"SELECT {printed} FROM {where} ORDER BY id")
        ]
        for where in (f"{{source}}.{table}", f"{{dataset}}.{table}")
    )
    assert [row["s"] for row in wanted] == [row["s"] for row in rows]
    assert not generated.differences(wanted, found)
