"""Count and checksum of a table on both sides, each computed by its own database.

A row becomes one text, its MD5's first 60 bits a number, and the numbers are added up, so the order of rows
does not matter, a doubled row counts twice, and one changed value changes the sum. PostgreSQL works from its
own values and BigQuery from its own; no row travels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from etl_runner.errors import PermanentError

NULL = r"\N"
_SEPARATOR = "|"
_HEX_DIGITS = 15  # 60 bits: fits a signed 64-bit integer


@dataclass(frozen=True)
class Sum:
    """Rows of a table, and their checksum."""

    rows: int
    checksum: int

    def __str__(self) -> str:
        return f"{self.rows:,} rows, checksum {self.checksum:x}"


@dataclass(frozen=True)
class Column:
    """A column that both sides have: its name and PostgreSQL's name of its type."""

    name: str
    type: str


@dataclass(frozen=True)
class _Texts:
    """How each side writes a type's values so that equal values are equal texts."""

    postgres: str
    bigquery: str


_PLAIN = _Texts("{c}::text", "CAST({c} AS STRING)")
# BigQuery and stand-in write 1012.0 and 39.020 or 1012 and 39.02; PostgreSQL keeps the column's scale.
_NO_TRAILING_ZEROS = (
    r"REGEXP_REPLACE(REGEXP_REPLACE(CAST({c} AS STRING), r'(\.[0-9]*[1-9])0+$', r'\1'), r'\.0*$', '')"
)
_TEXTS = {
    "smallint": _PLAIN,
    "integer": _PLAIN,
    "bigint": _PLAIN,
    "boolean": _PLAIN,
    "date": _PLAIN,
    "text": _Texts("{c}", "{c}"),
    "character varying": _Texts("{c}", "{c}"),
    # Padded with spaces, as the server shows it; its functions for text would take them away.
    "character": _Texts("textin(bpcharout({c}))", "{c}"),
    "numeric": _Texts("trim_scale({c})::text", _NO_TRAILING_ZEROS),
    "double precision": _Texts("{c}::text", _NO_TRAILING_ZEROS),
    "timestamp with time zone": _Texts(
        "(extract(epoch FROM {c}) * 1000000)::bigint::text", "CAST(UNIX_MICROS({c}) AS STRING)"
    ),
}


def columns_of(connection: Any, table: str) -> tuple[Column, ...]:
    """The table's columns in order."""
    rows = connection.run(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = :name ORDER BY ordinal_position",
        name=table,
    )
    return tuple(Column(name, kind) for name, kind in rows)


def source_sum(connection: Any, table: str, columns: Sequence[Column]) -> Sum:
    """PostgreSQL's own count and checksum of a table."""
    hashed = f"('x' || left(md5({_row(columns, _postgres)}), {_HEX_DIGITS}))::bit({4 * _HEX_DIGITS})::bigint"
    rows = connection.run(f'SELECT count(*), coalesce(sum({hashed}::numeric), 0)::text FROM "{table}"')
    return Sum(int(rows[0][0]), int(rows[0][1]))


def destination_sum(client: Any, path: str, columns: Sequence[Column]) -> Sum:
    """BigQuery's own count and checksum of ``project.dataset.table``."""
    text = _row(columns, _bigquery)
    hashed = f"CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5({text})), 1, {_HEX_DIGITS})) AS INT64)"
    total = f"CAST(COALESCE(SUM(CAST({hashed} AS NUMERIC)), 0) AS STRING)"
    query = f"SELECT COUNT(*) AS n, {total} AS s FROM `{path}`"
    row = next(iter(client.query(query).result()))
    return Sum(int(row["n"]), int(str(row["s"]).partition(".")[0]))


def _row(columns: Sequence[Column], text: Callable[[Column], str]) -> str:
    parts = [text(column) for column in columns]
    return "concat(" + f", '{_SEPARATOR}', ".join(parts) + ")"


def _postgres(column: Column) -> str:
    # A value may hold the separator or look like the NULL mark: the length before it keeps them apart.
    value = _texts(column).postgres.format(c=f'"{column.name}"')
    return f"coalesce(char_length({value}) || ':' || {value}, '{NULL}')"


def _bigquery(column: Column) -> str:
    value = _texts(column).bigquery.format(c=f"`{column.name}`")
    return f"COALESCE(CONCAT(CAST(CHAR_LENGTH({value}) AS STRING), ':', {value}), r'{NULL}')"


def _texts(column: Column) -> _Texts:
    try:
        return _TEXTS[column.type]
    except KeyError:
        raise PermanentError(
            f"column {column.name}: {column.type} has no common text yet: add it to local/demo/checksums.py"
        ) from None
