"""Sums and hashes that come out the same in every database, and how each of them writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

Kind = Literal["integer", "decimal", "boolean", "text", "instant", "clock", "date"]
"""How a column is compared. ``instant`` and ``clock`` count microseconds since 1970, ``date`` days."""


class Dialect(Protocol):
    """What a database calls the few functions that are needed. Every method gives SQL text."""

    def text(self, value: str, kind: Kind) -> str:
        """The value as text, the same on every side; NULL stays NULL."""

    def hash(self, texts: Sequence[str]) -> str:
        """A number from 0 to 2^32 - 1 made of texts that are never NULL: the first 32 bits of the MD5 of
        their
        concatenation."""

    def total(self, value: str) -> str:
        """An exact sum as text; NULL for no rows."""


class PostgresDialect:
    """PostgreSQL 13 and later."""

    def text(self, value: str, kind: Kind) -> str:
        if kind == "boolean":
            return f"CASE {value} WHEN true THEN '1' WHEN false THEN '0' END"
        if kind in ("instant", "clock"):
            micros = f"(extract(epoch FROM {value}) * 1000000)::numeric(30, 0)::text"
            return f"CASE WHEN isfinite({value}) THEN {micros} END"
        if kind == "date":
            return f"CASE WHEN isfinite({value}) THEN ({value} - date '1970-01-01')::text END"
        return f"({value})::text"

    def hash(self, texts: Sequence[str]) -> str:
        whole = f"md5(convert_to({' || '.join(texts)}, 'UTF8'))"
        return f"('x' || substr({whole}, 1, 8))::bit(32)::int8"

    def total(self, value: str) -> str:
        return f"sum(({value})::numeric)::text"


class MySqlDialect:
    """MySQL and MariaDB, in a session whose time zone is UTC."""

    def text(self, value: str, kind: Kind) -> str:
        if kind == "boolean":
            return f"CASE WHEN {value} THEN '1' WHEN NOT {value} THEN '0' END"
        if kind in ("instant", "clock"):
            return f"CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {value}) AS CHAR)"
        if kind == "date":
            return f"CAST(DATEDIFF({value}, '1970-01-01') AS CHAR)"
        return f"CONVERT({value} USING utf8mb4)" if kind == "text" else f"CAST({value} AS CHAR)"

    def hash(self, texts: Sequence[str]) -> str:
        return f"CAST(CONV(SUBSTR(MD5(CONCAT({', '.join(texts)})), 1, 8), 16, 10) AS UNSIGNED)"

    def total(self, value: str) -> str:
        return f"CAST(SUM({value}) AS CHAR)"


class BigQueryDialect:
    """GoogleSQL.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/hash_functions
    """

    def text(self, value: str, kind: Kind) -> str:
        if kind == "boolean":
            return f"CASE {value} WHEN TRUE THEN '1' WHEN FALSE THEN '0' END"
        if kind == "instant":
            return f"CAST(UNIX_MICROS({value}) AS STRING)"
        if kind == "clock":
            return f"CAST(UNIX_MICROS(TIMESTAMP({value}, 'UTC')) AS STRING)"
        if kind == "date":
            return f"CAST(UNIX_DATE({value}) AS STRING)"
        return f"CAST({value} AS STRING)"

    def hash(self, texts: Sequence[str]) -> str:
        return f"CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5(CONCAT({', '.join(texts)}))), 1, 8)) AS INT64)"

    def total(self, value: str) -> str:
        return f"CAST(SUM(CAST({value} AS BIGNUMERIC)) AS STRING)"
