"""Rules between fields.

They look at the fields as written, so that they can speak together with the problems of single fields: a
value of the wrong kind is passed over here. Blank fields are left out before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etl_runner.config import times
from etl_runner.config.types import FILE_TYPES
from etl_runner.config.values import late_number
from etl_runner.errors import Problem

Fields = Mapping[str, Any]
AZURE_WAYS = ("account_key", "sas_token", "connection_string", "client_secret")
ENGINE_BIGQUERY_TYPES = ("bigquery", "gcs")
CSV_OPTIONS = ("delimiter", "quote", "escape", "encoding", "has_header", "null_markers", "skip_lines")


def database_rules(fields: Fields) -> Iterator[Problem]:
    """What must hold between the fields of a database source."""
    yield from _table_or_query(fields)
    yield from _cursor(fields)
    yield from _common(fields)


def file_rules(fields: Fields) -> Iterator[Problem]:
    """What must hold between the fields of a file source."""
    if fields.get("file_selection") == "latest" and fields.get("load_type") in ("transactional", "upsert"):
        yield Problem(
            "file_selection",
            f"latest would lose the other new files of a {fields['load_type']} load",
            found="'latest'",
            allowed="all, or load_type: catalog",
        )
    if fields.get("exact_generation") in (False, "false") and fields.get("source_type") not in ("gcs", None):
        yield Problem(
            "exact_generation", "can only be given up for gcs sources", found="false", allowed="true"
        )
    yield from _common(fields)


def identity_rules(fields: Fields) -> Iterator[Problem]:
    """BigQuery and Cloud Storage connections: one identity reads."""
    if "credentials" in fields and fields.get("use_runner_account") in (True, "true"):
        yield Problem("use_runner_account", "and credentials exclude each other", allowed="one of the two")


def s3_rules(fields: Fields) -> Iterator[Problem]:
    """S3 connections: a whole key, or none on purpose; never the runner's own surroundings."""
    anonymous = fields.get("anonymous") in (True, "true")
    given = [name for name in ("access_key_id", "secret_access_key", "session_token") if name in fields]
    if anonymous and given:
        yield Problem("anonymous", f"and {given[0]} exclude each other", allowed="one of the two")
    if not anonymous:
        for name in ("access_key_id", "secret_access_key"):
            if name not in fields:
                yield Problem(name, "is required", allowed="a secret, or anonymous: true for a public bucket")


def azure_rules(fields: Fields) -> Iterator[Problem]:
    """Azure connections: one way to sign in, and what belongs to it."""
    given = [name for name in AZURE_WAYS if name in fields]
    if fields.get("anonymous") in (True, "true"):
        given.append("anonymous")
    if not given:
        yield Problem(
            AZURE_WAYS[0], "is required", allowed=f"one of {', '.join(AZURE_WAYS)}, anonymous: true"
        )
    if len(given) > 1:
        yield Problem(given[1], f"and {given[0]} exclude each other", allowed="one of them")
    if "client_secret" in fields:
        for name in ("tenant_id", "client_id"):
            if name not in fields:
                yield Problem(name, "is required with client_secret")
    if "account_name" not in fields and "connection_string" not in fields:
        yield Problem("account_name", "is required", allowed="the storage account's name")


def warnings(fields: Fields) -> Iterator[str]:
    """What is allowed but probably not meant."""
    database = fields.get("source_type") not in FILE_TYPES
    if fields.get("load_type") == "catalog":
        for name in ("historical_start_date", "last_sync_value", "late_window"):
            if name in fields:
                yield f"{name} has no effect: a catalog load reads the whole table"
    if fields.get("immutable_partition") in (True, "true") and fields.get("load_type") != "upsert":
        yield "immutable_partition has no effect: only an upsert looks for the rows that it replaces"
    if "max_rejects" in fields and fields.get("on_bad_row", "fail") == "fail":
        yield "max_rejects has no effect without on_bad_row: reject"
    selected, mapping = _list(fields.get("selected_columns")), fields.get("column_mapping")
    if selected and isinstance(mapping, Mapping):
        for name in mapping:
            if name not in selected:
                yield f"column_mapping renames {name!r}, which selected_columns leaves out"
    options = fields.get("file_format_options")
    if (
        not database
        and fields.get("file_format") in ("parquet", "json", "jsonl")
        and isinstance(options, Mapping)
    ):
        unused = [name for name in CSV_OPTIONS if name in options and name != "encoding"]
        if unused:
            yield f"file_format_options.{unused[0]} has no effect: file_format is {fields['file_format']}"


def _table_or_query(fields: Fields) -> Iterator[Problem]:
    table, query = "source_table_name" in fields, "query" in fields
    if table and query:
        yield Problem("query", "and source_table_name exclude each other", allowed="one of the two")
    elif not table and not query:
        yield Problem("source_table_name", "is required", allowed="a table's name, or a query")
    if query and not table and "schema_name" in fields:
        yield Problem("schema_name", "goes with source_table_name: a query names its schemas itself")


def _cursor(fields: Fields) -> Iterator[Problem]:
    stamp, key = "timestamp_column" in fields, "incrementing_column" in fields
    if stamp and key:
        yield Problem(
            "incrementing_column", "and timestamp_column exclude each other", allowed="one of the two"
        )
        return
    if not stamp and not key and fields.get("load_type") == "transactional":
        yield Problem(
            "timestamp_column",
            "is required: a transactional load needs a cursor",
            allowed="a timestamp_column or an incrementing_column, or load_type: catalog",
        )
    late = fields.get("late_window")
    late = str(late) if isinstance(late, str | int) and not isinstance(late, bool) else None
    last = fields.get("last_sync_value")
    if key:
        if late is not None and late_number(late) is None and _is_duration(late):
            yield Problem(
                "late_window",
                "must be a number of keys, because the cursor is an incrementing_column",
                found=repr(late),
                allowed="a number, 0 or more",
            )
        if "historical_start_date" in fields:
            yield Problem(
                "historical_start_date", "goes with timestamp_column; the cursor is an incrementing_column"
            )
    else:
        if late is not None and late != "0" and late_number(late) is not None:
            yield Problem("late_window", "has no unit", found=repr(late), allowed=times.DURATION_ALLOWED)
        if stamp and isinstance(last, str | int) and not _is_instant(str(last)):
            yield Problem(
                "last_sync_value",
                "is not an instant, and the cursor is a timestamp_column",
                found="text" if isinstance(last, str) else repr(last),
                allowed=times.INSTANT_ALLOWED,
            )


def _common(fields: Fields) -> Iterator[Problem]:
    selected, keys = _list(fields.get("selected_columns")), _list(fields.get("primary_key_column"))
    load_type, mapping = fields.get("load_type"), fields.get("column_mapping")
    if load_type == "upsert" and not fields.get("primary_key_column"):
        yield Problem(
            "primary_key_column", "is required: an upsert merges by it", allowed="a column, or a list"
        )
    for name, values in (("selected_columns", selected), ("primary_key_column", keys)):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            yield Problem(name, f"names {twice[0]!r} more than once")
    missing = [key for key in keys if selected and key not in selected]
    if load_type == "upsert" and missing:
        yield Problem("selected_columns", f"leaves out {missing[0]!r}, which primary_key_column needs")
    if isinstance(mapping, Mapping):
        targets = Counter(value.lower() for value in mapping.values() if isinstance(value, str))
        for target, count in targets.items():
            if count > 1:
                yield Problem(
                    "column_mapping", f"gives {count} columns the name {target!r} (case does not count)"
                )
    clustering = Counter(value.lower() for value in _list(fields.get("clustering")))
    if clustering and max(clustering.values()) > 1:
        yield Problem("clustering", f"names {clustering.most_common(1)[0][0]!r} more than once")
    if fields.get("engine") == "bigquery" and fields.get("source_type") not in (*ENGINE_BIGQUERY_TYPES, None):
        yield Problem(
            "engine",
            f"BigQuery cannot read a {fields['source_type']} source by itself",
            found="'bigquery'",
            allowed="auto, cloud_run, dataflow",
        )
    if fields.get("partition_type", "none") != "none" and "timestamp_column" not in fields:
        yield Problem(
            "partition_type",
            "needs timestamp_column, the column to partition by",
            allowed="none, or timestamp_column",
        )


def _list(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence):
        return [item for item in value if isinstance(item, str)]
    return []


def _is_duration(text: str) -> bool:
    try:
        times.parse_duration(text)
    except ValueError:
        return False
    return True


def _is_instant(text: str) -> bool:
    try:
        times.parse_instant(text)
    except ValueError:
        return False
    return True
