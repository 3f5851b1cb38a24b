"""From configuration to source."""

from __future__ import annotations

import pytest

from etl_runner.config.parse import parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.secrets import EnvFileResolver
from etl_runner.sources.files.source import FilesSource
from etl_runner.sources.postgres.source import PostgresSource
from etl_runner.sources.registry import build_source


def resolved(source_type: str, connection: dict[str, object]) -> ResolvedSource:
    document = {
        "source_type": source_type,
        "load_type": "catalog",
        "dest_table_name": "orders",
        "connection_params": {"source_type": source_type, **connection},
    }
    if source_type == "postgresql":
        document["source_table_name"] = "orders"
    else:
        document |= {"file_pattern": "*.csv", "file_format": "csv"}
    return parse_source(document, name="orders", source_id="orders").resolve()


def test_a_postgresql_document_gives_a_postgresql_source() -> None:
    source = build_source(
        resolved("postgresql", {"host": "db", "database": "d", "username": "u"}), EnvFileResolver({})
    )
    assert isinstance(source, PostgresSource)


@pytest.mark.parametrize(
    ("source_type", "connection"),
    [
        ("gcs", {"bucket": "my-bucket", "use_runner_account": True}),
        ("s3", {"bucket": "my-bucket", "anonymous": True}),
        ("azure", {"bucket": "my-bucket", "account_name": "a", "anonymous": True}),
    ],
)
def test_a_document_of_files_gives_a_source_of_files(source_type: str, connection: dict[str, object]) -> None:
    assert isinstance(build_source(resolved(source_type, connection), EnvFileResolver({})), FilesSource)
