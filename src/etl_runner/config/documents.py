"""The models by source type."""

from __future__ import annotations

from typing import Final, TypeAlias

from etl_runner.config.connections import (
    AzureConnection,
    BigQueryConnection,
    Connection,
    GcsConnection,
    MySqlConnection,
    PostgresConnection,
    S3Connection,
)
from etl_runner.config.database import BigQuerySource, DatabaseSource, MySqlSource, PostgresSource
from etl_runner.config.files import AzureSource, FileFormatOptions, FileSource, GcsSource, S3Source
from etl_runner.config.types import SourceType

SourceModel: TypeAlias = DatabaseSource | FileSource
AnySource: TypeAlias = PostgresSource | MySqlSource | BigQuerySource | GcsSource | S3Source | AzureSource

SOURCE_MODELS: Final[dict[SourceType, type[AnySource]]] = {
    "postgresql": PostgresSource,
    "mysql": MySqlSource,
    "bigquery": BigQuerySource,
    "gcs": GcsSource,
    "s3": S3Source,
    "azure": AzureSource,
}
CONNECTION_MODELS: Final[dict[SourceType, type[Connection]]] = {
    "postgresql": PostgresConnection,
    "mysql": MySqlConnection,
    "bigquery": BigQueryConnection,
    "gcs": GcsConnection,
    "s3": S3Connection,
    "azure": AzureConnection,
}

__all__ = [
    "CONNECTION_MODELS",
    "SOURCE_MODELS",
    "AnySource",
    "AzureConnection",
    "AzureSource",
    "BigQueryConnection",
    "BigQuerySource",
    "Connection",
    "DatabaseSource",
    "FileFormatOptions",
    "FileSource",
    "GcsConnection",
    "GcsSource",
    "MySqlConnection",
    "MySqlSource",
    "PostgresConnection",
    "PostgresSource",
    "S3Connection",
    "S3Source",
]
