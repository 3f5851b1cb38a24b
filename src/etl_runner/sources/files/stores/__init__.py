"""Buckets and containers of the three clouds, each read with its connection's own credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl_runner.config.connections import AzureConnection, BucketConnection, GcsConnection, S3Connection
from etl_runner.errors import PermanentError

if TYPE_CHECKING:
    from etl_runner.config.secrets import SecretResolver
    from etl_runner.sources.files.store import FileStore

__all__ = ["open_store"]


def open_store(
    connection: BucketConnection, secrets: SecretResolver, *, storage_endpoint: str | None = None
) -> FileStore:
    """The connection's bucket; nothing is opened and no secret is read before its first use.

    Only the cloud that is wanted is imported. Credentials are those of the connection and no others: what
    this process's environment, metadata server or home folder offers is never tried instead.

    Args:
        storage_endpoint: the deployment's Cloud Storage endpoint, None for Google's own. S3 and Azure
            connections name their own.

    Raises:
        PermanentError: the connection is not one of a bucket.
    """
    if isinstance(connection, GcsConnection):
        from etl_runner.sources.files.stores.gcs import GcsFileStore, connect

        return GcsFileStore(
            lambda: connect(connection, secrets, storage_endpoint), connection.bucket, connection.prefix
        )
    if isinstance(connection, S3Connection):
        from etl_runner.sources.files.stores.s3 import S3FileStore
        from etl_runner.sources.files.stores.s3 import connect as connect_s3

        return S3FileStore(lambda: connect_s3(connection, secrets), connection.bucket, connection.prefix)
    if isinstance(connection, AzureConnection):
        from etl_runner.sources.files.stores.azure import AzureFileStore
        from etl_runner.sources.files.stores.azure import connect as connect_azure

        return AzureFileStore(
            lambda: connect_azure(connection, secrets), connection.bucket, connection.prefix
        )
    raise PermanentError("the connection is not one of a bucket or container")
