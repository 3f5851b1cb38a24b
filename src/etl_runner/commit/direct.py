"""The commit of a run that extracts nothing: BigQuery reads the source itself, or loads its files.

One query job writes into the destination, or two where a table must not be emptied by mistake. The rows that
it must write are known where the source could be counted as of the query's own instant; otherwise what
BigQuery reports is taken as right, and the plan says so. A merge is not counted, since keys may repeat.

A load job's URIs name no generation (https://cloud.google.com/bigquery/docs/loading-data-cloud-storage,
"BigQuery does not support Cloud Storage object versioning"). So the files' versions are looked at when the
job is done: no version comes back, so those that are still the planned ones are what the job has read. What
was staged is published only then; what went straight into the destination cannot be taken back and pauses the
source.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from etl_runner.commit.prepare import base_receipt, extracted_receipt
from etl_runner.commit.staging import quote, string_literal
from etl_runner.commit.steps import commit_steps, publish, staging_resource, staging_table, written_columns
from etl_runner.planning.plan import PlanHeader
from etl_runner.state.document import State
from etl_runner.state.records import CommitRecord, Originals, Preparation, Step


def direct_record(header: PlanHeader, state: State, now: datetime) -> CommitRecord:
    """What the commit of a plan without units will do."""
    steps, drop = _direct_steps(header, now)
    watermark = state.watermark if header.next_watermark is None else header.next_watermark
    return CommitRecord(
        source_id=header.source_id,
        run_id=header.run_id,
        epoch=header.epoch,
        location=header.destination.location,
        rows=header.estimated_rows or 0,
        steps=steps,
        watermark=header.next_watermark,
        ledger_segment=None,
        receipt={**base_receipt(header, state), "watermark_after": watermark},
        drop_tables=drop,
    )


def loads_files(header: PlanHeader) -> bool:
    """Whether the plan is one of files that BigQuery loads itself."""
    return header.direct is not None and "files" in header.direct


def load_record(header: PlanHeader, state: State, now: datetime, ledger_segment: str | None) -> CommitRecord:
    """What the commit of a plan of original files will do. ``ledger_segment`` is written already."""
    direct = header.direct or {}
    files = direct["files"]
    uris = [file["uri"] for file in files]
    steps, drop = commit_steps(header, uris, direct["rows"], now, staged=direct["staged"])
    receipt = {
        **extracted_receipt(header, state, (), ledger_segment),
        "rows_read": direct["rows"],
        "bytes": sum(file["size"] for file in files),
    }
    return CommitRecord(
        source_id=header.source_id,
        run_id=header.run_id,
        epoch=header.epoch,
        location=header.destination.location,
        rows=direct["rows"],
        steps=steps,
        watermark=None,
        ledger_segment=ledger_segment,
        receipt=receipt,
        drop_tables=drop,
        originals=Originals(header.config, tuple((file["name"], file["version"]) for file in files)),
    )


def _direct_steps(header: PlanHeader, now: datetime) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    direct = header.direct or {}
    rows = direct["rows"]
    columns = written_columns(header)
    values = {
        "_etl_run_id": f"{string_literal(header.run_id)} AS {quote('_etl_run_id')}",
        "_etl_loaded_at": f"TIMESTAMP {string_literal(header.created)} AS {quote('_etl_loaded_at')}",
    }
    selected = ", ".join(values.get(column.name, quote(column.name)) for column in columns)
    source = f"SELECT {selected} FROM ({direct['query']})"
    may_be_empty = header.allow_empty or rows is not None or not header.destination.exists
    if header.disposition != "replace" or may_be_empty:
        return (publish(header, source, columns, rows),), ()
    # Nobody knows yet whether there are rows: they are put aside, and a table without any is not published.
    staging = staging_table(header)
    query: dict[str, Any] = {
        "query": source,
        "useLegacySql": False,
        "destinationTable": staging_resource(header, columns, now)["tableReference"],
        "createDisposition": "CREATE_NEVER",
        "writeDisposition": "WRITE_TRUNCATE",
    }
    prepare = Preparation("create", staging_resource(header, columns, now))
    aside = Step("query", {"query": query}, None, (prepare,))
    message = (
        f"the source is empty, so {header.destination.path} would be emptied; it was left as it is. "
        "Set allow_empty: true if that is meant"
    )
    names = ", ".join(quote(column.name) for column in columns)
    guarded = (
        f"SELECT {names} FROM (SELECT IF(COUNT(*) = 0, ERROR({string_literal(message)}), 1) AS etl_any"
        f" FROM {quote(staging)}) LEFT JOIN {quote(staging)} ON etl_any = 1"
    )
    return (aside, publish(header, guarded, columns, None)), (staging,)
