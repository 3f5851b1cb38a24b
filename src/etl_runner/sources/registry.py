"""From a source's configuration to the code that reads it.

Each source type's module is imported when it is wanted, so that a function that plans a PostgreSQL source
loads nothing of the others.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

from etl_runner.config.connections import (
    BigQueryConnection,
    BucketConnection,
    MySqlConnection,
    PostgresConnection,
)
from etl_runner.config.database import DatabaseSource
from etl_runner.config.files import FileSource
from etl_runner.errors import PermanentError

if TYPE_CHECKING:
    from etl_runner.config.resolved import ResolvedSource
    from etl_runner.config.secrets import SecretResolver
    from etl_runner.sources.base import Source
    from etl_runner.sources.bigquery.access import Warehouse


class OpenWarehouse(Protocol):
    """Opens BigQuery as the identity of a connection."""

    def __call__(self, connection: BigQueryConnection, source_id: str) -> Warehouse:
        """BigQuery for that source; reveals the credentials."""


def build_source(
    resolved: ResolvedSource,
    secrets: SecretResolver,
    *,
    storage_endpoint: str | None = None,
    open_warehouse: OpenWarehouse | None = None,
) -> Source:
    """The source of a document; nothing is opened yet.

    Args:
        storage_endpoint: the deployment's Cloud Storage endpoint, None for Google's own.
        open_warehouse: opens BigQuery; needed for sources of that type only.

    Raises:
        PermanentError: its type cannot be read by this version.
    """
    document, connection = resolved.document, resolved.connection
    if isinstance(document, DatabaseSource) and isinstance(connection, PostgresConnection):
        from etl_runner.sources.postgres.source import PostgresSource

        return PostgresSource(document, connection, secrets, source_id=resolved.source_id)
    if isinstance(document, DatabaseSource) and isinstance(connection, MySqlConnection):
        from etl_runner.sources.mysql.source import MySqlSource

        return MySqlSource(document, connection, secrets, source_id=resolved.source_id)
    if isinstance(document, FileSource) and isinstance(connection, BucketConnection):
        from etl_runner.sources.files.source import FilesSource
        from etl_runner.sources.files.stores import open_store

        # One store for all that a source does: its clients keep their connections.
        store = cache(partial(open_store, connection, secrets, storage_endpoint=storage_endpoint))
        return FilesSource(document, connection, store, source_id=resolved.source_id)
    if isinstance(document, DatabaseSource) and isinstance(connection, BigQueryConnection):
        if open_warehouse is None:
            raise PermanentError(f"source {resolved.source_id}: BigQuery cannot be opened here")
        from etl_runner.sources.bigquery.source import BigQuerySource

        opened = partial(open_warehouse, connection, resolved.source_id)
        return BigQuerySource(document, connection, opened, source_id=resolved.source_id)
    raise PermanentError(
        f"source {resolved.source_id}: source_type {document.source_type} cannot be read by this version"
    )
