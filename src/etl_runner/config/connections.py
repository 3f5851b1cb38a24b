"""How to reach a source: one model for each source type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from etl_runner.config.base import Document
from etl_runner.config.credentials import CredentialsField, SecretField
from etl_runner.config.rules import azure_rules, identity_rules, s3_rules
from etl_runner.config.values import (
    Host,
    ProjectName,
    Text,
    Truth,
    Whole,
    refusal,
)
from etl_runner.errors import Problem

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_SERVER_ALIASES = {
    "server": "host",
    "hostname": "host",
    "dbname": "database",
    "db": "database",
    "database_name": "database",
    "user": "username",
    "pass": "password",
    "passwd": "password",
    "ssl_mode": "sslmode",
    "ssl_root_cert": "sslrootcert",
    "ssl_ca": "sslrootcert",
}


class ServerConnection(Document):
    """A database server, as PostgreSQL and MySQL have it."""

    aliases: ClassVar[Mapping[str, str]] = _SERVER_ALIASES
    secret_fields: ClassVar[tuple[str, ...]] = ("password",)

    host: Host = Field(description="Host name, IP address, or the folder of the server's socket.")
    database: Text = Field(description="Name of the database.")
    username: Text = Field(description="The user to connect as.")
    password: SecretField | None = Field(
        None, description="The user's password: a reference to a secret, or the value itself (warned of)."
    )
    sslmode: SslMode = Field(
        "prefer", description="How far TLS is demanded, in libpq's words; verify-full is the safest."
    )
    sslrootcert: Text | None = Field(
        None, description="Path of the certificate authority's file on the machine that connects."
    )
    max_connections: Annotated[Whole, Field(ge=1, le=1_000)] = Field(
        8, description="Connections that one run opens at the same time, at most."
    )
    connect_timeout_seconds: Annotated[Whole, Field(ge=1, le=600)] = Field(
        15, description="Seconds to wait for the server to accept a connection."
    )
    statement_timeout_seconds: Annotated[Whole, Field(ge=1, le=86_400)] = Field(
        3_600, description="Seconds that one query may take before the server ends it."
    )
    replica_host: Host | None = Field(
        None, description="A read replica: units are read there once it has caught up with the plan."
    )
    replica_port: Annotated[Whole, Field(ge=1, le=65_535)] | None = Field(
        None, description="The replica's port; the server's own port when absent."
    )


class PostgresConnection(ServerConnection):
    """A PostgreSQL server."""

    source_type: Literal["postgresql"] = Field(description="The kind of source.")
    port: Annotated[Whole, Field(ge=1, le=65_535)] = Field(5432, description="TCP port.")


class MySqlConnection(ServerConnection):
    """A MySQL or MariaDB server."""

    source_type: Literal["mysql"] = Field(description="The kind of source.")
    port: Annotated[Whole, Field(ge=1, le=65_535)] = Field(3306, description="TCP port.")


class GoogleConnection(Document):
    """What BigQuery and Cloud Storage have in common: whose identity reads."""

    secret_fields: ClassVar[tuple[str, ...]] = ("credentials",)

    credentials: CredentialsField | None = Field(
        None,
        description="The service account's key that reads the source: a reference, or the key (warned of).",
    )
    use_runner_account: Truth = Field(
        False,
        description="Read with the runner's own account; says so on purpose, so that nothing is silent.",
    )

    @classmethod
    def rules(cls, fields: Mapping[str, Any]) -> Iterator[Problem]:
        return identity_rules(fields)


class BigQueryConnection(GoogleConnection):
    """A BigQuery project as a source."""

    aliases: ClassVar[Mapping[str, str]] = {
        "project_id": "project",
        "dataset_id": "dataset",
        "service_account": "credentials",
        "credentials_json": "credentials",
    }

    source_type: Literal["bigquery"] = Field(description="The kind of source.")
    project: ProjectName = Field(description="Project that holds the tables, e.g. bigquery-public-data.")
    dataset: Text | None = Field(None, description="Dataset of the tables, where schema_name is absent.")
    location: Text | None = Field(None, description="Location of the dataset, e.g. EU.")
    billing_project: ProjectName | None = Field(
        None, description="Project that the reading is billed to; the deployment's when absent."
    )


_BUCKETS = {
    "gcs": (r"(?!goog)[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", ("gs://",)),
    "s3": (r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", ("s3://", "s3a://")),
    "azure": (r"\$root|\$web|[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]", ("az://", "azure://")),
}
# https://cloud.google.com/storage/docs/buckets#naming,
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html,
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_BUCKET_ALLOWED = (
    "a bucket's name, with or without {scheme}, and with a prefix if wanted: {scheme}my-bucket/in/"
)


def split_bucket(source_type: str, written: str) -> tuple[str, str]:
    """``("my-bucket", "in/")`` from ``my-bucket/in``, ``gs://my-bucket/in/`` and the like.

    The prefix is a folder: empty, or ending in one slash.

    Raises:
        PydanticCustomError: not a bucket of this source type.
    """
    pattern, schemes = _BUCKETS[source_type]
    allowed = _BUCKET_ALLOWED.format(scheme=schemes[0])
    rest = written
    for scheme in schemes:
        rest = rest.removeprefix(scheme)
    if "://" in rest:
        raise refusal("has the scheme of another kind of storage", allowed)
    bucket, _, prefix = rest.partition("/")
    if re.fullmatch(pattern, bucket) is None:
        raise refusal("is not a bucket's name", allowed)
    return bucket, folder(prefix)


def folder(prefix: str) -> str:
    """A prefix as a folder: no leading slash, one at the end; empty stays empty."""
    stripped = prefix.strip("/")
    return f"{stripped}/" if stripped else ""


class BucketConnection(Document):
    """A bucket or container, with the folder in it that its sources see."""

    storage: ClassVar[str]
    """The source type; chooses the rules for the bucket's name."""

    bucket: Text = Field(description="Bucket or container: plain or as a URL, with a prefix if wanted.")
    prefix: Annotated[str, Field(max_length=1_024)] = Field(
        "", description="Folder in the bucket; added to a prefix written in bucket."
    )

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        """Take the prefix out of the bucket's spelling; what is no bucket is left to the field."""
        if not isinstance(data, Mapping):
            return data
        bucket, prefix = data.get("bucket"), data.get("prefix", "")
        if not isinstance(bucket, str) or not isinstance(prefix, str):
            return data
        try:
            name, inner = split_bucket(cls.storage, bucket)
        except ValueError:
            return data
        return {**data, "bucket": name, "prefix": inner + folder(prefix)}

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, bucket: str) -> str:
        return split_bucket(cls.storage, bucket)[0]


class GcsConnection(BucketConnection, GoogleConnection):
    """A Cloud Storage bucket."""

    aliases: ClassVar[Mapping[str, str]] = {
        "bucket_name": "bucket",
        "service_account": "credentials",
        "credentials_json": "credentials",
    }
    storage: ClassVar[str] = "gcs"

    source_type: Literal["gcs"] = Field(description="The kind of source.")


class S3Connection(BucketConnection):
    """An S3 bucket."""

    aliases: ClassVar[Mapping[str, str]] = {
        "bucket_name": "bucket",
        "aws_access_key_id": "access_key_id",
        "access_key": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "secret_key": "secret_access_key",
        "aws_session_token": "session_token",
        "aws_region": "region",
        "region_name": "region",
        "endpoint_url": "endpoint",
    }
    secret_fields: ClassVar[tuple[str, ...]] = ("access_key_id", "secret_access_key", "session_token")
    storage: ClassVar[str] = "s3"

    source_type: Literal["s3"] = Field(description="The kind of source.")
    access_key_id: SecretField | None = Field(None, description="The access key's id.")
    secret_access_key: SecretField | None = Field(None, description="The access key's secret.")
    session_token: SecretField | None = Field(None, description="A temporary key's session token.")
    region: Text | None = Field(None, description="Region of the bucket, e.g. eu-west-1.")
    endpoint: Text | None = Field(None, description="URL of an S3-compatible server; AWS when absent.")
    anonymous: Truth = Field(False, description="Read a public bucket without credentials.")

    @classmethod
    def rules(cls, fields: Mapping[str, Any]) -> Iterator[Problem]:
        return s3_rules(fields)


class AzureConnection(BucketConnection):
    """An Azure Blob Storage container."""

    aliases: ClassVar[Mapping[str, str]] = {
        "container": "bucket",
        "container_name": "bucket",
        "bucket_name": "bucket",
        "account": "account_name",
        "storage_account": "account_name",
        "storage_account_name": "account_name",
        "key": "account_key",
        "access_key": "account_key",
        "sas": "sas_token",
        "endpoint_url": "endpoint",
    }
    secret_fields: ClassVar[tuple[str, ...]] = (
        "account_key",
        "sas_token",
        "connection_string",
        "client_secret",
    )
    storage: ClassVar[str] = "azure"

    source_type: Literal["azure"] = Field(description="The kind of source.")
    account_name: Text | None = Field(None, description="Storage account; a connection_string names it too.")
    account_key: SecretField | None = Field(None, description="One of the account's keys.")
    sas_token: SecretField | None = Field(None, description="A shared access signature.")
    connection_string: SecretField | None = Field(None, description="The account's connection string.")
    tenant_id: Text | None = Field(None, description="Tenant of an application that reads the container.")
    client_id: Text | None = Field(None, description="The application's client id.")
    client_secret: SecretField | None = Field(None, description="The application's secret.")
    endpoint: Text | None = Field(None, description="URL of the Blob service; Azure's when absent.")
    anonymous: Truth = Field(False, description="Read a public container without credentials.")

    @classmethod
    def rules(cls, fields: Mapping[str, Any]) -> Iterator[Problem]:
        return azure_rules(fields)


Connection: TypeAlias = (
    PostgresConnection | MySqlConnection | BigQueryConnection | GcsConnection | S3Connection | AzureConnection
)
