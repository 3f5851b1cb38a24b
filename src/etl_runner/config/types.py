"""The source types, and the other spellings under which documents name them."""

from __future__ import annotations

import difflib
from typing import Final, Literal, get_args

from etl_runner.errors import Problem

SourceType = Literal["postgresql", "mysql", "bigquery", "gcs", "s3", "azure"]
SOURCE_TYPES: Final[tuple[SourceType, ...]] = get_args(SourceType)
DATABASE_TYPES: Final[tuple[SourceType, ...]] = ("postgresql", "mysql", "bigquery")
FILE_TYPES: Final[tuple[SourceType, ...]] = ("gcs", "s3", "azure")

TYPE_ALIASES: Final[dict[str, SourceType]] = {
    "postgres": "postgresql",
    "mariadb": "mysql",
    "bq": "bigquery",
    "google_cloud_storage": "gcs",
    "aws_s3": "s3",
    "azure_blob": "azure",
    "azure_blob_storage": "azure",
}
NOSQL: Final = frozenset(
    {
        "arangodb",
        "bigtable",
        "cassandra",
        "cosmosdb",
        "couchbase",
        "couchdb",
        "datastore",
        "documentdb",
        "dynamodb",
        "elasticsearch",
        "firebase",
        "firestore",
        "hbase",
        "mongo",
        "mongodb",
        "neo4j",
        "opensearch",
        "redis",
        "scylladb",
    }
)


def source_type_of(value: object, path: str = "source_type") -> SourceType | Problem:
    """The source type that a document means, or the problem with what it says."""
    allowed = ", ".join(SOURCE_TYPES)
    if value is None or value == "":
        return Problem(path, "is required", allowed=allowed)
    if not isinstance(value, str):
        return Problem(path, "must be text", allowed=allowed)
    name = value.strip().lower().replace("-", "_")
    for known in SOURCE_TYPES:
        if name == known:
            return known
    if name in TYPE_ALIASES:
        return TYPE_ALIASES[name]
    found = repr(value[:60])
    if name in NOSQL:
        return Problem(
            path,
            "NoSQL databases are not a goal of this project and are not read",
            found=found,
            allowed=allowed,
        )
    close = difflib.get_close_matches(name, [*SOURCE_TYPES, *TYPE_ALIASES], n=1)
    return Problem(
        path,
        "is not a known source type",
        found=found,
        allowed=allowed,
        suggestion=TYPE_ALIASES.get(close[0], close[0]) if close else None,
    )
