"""The views over the history; Terraform reads the same files."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Any, Protocol

from etl_runner.history.drain import Target
from etl_runner.history.streams import STREAMS

VIEWS = ("etl_last_state", "etl_rows_per_day", "etl_rejects")


class Tables(Protocol):
    """What is asked of BigQuery; implemented by :class:`etl_runner.gcp.jobs.GcpBigQueryJobs`."""

    def create_table(self, table: dict[str, Any]) -> None:
        """Create a table from the API's Table resource; one that exists stays as it is."""

    def put_view(self, path: str, query: str) -> None:
        """Create the view, or give it this query."""


def view_query(name: str, target: Target) -> str:
    """The view's SQL. ``${project}`` and ``${dataset}`` are put in, as Terraform's templatefile does."""
    text = resources.files("etl_runner.history").joinpath(f"views/{name}.sql").read_text("utf-8")
    return Template(text).substitute(project=target.project, dataset=target.dataset)


def put_views(tables: Tables, target: Target) -> tuple[str, ...]:
    """Create the history's tables where they are missing, and its views anew; their names.

    Raises:
        RetryableError, PermanentError: BigQuery is unavailable, or refuses.
    """
    for stream in STREAMS:
        reference = {"projectId": target.project, "datasetId": target.dataset, "tableId": stream.table}
        tables.create_table(
            {
                "tableReference": reference,
                "schema": {"fields": stream.schema()},
                "timePartitioning": {"type": "DAY", "field": stream.partition_field},
                "clustering": {"fields": list(stream.clustering)},
            }
        )
    for name in VIEWS:
        tables.put_view(f"{target.project}.{target.dataset}.{name}", view_query(name, target))
    return (*(stream.table for stream in STREAMS), *VIEWS)
