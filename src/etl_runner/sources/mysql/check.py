"""Test of a MySQL connection."""

from __future__ import annotations

from etl_runner.config.connections import MySqlConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.sources.mysql import schema
from etl_runner.sources.mysql.connect import Target, open_control
from etl_runner.sources.network import can_read


def check(connection: MySqlConnection, secrets: SecretResolver, table: str | None = None) -> str:
    """One sentence about the server that answered, and the table, if one is named.

    Raises:
        RetryableError, PermanentError, ConfigError: what is wrong, as one sentence.
    """
    target = Target(connection, secrets, "etl-runner test")
    with open_control(target) as control:
        control.value("SELECT 1", "asking for an answer")
        product = f"{'MariaDB' if control.is_mariadb else 'MySQL'} {control.version}"
        read = "" if table is None else schema.table(control, None, table, "connection").label
    return f"{control.where}: {product} answers user {connection.username}{can_read(read)}."
