"""One test for each type of connection.

Each goes the whole way that a run goes (name, port, TLS, credential, database or bucket, permission) with the
connection's own credential, reads next to nothing and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from etl_runner.config.connections import (
    BigQueryConnection,
    BucketConnection,
    Connection,
    MySqlConnection,
    PostgresConnection,
)
from etl_runner.config.secrets import SecretResolver
from etl_runner.errors import ConfigError, EtlError, PermanentError, Problem, RetryableError


@dataclass(frozen=True)
class Surroundings:
    """What of the deployment a test needs: its project, which is billed for BigQuery's queries unless the
    connection names another, and its endpoints, None for Google's own."""

    project: str
    storage_endpoint: str | None = None
    bigquery_endpoint: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What a test found. ``retry`` says that the same test can have another result later."""

    ok: bool
    sentence: str
    retry: bool = False


def check_connection(
    connection: Connection, secrets: SecretResolver, around: Surroundings, table: str | None = None
) -> str:
    """Test a connection, and with ``table`` (databases: ``table`` or ``schema.table``) that it can be read.

    Returns:
        One sentence about what answered.

    Raises:
        PermanentError, RetryableError, ConfigError: what is wrong; no message holds a credential.
    """
    if isinstance(connection, PostgresConnection):
        from etl_runner.sources.postgres.check import check as check_postgres

        return check_postgres(connection, secrets, table)
    if isinstance(connection, MySqlConnection):
        from etl_runner.sources.mysql.check import check as check_mysql

        return check_mysql(connection, secrets, table)
    if isinstance(connection, BigQueryConnection):
        from etl_runner.connections.bigquery import check_bigquery

        return check_bigquery(connection, secrets, around, table)
    if isinstance(connection, BucketConnection):
        if table is not None:
            problem = Problem("table", "is for databases; a bucket has none", found=repr(table))
            raise ConfigError("request", (problem,))
        from etl_runner.sources.files.stores import open_store

        return open_store(connection, secrets, storage_endpoint=around.storage_endpoint).check()
    raise PermanentError(f"connections of type {connection.source_type} cannot be tested")


def verdict(
    connection: Connection, secrets: SecretResolver, around: Surroundings, table: str | None = None
) -> Verdict:
    """:func:`check_connection` as an answer: what is wrong is a result of a test and not its failure."""
    try:
        return Verdict(True, check_connection(connection, secrets, around, table))
    except EtlError as error:
        problems = error.problems if isinstance(error, ConfigError) else ()
        sentence = "; ".join(str(problem) for problem in problems) or str(error)
        return Verdict(False, " ".join(sentence.split()), isinstance(error, RetryableError))
