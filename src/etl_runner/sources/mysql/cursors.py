"""Cursors of MySQL: the arithmetic is that of all databases, the literals are MySQL's own."""

from __future__ import annotations

from dataclasses import dataclass

from etl_runner.sources.cursors import Cursor, CursorKind, CursorValue

TIME_TYPES: dict[str, CursorKind] = {"timestamp": "timestamptz", "datetime": "timestamp", "date": "date"}
KEY_TYPES: dict[str, CursorKind] = dict.fromkeys(
    ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal"), "key"
)


@dataclass(frozen=True)
class MyCursor(Cursor):
    """A cursor column; the session's time zone is UTC."""

    def literal(self, value: CursorValue) -> str:
        """The value as SQL text: ``TIMESTAMP'2024-01-01 00:00:00.000000'``, ``DATE'2024-01-01'``, ``17``."""
        return sql_literal(self.text(value), self.kind)


def sql_literal(text: str, kind: CursorKind) -> str:
    """A value's text as SQL text."""
    if kind == "key":
        return text
    return f"{'DATE' if kind == 'date' else 'TIMESTAMP'}'{text.removesuffix('+00')}'"
