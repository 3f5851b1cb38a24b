"""A load job's configuration, as rules look at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from etl_runner.convert.fields import BqField
from etl_runner.jsontypes import JsonObject


@dataclass(frozen=True)
class TableName:
    """A table's full name."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"


@dataclass(frozen=True)
class LoadJob:
    """One ``jobs.insert`` body with a ``configuration.load``."""

    body: JsonObject

    @cached_property
    def load(self) -> JsonObject:
        load: JsonObject = self.body["configuration"]["load"]
        return load

    @cached_property
    def destination(self) -> TableName:
        table = self.load.get("destinationTable") or {}
        return TableName(
            str(table.get("projectId", "")), str(table.get("datasetId", "")), str(table.get("tableId", ""))
        )

    @cached_property
    def uris(self) -> tuple[str, ...]:
        return tuple(self.load.get("sourceUris") or ())

    @cached_property
    def schema(self) -> tuple[BqField, ...]:
        """The explicit schema; empty when the job has none."""
        fields = (self.load.get("schema") or {}).get("fields") or ()
        return tuple(BqField.from_api(field) for field in fields)

    @property
    def is_parquet(self) -> bool:
        return self.load.get("sourceFormat") == "PARQUET"

    @property
    def disposition(self) -> str:
        return str(self.load.get("writeDisposition") or "WRITE_APPEND")

    @property
    def schema_update_options(self) -> tuple[str, ...]:
        return tuple(self.load.get("schemaUpdateOptions") or ())

    @property
    def list_inference(self) -> bool:
        return bool((self.load.get("parquetOptions") or {}).get("enableListInference"))

    @property
    def enum_as_string(self) -> bool:
        return bool((self.load.get("parquetOptions") or {}).get("enumAsString"))

    @property
    def time_partitioning(self) -> JsonObject | None:
        given: Any = self.load.get("timePartitioning")
        return given or None

    @property
    def clustering(self) -> tuple[str, ...]:
        return tuple((self.load.get("clustering") or {}).get("fields") or ())


def leaves(fields: tuple[BqField, ...], prefix: str = "") -> list[tuple[str, BqField]]:
    """Every field and nested field with its dotted path, parents first."""
    found: list[tuple[str, BqField]] = []
    for field in fields:
        path = f"{prefix}{field.name}"
        found.append((path, field))
        found.extend(leaves(field.fields, f"{path}."))
    return found
