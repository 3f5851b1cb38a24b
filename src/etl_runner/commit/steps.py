"""From a plan and its shards to the BigQuery jobs that commit them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from etl_runner.commit.merge import Bounds, merge_statement
from etl_runner.commit.ranges import delete_statement, replace_statement
from etl_runner.commit.staging import needs_staging, publish_expression, quote, staging_field
from etl_runner.convert.fields import BqField
from etl_runner.planning.plan import Destination, PlanHeader
from etl_runner.state.records import Preparation, Step

# https://cloud.google.com/bigquery/quotas#load_jobs
MAX_LOAD_URIS = 10_000
MAX_LOAD_BYTES = 15 * 10**12
STAGING_LIFE = timedelta(days=2)


def commit_steps(
    header: PlanHeader,
    uris: Sequence[str],
    rows: int,
    now: datetime,
    bounds: Bounds | None = None,
    *,
    staged: bool = False,
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The jobs that make ``uris`` visible in the plan's destination, and the staging tables to drop.

    One load job where Parquet can fill the destination; otherwise, and for a merge, a load into a staging
    table and one query from there; ``staged`` asks for that. ``rows`` is what the manifests say; ``bounds``
    what a merge is pruned by.
    """
    if not uris:
        return (_empty(header),), ()
    staged = staged or any(needs_staging(column) for column in header.destination.schema)
    if not staged and header.disposition not in ("merge", "replace_range"):
        return (_load(header, uris, rows),), ()
    staging = staging_table(header)
    columns = written_columns(header)
    table = staging_resource(header, [staging_field(column) for column in columns], now)
    load = {
        **_parquet(uris),
        "destinationTable": _reference(staging),
        "schema": table["schema"],
        "createDisposition": "CREATE_NEVER",
        "writeDisposition": "WRITE_TRUNCATE",
    }
    stage = Step("load", {"load": load}, rows, (Preparation("create", table),))
    numbers = header.config.get("document", {}).get("json_numbers") or "fail"
    selected = ", ".join(publish_expression(column, numbers) for column in columns)
    source = f"SELECT {selected} FROM {quote(staging)}"
    return (stage, publish(header, source, columns, rows, bounds)), (staging,)


def table_resource(destination: Destination) -> dict[str, Any]:
    """The API's Table resource for a destination that is to be created."""
    return {
        "tableReference": _reference(destination.path),
        "schema": {"fields": [column.to_api() for column in destination.schema]},
        **_layout(destination),
    }


def _load(header: PlanHeader, uris: Sequence[str], rows: int) -> Step:
    destination = header.destination
    load: dict[str, Any] = {
        **_parquet(uris),
        "destinationTable": _reference(destination.path),
        "schema": {"fields": [column.to_api() for column in destination.schema]},
        "createDisposition": "CREATE_NEVER" if destination.exists else "CREATE_IF_NEEDED",
        "writeDisposition": "WRITE_APPEND",
    }
    if header.disposition == "replace" and destination.exists:
        # Keeps partitioning, clustering, descriptions and policy tags.
        load["writeDisposition"] = "WRITE_TRUNCATE_DATA"
    if not destination.exists:
        load |= _layout(destination)
    elif any("." in name for name in destination.added):
        # What is documented for fields inside a RECORD is a change of the table's schema.
        # https://cloud.google.com/bigquery/docs/managing-table-schemas#add_a_nested_column_to_a_record_column
        return Step("load", {"load": load}, rows, (_addition(destination),))
    elif destination.added:
        load["schemaUpdateOptions"] = ["ALLOW_FIELD_ADDITION"]
    return Step("load", {"load": load}, rows)


def _addition(destination: Destination) -> Preparation:
    return Preparation("add_columns", table_resource(destination))


def _empty(header: PlanHeader) -> Step:
    """A source that became empty, as a whole or in a window, where that is allowed."""
    query = f"TRUNCATE TABLE {quote(header.destination.path)}"
    if header.disposition == "replace_range":
        query = delete_statement(header)
    return Step("query", {"query": {"query": query, "useLegacySql": False}}, None)


def publish(
    header: PlanHeader,
    source: str,
    columns: Sequence[BqField],
    rows: int | None,
    bounds: Bounds | None = None,
) -> Step:
    """The query job that writes ``source``, a SELECT of ``columns``, into the destination.

    ``rows`` is what it must write, None where that is not known; ``bounds`` are those of the partitioning
    column's values, where they are known.
    """
    destination = header.destination
    if destination.exists:
        prepare = (_addition(destination),) if destination.added else ()
    else:
        prepare = (Preparation("create", table_resource(destination)),)
    if header.disposition == "merge":
        merge = merge_statement(header, source, columns, bounds)
        # How many rows a merge touches is not how many were staged: keys may repeat.
        return Step("query", {"query": {"query": merge, "useLegacySql": False}}, None, prepare)
    if header.disposition == "replace_range":
        statement = replace_statement(header, source, columns)
        # What was deleted counts too; how many rows are inserted was checked when they were staged.
        return Step("query", {"query": {"query": statement, "useLegacySql": False}}, None, prepare)
    if header.disposition == "append":
        names = ", ".join(quote(column.name) for column in columns)
        query: dict[str, Any] = {
            "query": f"INSERT INTO {quote(destination.path)} ({names}) {source}",
            "useLegacySql": False,
        }
    else:
        query = {
            "query": source,
            "useLegacySql": False,
            "destinationTable": _reference(destination.path),
            "createDisposition": "CREATE_NEVER",
            "writeDisposition": "WRITE_TRUNCATE_DATA",
        }
    return Step("query", {"query": query}, rows, prepare)


def written_columns(header: PlanHeader) -> tuple[BqField, ...]:
    """The destination's columns that the run fills, in the destination's order."""
    carried = {column.destination.name for column in header.columns} | set(header.metadata)
    return tuple(column for column in header.destination.schema if column.name in carried)


def _parquet(uris: Sequence[str]) -> dict[str, Any]:
    return {
        "sourceFormat": "PARQUET",
        "sourceUris": list(uris),
        "parquetOptions": {"enableListInference": True},
        "decimalTargetTypes": ["NUMERIC", "BIGNUMERIC"],
    }


def _layout(destination: Destination) -> dict[str, Any]:
    layout: dict[str, Any] = {}
    if destination.partition_field is not None:
        layout["timePartitioning"] = {
            "type": destination.partition_type or "DAY",
            "field": destination.partition_field,
        }
    if destination.clustering:
        layout["clustering"] = {"fields": list(destination.clustering)}
    return layout


def staging_resource(header: PlanHeader, columns: Sequence[BqField], now: datetime) -> dict[str, Any]:
    """The API's Table resource of the run's staging table, which expires by itself."""
    return {
        "tableReference": _reference(staging_table(header)),
        "schema": {"fields": [column.to_api() for column in columns]},
        "expirationTime": str(int((now + STAGING_LIFE).timestamp() * 1000)),
        "labels": {"etl_staging": "1"},
    }


def staging_table(header: PlanHeader) -> str:
    """``project.dataset.table`` of the run's staging table."""
    destination = header.destination
    safe = "".join(
        sign if sign.isalnum() else "_" for sign in f"{header.source_id}_{header.epoch}_{header.run_id}"
    )
    return f"{destination.project}.{destination.dataset}.etl_staging_{safe}"


def _reference(path: str) -> dict[str, str]:
    project, dataset, table = path.split(".", 2)
    return {"projectId": project, "datasetId": dataset, "tableId": table}
