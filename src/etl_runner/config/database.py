"""Source documents of databases: PostgreSQL, MySQL, BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from etl_runner.config import times
from etl_runner.config.connections import BigQueryConnection, MySqlConnection, PostgresConnection
from etl_runner.config.rules import database_rules
from etl_runner.config.sources import SourceDocument
from etl_runner.config.values import (
    LateText,
    SourceName,
    StartText,
    TextOrNumber,
    Whole,
    late_number,
    refusal,
)
from etl_runner.errors import Problem

DEFAULT_LATE = timedelta(hours=1)


def _one_statement(query: str) -> str:
    """The query without the semicolon at its end, since it is read as a subquery."""
    stripped = query.strip().rstrip(";").rstrip()
    if not stripped:
        raise refusal("is empty", "one SELECT statement")
    return stripped


class DatabaseSource(SourceDocument):
    """A table or query of a database."""

    default_late_keys: ClassVar[Decimal] = Decimal(0)
    """Reads that can only stay behind by the late window would never see the newest keys."""
    aliases: ClassVar[Mapping[str, str]] = {
        **SourceDocument.aliases,
        "table_name": "source_table_name",
        "source_table": "source_table_name",
        "source_schema": "schema_name",
    }

    source_table_name: SourceName | None = Field(None, description="Table or view to read.")
    schema_name: SourceName | None = Field(
        None, description="Schema (PostgreSQL), database (MySQL) or dataset (BigQuery) of the table."
    )
    query: Annotated[str, Field(max_length=100_000), AfterValidator(_one_statement)] | None = Field(
        None, description="A SELECT statement to read instead of a table."
    )
    incrementing_column: SourceName | None = Field(
        None,
        description="The cursor of an incremental load by an increasing key, instead of timestamp_column.",
    )
    last_sync_value: TextOrNumber | None = Field(
        None, description="Where an earlier system stopped: the first run reads what lies after it."
    )
    historical_start_date: StartText | None = Field(
        None, description="Where a first run begins: a date, a date-time, or relative, such as -5d."
    )
    late_window: LateText | None = Field(
        None,
        description="How late a row may appear behind its cursor and still be loaded: 1h when absent; "
        "for an incrementing_column a number of keys, when absent 10000 for tables of PostgreSQL, else 0.",
    )
    settle_seconds: Annotated[Whole, Field(ge=0, le=86_400)] = Field(
        60, description="MySQL: stay this far behind now where open transactions cannot be seen."
    )

    @property
    def cursor_column(self) -> str | None:
        """The column that tells new rows from old ones, or None."""
        return self.timestamp_column or self.incrementing_column

    @property
    def late_duration(self) -> timedelta:
        """The late window of a timestamp cursor."""
        return DEFAULT_LATE if self.late_window is None else times.parse_duration(self.late_window)

    @property
    def late_keys(self) -> Decimal:
        """The late window of an increasing key, in key units."""
        if self.late_window is None:
            return self.default_late_keys
        return late_number(self.late_window) or Decimal(0)

    def start_at(self, now: datetime) -> datetime | None:
        """``historical_start_date`` as an instant in UTC, seen from ``now`` (aware); None when absent."""
        if self.historical_start_date is None:
            return None
        return times.parse_start(self.historical_start_date).at(now)

    @classmethod
    def rules(cls, fields: Mapping[str, Any]) -> Iterator[Problem]:
        return database_rules(fields)


class PostgresSource(DatabaseSource):
    """A table, view or query of PostgreSQL."""

    default_late_keys: ClassVar[Decimal] = Decimal(10_000)
    """Any two writers commit keys out of their order, and an index makes looking back over them cheap."""

    source_type: Literal["postgresql"] = Field(description="The kind of source.")
    connection_params: PostgresConnection | None = Field(None, description="The connection, written inline.")


class MySqlSource(DatabaseSource):
    """A table, view or query of MySQL or MariaDB."""

    source_type: Literal["mysql"] = Field(description="The kind of source.")
    connection_params: MySqlConnection | None = Field(None, description="The connection, written inline.")


class BigQuerySource(DatabaseSource):
    """A table, view or query of BigQuery."""

    source_type: Literal["bigquery"] = Field(description="The kind of source.")
    connection_params: BigQueryConnection | None = Field(None, description="The connection, written inline.")
