"""Rules about a load and the table that it meets."""

from __future__ import annotations

from etl_runner.convert.fields import BqField
from etl_runner.jsontypes import JsonObject
from local.bigquery.front.facts import Facts
from local.bigquery.front.loadjob import LoadJob


def _existing(facts: Facts) -> tuple[BqField, ...]:
    fields = ((facts.table or {}).get("schema") or {}).get("fields") or ()
    return tuple(BqField.from_api(field) for field in fields)


def _keeps_schema(job: LoadJob) -> bool:
    return job.disposition in ("WRITE_APPEND", "WRITE_TRUNCATE_DATA")


def schema_changes(job: LoadJob, facts: Facts) -> str | None:
    """An explicit schema must agree with the table's: types, modes, columns (additions aside)."""
    existing = _existing(facts)
    if not existing or not job.schema or not _keeps_schema(job):
        return None
    problem = _difference(existing, job.schema, job.schema_update_options, "")
    return f"Provided Schema does not match Table {job.destination}. {problem}" if problem else None


def _difference(
    existing: tuple[BqField, ...], given: tuple[BqField, ...], options: tuple[str, ...], prefix: str
) -> str | None:
    known = {field.name.casefold(): field for field in existing}
    named = {field.name.casefold() for field in given}
    for field in given:
        path = f"{prefix}{field.name}"
        table_field = known.get(field.name.casefold())
        if table_field is None:
            if "ALLOW_FIELD_ADDITION" not in options:
                return f"Cannot add fields (field: {path})"
            if field.mode == "REQUIRED":
                return f"Cannot add required fields to an existing schema. (field: {path})"
            continue
        if field.type != table_field.type:
            return f"Field {path} has changed type from {table_field.type} to {field.type}"
        relaxed = table_field.mode == "REQUIRED" and field.mode == "NULLABLE"
        if field.mode != table_field.mode and not (relaxed and "ALLOW_FIELD_RELAXATION" in options):
            return f"Field {path} has changed mode from {table_field.mode} to {field.mode}"
        nested = _difference(table_field.fields, field.fields, options, f"{path}.")
        if nested:
            return nested
    for field in existing:
        if field.mode == "REQUIRED" and field.name.casefold() not in named:
            return f"Field {prefix}{field.name} is missing in new schema"
    return None


def layout_changes(job: LoadJob, facts: Facts) -> str | None:
    """Partitioning and clustering given with the job must be the table's own."""
    if facts.table is None or not _keeps_schema(job) or not _existing(facts):
        return None
    given, own = job.time_partitioning, facts.table.get("timePartitioning")
    if given and _partitioning(given) != _partitioning(own):
        return (
            "Incompatible table partitioning specification. Expects partitioning specification "
            f"{_partitioning(own)}, but input partitioning specification is {_partitioning(given)}"
        )
    clustering = tuple(((facts.table.get("clustering") or {}).get("fields")) or ())
    if job.clustering and job.clustering != clustering:
        return (
            "Incompatible table partitioning specification. Expects clustering "
            f"({','.join(clustering)}), but input is clustered by ({','.join(job.clustering)})"
        )
    return None


def _partitioning(spec: JsonObject | None) -> str:
    if not spec:
        return "none"
    return (
        f"interval(type:{(spec.get('type') or 'DAY').lower()},field:{spec.get('field') or '_PARTITIONTIME'})"
    )


def schema_update_options(job: LoadJob, _facts: Facts) -> str | None:
    """Schema update options go with WRITE_APPEND and WRITE_TRUNCATE_DATA (partitions aside)."""
    if job.schema_update_options and not _keeps_schema(job) and "$" not in job.destination.table:
        return (
            "Schema update options should only be specified with WRITE_APPEND disposition, "
            "WRITE_TRUNCATE_DATA disposition, or with WRITE_TRUNCATE disposition on a table partition."
        )
    return None


def partition_decorator(job: LoadJob, _facts: Facts) -> str | None:
    """The stand-in does not know partition decorators."""
    if "$" in job.destination.table:
        return f"The local stand-in cannot load into one partition: {job.destination}"
    return None
