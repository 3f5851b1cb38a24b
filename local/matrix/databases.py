"""The rows in databases, changed by SQL; what a table holds is told by its own server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from local.mariadb import MariaDbServer
from local.matrix.rows import COLUMNS, Row, Sum, plain_number, sum_of
from local.postgres import PostgresServer

DATABASE = "matrix"


class Database(Protocol):
    """One database with tables of the matrix's rows."""

    source_type: str

    def create(self, table: str) -> None:
        """An empty table."""

    def write(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, over those of the same id."""

    def delete(self, table: str, below: int) -> None:
        """Delete the rows with lower ids."""

    def drop(self, table: str) -> None:
        """Drop the table."""

    def sum(self, table: str) -> Sum:
        """What the server says is in the table."""

    def connection(self) -> dict[str, Any]:
        """The connection document."""


def _document(source_type: str, server: PostgresServer | MariaDbServer, password: Path) -> dict[str, Any]:
    return {
        "source_type": source_type,
        "host": server.host,
        "port": server.port,
        "database": DATABASE,
        "username": server.user,
        "password": {"file": str(password)},
    }


class Postgres:
    """The rows in PostgreSQL."""

    source_type = "postgresql"

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._password = folder / "postgres-password"
        self._password.write_text(server.password)
        server.create_database(DATABASE)

    def create(self, table: str) -> None:
        self._run(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text, amount numeric(14,2), "
            f"at timestamptz NOT NULL, flag boolean, day date)"
        )

    def write(self, table: str, rows: Sequence[Row]) -> None:
        connection = self._server.connect(DATABASE)
        try:
            for row in rows:
                connection.run(
                    f"INSERT INTO {table} VALUES (:id, :name, :amount, :at, :flag, :day) "
                    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, amount = excluded.amount, "
                    "at = excluded.at, flag = excluded.flag, day = excluded.day",
                    **{name: getattr(row, name) for name in COLUMNS},
                )
        finally:
            connection.close()

    def delete(self, table: str, below: int) -> None:
        self._run(f"DELETE FROM {table} WHERE id < {below}")

    def drop(self, table: str) -> None:
        self._run(f"DROP TABLE {table}")

    def sum(self, table: str) -> Sum:
        return sum_of(
            self._run(
                "SELECT id::text, name, trim_scale(amount)::text, "
                "(extract(epoch FROM at) * 1000000)::bigint::text, flag::text, day::text "
                f"FROM {table}"
            )
        )

    def connection(self) -> dict[str, Any]:
        return _document(self.source_type, self._server, self._password)

    def _run(self, sql: str) -> Any:
        connection = self._server.connect(DATABASE)
        try:
            return connection.run(sql)
        finally:
            connection.close()


class MariaDb:
    """The rows in MariaDB."""

    source_type = "mysql"

    def __init__(self, server: MariaDbServer, folder: Path) -> None:
        self._server = server
        self._password = folder / "mariadb-password"
        self._password.write_text(server.password)
        server.create_database(DATABASE)

    def create(self, table: str) -> None:
        self._run(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text, amount decimal(14,2), "
            f"at timestamp(6) NOT NULL, flag boolean, day date)"
        )

    def write(self, table: str, rows: Sequence[Row]) -> None:
        values = [
            (row.id, row.name, row.amount, row.at.replace(tzinfo=None), row.flag, row.day) for row in rows
        ]
        connection = self._server.connect(DATABASE)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET time_zone = '+00:00'")
                cursor.executemany(f"REPLACE INTO {table} VALUES (%s, %s, %s, %s, %s, %s)", values)
        finally:
            connection.close()

    def delete(self, table: str, below: int) -> None:
        self._run(f"DELETE FROM {table} WHERE id < {below}")

    def drop(self, table: str) -> None:
        self._run(f"DROP TABLE {table}")

    def sum(self, table: str) -> Sum:
        found = self._run(
            "SELECT CAST(id AS CHAR), name, CAST(amount AS CHAR), "
            "CAST(CAST(UNIX_TIMESTAMP(at) * 1000000 AS SIGNED) AS CHAR), IF(flag, 'true', 'false'), "
            f"CAST(day AS CHAR) FROM {table}"
        )
        return sum_of((row[0], row[1], plain_number(row[2]), *row[3:]) for row in found)

    def connection(self) -> dict[str, Any]:
        return _document(self.source_type, self._server, self._password)

    def _run(self, sql: str) -> Any:
        connection = self._server.connect(DATABASE)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()


class BigQuery:
    """The rows in another dataset of BigQuery."""

    source_type = "bigquery"
    dataset = DATABASE

    def __init__(self, query: Callable[[str], Any], project: str) -> None:
        """
        Args:
            query: runs a statement and gives its rows.
            project: where the dataset is.
        """
        self._query = query
        self._project = project

    def create(self, table: str) -> None:
        self._query(
            f"CREATE TABLE `{DATABASE}.{table}` "
            "(id INT64, name STRING, amount NUMERIC, at TIMESTAMP NOT NULL, flag BOOL, day DATE)"
        )

    def write(self, table: str, rows: Sequence[Row]) -> None:
        ids = ", ".join(str(row.id) for row in rows)
        self._query(f"DELETE FROM `{DATABASE}.{table}` WHERE id IN ({ids})")
        self._query(f"INSERT INTO `{DATABASE}.{table}` VALUES {', '.join(map(_literals, rows))}")

    def delete(self, table: str, below: int) -> None:
        self._query(f"DELETE FROM `{DATABASE}.{table}` WHERE id < {below}")

    def drop(self, table: str) -> None:
        self._query(f"DROP TABLE `{DATABASE}.{table}`")

    def sum(self, table: str) -> Sum:
        return sum_of(tuple(row.values()) for row in self._query(texts_of(f"{DATABASE}.{table}")))

    def connection(self) -> dict[str, Any]:
        return {
            "source_type": "bigquery",
            "project": self._project,
            "dataset": DATABASE,
            "use_runner_account": True,
        }


def texts_of(table: str) -> str:
    """SELECT of a BigQuery table's rows as the texts that sums are made of."""
    return (
        "SELECT CAST(id AS STRING), name, "
        r"REGEXP_REPLACE(REGEXP_REPLACE(CAST(amount AS STRING), r'(\.[0-9]*[1-9])0+$', r'\1'), "
        r"r'\.0*$', ''), CAST(UNIX_MICROS(at) AS STRING), "
        "IF(CAST(flag AS STRING) IN ('true', '1'), 'true', 'false'), CAST(day AS STRING) "
        f"FROM `{table}`"
    )


def _literals(row: Row) -> str:
    """The row in SQL; JSON's way to write a text is one of GoogleSQL's.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#string_and_bytes_literals
    """
    name = "NULL" if row.name is None else json.dumps(row.name, ensure_ascii=False)
    return (
        f"({row.id}, {name}, NUMERIC '{row.amount:f}', TIMESTAMP '{row.at.isoformat(sep=' ')}', "
        f"{row.flag}, DATE '{row.day}')"
    )
