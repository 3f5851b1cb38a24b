"""Which columns go where: the source's description meets the destination's schema.

An existing destination is the authority (its types stand, its columns may not be taken away); a missing
one is described here and created by the commit.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from etl_runner.config.sources import SourceDocument
from etl_runner.config.types import FILE_TYPES
from etl_runner.convert.fields import BqField, Mode
from etl_runner.convert.growth import grown, lacking
from etl_runner.convert.names import destination_names
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import Destination, PlannedColumn
from etl_runner.planning.upsert import Merge, merge_of
from etl_runner.sources.base import Description, SourceColumn

METADATA_FIELDS = {
    "_etl_run_id": BqField("_etl_run_id", "STRING", description="The run that loaded the row"),
    "_etl_loaded_at": BqField("_etl_loaded_at", "TIMESTAMP", description="When that run was planned"),
    "_etl_source_file": BqField("_etl_source_file", "STRING", description="The file that the row is from"),
}
_OF_FILES = "_etl_source_file"
# https://cloud.google.com/bigquery/docs/clustered-tables#cluster_column_types
_CLUSTERABLE = frozenset(
    {"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIMESTAMP"}
)
_PARTITIONABLE = frozenset({"DATE", "TIMESTAMP", "DATETIME"})

Expression = Callable[[SourceColumn, BqField], str | None]


class Tables(Protocol):
    """What the planner asks BigQuery; metadata only."""

    def get_table(self, path: str) -> dict[str, Any] | None:
        """The API's Table resource of ``project.dataset.table``, or None."""

    def dataset_location(self, path: str) -> str | None:
        """The location of ``project.dataset``, or None when there is none."""


@dataclass(frozen=True)
class Matched:
    """The columns on their way, the destination they go to, and what there is to say about it."""

    columns: tuple[PlannedColumn, ...]
    destination: Destination
    metadata: tuple[str, ...]
    notes: tuple[str, ...]
    merge: Merge | None = None
    """For an upsert."""


def match_columns(
    document: SourceDocument,
    description: Description,
    destination: Destination,
    expression: Expression,
) -> Matched:
    """Join the source's columns with ``destination`` (as :func:`find_destination` found it).

    Raises:
        ConfigError: a selected or mapped column does not exist at the source.
        ConfigError: also an upsert whose key or cursor does not do.
        PermanentError: schema drift that the document forbids, nested fields that may not be left out,
            types that cannot be joined, or a REQUIRED destination column that nothing fills.
    """
    selected = _select(document, description.columns)
    names = destination_names([column.name for column in selected], document.column_mapping)
    notes = [f"{column.name}: {column.note}" for column in selected if column.note]
    existing = {field.name.lower(): field for field in destination.schema}
    columns: list[PlannedColumn] = []
    added: list[BqField] = []
    nested: list[str] = []
    changed: dict[str, BqField] = {}
    absent = [column for column in selected if names[column.name].lower() not in existing]
    if destination.exists and absent and document.schema_drift == "fail":
        listed = ", ".join(column.name for column in absent)
        raise PermanentError(f"{destination.path} lacks columns of the source: {listed} (schema_drift: fail)")
    for column in selected:
        field = existing.get(names[column.name].lower())
        if field is None:
            if destination.exists and document.schema_drift == "ignore":
                notes.append(f"{column.name}: left out, {destination.path} has no such column")
                continue
            # Never REQUIRED: a source may drop its constraint any day.
            mode: Mode = "REPEATED" if column.natural.mode == "REPEATED" else "NULLABLE"
            field = replace(column.natural, name=names[column.name], mode=mode)
            added.append(field)
        elif new := lacking(column.natural, field, field.name):
            if document.schema_drift != "evolve":
                raise _nested(destination, new, field.name)
            nested += new
            field = grown(column.natural, field)
            changed[field.name] = field
        columns.append(PlannedColumn(column.name, column.type, field, expression(column, field)))
    if not columns:
        raise PermanentError(f"no column of the source goes to {destination.path}: nothing to load")
    metadata = _metadata(document, destination, existing, added, notes)
    _check_required(destination, columns)
    full = replace(
        destination,
        schema=(*(changed.get(field.name, field) for field in destination.schema), *added),
        added=(*(field.name for field in added), *nested) if destination.exists else (),
    )
    if not destination.exists:
        full = _lay_out(document, full, columns)
    merge = None
    if document.load_type == "upsert":
        loaded = {column.source: column.destination for column in columns}
        natural = {column.name: column.natural for column in selected}
        merge = merge_of(document, full, loaded, natural)
        notes += merge.notes
    return Matched(tuple(columns), full, metadata, tuple(notes), merge)


def find_destination(
    document: SourceDocument, project: str, dataset: str, location: str, tables: Tables
) -> Destination:
    """The destination as it stands.

    Raises:
        ConfigError: its dataset does not exist, or lies elsewhere than the deployment's jobs run.
    """
    project = document.dest_project or project
    dataset = document.dest_dataset or dataset
    path = f"{project}.{dataset}"
    found = tables.dataset_location(path)
    if found is None:
        problem = Problem("dest_dataset", f"dataset {path} does not exist; create it in {location}")
        raise ConfigError("destination", (problem,))
    if found.lower() != location.lower():
        message = f"dataset {path} is in {found}, but the deployment's jobs run in {location}"
        raise ConfigError("destination", (Problem("dest_dataset", message),))
    table = tables.get_table(f"{path}.{document.dest_table_name}")
    if table is None:
        return Destination(project, dataset, document.dest_table_name, location, exists=False, schema=())
    if table.get("type", "TABLE") != "TABLE":
        message = f"{path}.{document.dest_table_name} is a {table['type']}, not a table"
        raise ConfigError("destination", (Problem("dest_table_name", message),))
    partitioning = table.get("timePartitioning") or {}
    return Destination(
        project,
        dataset,
        document.dest_table_name,
        location,
        exists=True,
        schema=tuple(BqField.from_api(field) for field in table.get("schema", {}).get("fields", ())),
        partition_field=partitioning.get("field"),
        partition_type=partitioning.get("type"),
        clustering=tuple((table.get("clustering") or {}).get("fields", ())),
    )


def _select(document: SourceDocument, columns: Sequence[SourceColumn]) -> list[SourceColumn]:
    by_name = {column.name: column for column in columns}
    problems = [
        _unknown(f"selected_columns[{number}]", name, by_name)
        for number, name in enumerate(document.selected_columns)
        if name not in by_name
    ]
    problems += [
        _unknown(f"column_mapping.{name}", name, by_name)
        for name in document.column_mapping
        if name not in by_name
    ]
    if problems:
        raise ConfigError("source document", tuple(problems))
    return [by_name[name] for name in document.selected_columns] or list(columns)


def _unknown(path: str, name: str, known: Mapping[str, object]) -> Problem:
    close = difflib.get_close_matches(name, list(known), 1)
    return Problem(path, f"the source has no column {name!r}", suggestion=close[0] if close else None)


def _metadata(
    document: SourceDocument,
    destination: Destination,
    existing: Mapping[str, BqField],
    added: list[BqField],
    notes: list[str],
) -> tuple[str, ...]:
    """The metadata columns that will be written; those that have to be added are put into ``added``."""
    if not document.metadata_columns:
        return ()
    wanted = []
    for name, field in METADATA_FIELDS.items():
        if name == _OF_FILES and getattr(document, "source_type", None) not in FILE_TYPES:
            continue
        if name in existing:
            wanted.append(name)
        elif destination.exists and document.schema_drift != "evolve":
            notes.append(f"{name}: left out, {destination.path} has no such column")
        else:
            added.append(field)
            wanted.append(name)
    return tuple(wanted)


def _nested(destination: Destination, fields: Sequence[str], column: str) -> PermanentError:
    """A RECORD's fields are not left out as columns are: values would be lost without a word."""
    return PermanentError(
        f"{destination.path} lacks nested fields of the source: {', '.join(fields)}; schema_drift: evolve "
        f"adds them, ignore leaves out whole columns only. Or make {column} a JSON or STRING column"
    )


def _check_required(destination: Destination, columns: Sequence[PlannedColumn]) -> None:
    filled = {column.destination.name for column in columns} | set(METADATA_FIELDS)
    missing = [
        field.name for field in destination.schema if field.mode == "REQUIRED" and field.name not in filled
    ]
    if missing:
        raise PermanentError(
            f"{destination.path} requires columns that the source does not fill: {', '.join(missing)}; "
            "map a source column to them with column_mapping, or make them nullable"
        )


def _lay_out(
    document: SourceDocument, destination: Destination, columns: Sequence[PlannedColumn]
) -> Destination:
    """Partitioning and clustering of a table that is to be created."""
    names = {field.name for field in destination.schema}
    unknown = [name for name in document.clustering if name not in names]
    if unknown:
        problem = Problem(
            "clustering", f"the destination has no column {unknown[0]!r}", allowed=", ".join(sorted(names))
        )
        raise ConfigError("source document", (problem,))
    field = next(
        (
            column.destination.name
            for column in columns
            if column.source == document.timestamp_column and column.destination.type in _PARTITIONABLE
        ),
        None,
    )
    if document.load_type != "transactional" or document.partition_type == "none":
        field = None
    kind = (document.partition_type or "DAY") if field is not None else None
    clustering = tuple(document.clustering)
    if document.load_type == "upsert" and not clustering:
        # A merge looks rows up by key: clustered by it, BigQuery reads a part of the table only.
        loaded = {column.source: column.destination for column in columns}
        wanted = [loaded[name] for name in document.primary_key_column if name in loaded]
        clustering = tuple(item.name for item in wanted if item.type in _CLUSTERABLE)[:4]
    return replace(destination, partition_field=field, partition_type=kind, clustering=clustering)
