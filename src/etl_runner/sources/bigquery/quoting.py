"""SQL text of BigQuery from names and values.

https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical. Units are read by conditions of the
Storage Read API, which take no parameters, so bounds are literals.
"""

from __future__ import annotations

from datetime import UTC, datetime


def identifier(name: str) -> str:
    """``name`` in backquotes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value: str) -> str:
    """``value`` as an SQL string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def instant_literal(value: datetime) -> str:
    """An aware datetime as a TIMESTAMP: ``TIMESTAMP '2024-01-01 00:00:00.000000+00'``."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return f"TIMESTAMP '{text}+00'"
