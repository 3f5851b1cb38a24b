"""What this source asks of BigQuery; :mod:`etl_runner.gcp.warehouse` does it with the official clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from etl_runner.convert.fields import BqField

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DryRun:
    """What BigQuery says of a query without running it; costs nothing."""

    columns: tuple[BqField, ...]
    bytes: int
    """Bytes that the query would process."""
    location: str | None
    """Where the query would run."""
    statement: str
    """``SELECT``, or another kind of statement."""


class Warehouse(Protocol):
    """BigQuery, as one identity sees it. Each call may raise RetryableError or PermanentError."""

    @property
    def billing_project(self) -> str:
        """The project in which queries run and which pays for them."""

    @property
    def runner_project(self) -> str:
        """The deployment's own project, in which commits run."""

    def get_table(self, path: str) -> dict[str, Any] | None:
        """The API's Table resource of ``project.dataset.table``, or None."""

    def dry_run(self, sql: str, location: str | None) -> DryRun:
        """Check a query. ``location`` None lets BigQuery find it from the tables that are named."""

    def rows(self, sql: str, location: str | None) -> list[tuple[Any, ...]]:
        """The few rows of a short query."""

    def run(self, sql: str, location: str | None) -> str:
        """Run a query to its end; ``project.dataset.table`` of its result, which BigQuery keeps for a day."""

    def first(self, table: str, fields: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """At most so many rows of ``project.dataset.table`` as they are now, of these columns, in the table's
        order; by tabledata.list, which bills nothing and needs no Storage API."""

    def read(
        self, table: str, fields: Sequence[str], restriction: str | None, at: datetime | None
    ) -> Iterator[pa.RecordBatch]:
        """Rows of ``project.dataset.table`` through the Storage Read API, in bounded batches.

        Args:
            fields: columns to read; all when empty. Batches have them in the table's order.
            restriction: an SQL condition that rows must meet.
            at: the instant as of which rows are read; now when None.
        """
