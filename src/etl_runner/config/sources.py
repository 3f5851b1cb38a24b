"""The fields that every source document has, whatever it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from etl_runner.config.base import Document
from etl_runner.config.values import (
    ColumnName,
    ColumnNames,
    DatasetName,
    DocumentId,
    ProjectName,
    SourceName,
    SourceNames,
    TableName,
    Text,
    Truth,
    Whole,
)

LoadType = Literal["transactional", "catalog", "upsert"]
SchemaDrift = Literal["evolve", "ignore", "fail"]
OnBadRow = Literal["fail", "reject"]
EngineChoice = Literal["auto", "cloud_run", "dataflow", "bigquery"]
PartitionType = Literal["HOUR", "DAY", "MONTH", "YEAR", "none"]
JsonNumbers = Literal["fail", "round", "string"]


class SourceDocument(Document):
    """One configured thing to load."""

    aliases: ClassVar[Mapping[str, str]] = {
        "destination_table": "dest_table_name",
        "destination_dataset": "dest_dataset",
        "destination_project": "dest_project",
        "primary_key_columns": "primary_key_column",
    }

    description: Text | None = Field(None, description="For people.")
    connection: DocumentId | None = Field(
        None, description="Id of the connection document; or describe the connection in connection_params."
    )
    load_type: LoadType = Field(
        description="transactional appends what is new, catalog replaces the table, upsert merges by key."
    )
    dest_table_name: TableName = Field(description="Destination table.")
    dest_dataset: DatasetName | None = Field(
        None, description="Destination dataset; the deployment's when absent."
    )
    dest_project: ProjectName | None = Field(
        None, description="Destination project; the deployment's when absent."
    )
    selected_columns: SourceNames = Field((), description="Source columns to load; all when empty.")
    column_mapping: dict[SourceName, ColumnName] = Field(
        default_factory=dict, description="Destination names of source columns: {source: destination}."
    )
    timestamp_column: SourceName | None = Field(
        None,
        description="Databases: the cursor of an incremental load. The destination is partitioned by it.",
    )
    primary_key_column: SourceNames = Field(
        (), description="Source columns that identify a row: one name, or a list. Required for upsert."
    )
    schema_drift: SchemaDrift = Field(
        "evolve", description="Columns that the destination lacks: add them, leave them out, or fail."
    )
    allow_empty: Truth = Field(False, description="Let an empty extract empty the table of a catalog load.")
    on_bad_row: OnBadRow = Field(
        "fail", description="A row that cannot be converted: fail the run, or keep it in <table>__rejects."
    )
    max_rejects: Annotated[Whole, Field(ge=0, le=1_000_000_000)] = Field(
        100, description="With on_bad_row: reject, more rejected rows than this fail the run."
    )
    engine: EngineChoice = Field("auto", description="What extracts: auto decides by the estimated rows.")
    unit_rows: Annotated[Whole, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Rows that a work unit should have; the deployment's 50,000 when absent."
    )
    partition_type: PartitionType | None = Field(
        None, description="Partitions of a new table by timestamp_column; DAY when absent, none for none."
    )
    clustering: Annotated[ColumnNames, Field(max_length=4)] = Field(
        (), description="Destination columns that a new table is clustered by, four at most."
    )
    immutable_partition: Truth = Field(
        False,
        description="Upsert: the column that partitions the destination never changes for a row, so a merge "
        "may read only the partitions that it touches. A row of which it does change would be there twice.",
    )
    metadata_columns: Truth = Field(
        True, description="Add _etl_run_id, _etl_loaded_at (and _etl_source_file)."
    )
    json_numbers: JsonNumbers = Field(
        "fail",
        description="Numbers in JSON that 64 bits cannot hold exactly: fail, round, or make them text.",
    )
