"""Test of a PostgreSQL connection."""

from __future__ import annotations

from etl_runner.config.connections import PostgresConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.sources.network import can_read
from etl_runner.sources.postgres import schema
from etl_runner.sources.postgres.connect import Target, open_control


def check(connection: PostgresConnection, secrets: SecretResolver, table: str | None = None) -> str:
    """One sentence about the server that answered, and the table, if one is named.

    Raises:
        RetryableError, PermanentError, ConfigError: what is wrong, as one sentence.
    """
    target = Target(connection, secrets, "etl-runner test")
    with open_control(target) as control, control.transaction():
        version = control.value("SELECT current_setting('server_version')", "asking for the version")
        read = "" if table is None else schema.table(control, None, table, "connection").label
    return f"{control.where}: PostgreSQL {version} answers user {connection.username}{can_read(read)}."
