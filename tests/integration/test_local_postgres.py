"""The PostgreSQL server that tests and the local stack run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pg8000.native
import pytest

from etl_runner.errors import PermanentError
from local.postgres import PostgresServer

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.stack


def test_a_database_is_empty_and_takes_several_statements(postgres: Database) -> None:
    assert postgres.query("SELECT relname FROM pg_stat_user_tables") == []
    postgres.execute("CREATE TABLE t (id bigint); INSERT INTO t VALUES (1), (NULL)")
    assert postgres.query("SELECT id FROM t ORDER BY id") == [(1,), (None,)]
    assert postgres.query("SELECT id FROM t WHERE id = :id", id=1) == [(1,)]


def test_text_output_is_the_servers_own(postgres: Database) -> None:
    rows = postgres.query_text(
        """SELECT 1.10::numeric AS "a ""b", 'infinity'::timestamptz, '{1,NULL}'::int[] AS c, NULL::int AS d"""
    )
    assert rows == [("1.10", "infinity", "{1,NULL}", None)]


def test_a_wrong_password_is_refused(postgres: Database) -> None:
    with pytest.raises(pg8000.native.DatabaseError, match="password authentication failed"):
        pg8000.native.Connection(postgres.user, host=postgres.host, port=postgres.port, password="wrong")


def test_passwords_are_kept_as_scram_and_out_of_repr(postgres: Database) -> None:
    assert postgres.query("SHOW password_encryption") == [("scram-sha-256",)]
    assert postgres.password not in repr(postgres)
    assert postgres.password not in repr(postgres.server)


def test_data_stays_between_stop_and_start(server_dir: Path) -> None:
    first = PostgresServer.start(server_dir / "postgres-kept")
    first.create_database("kept")
    first.stop()
    first.stop()
    with pytest.raises(pg8000.exceptions.InterfaceError):
        first.connect("kept")
    second = PostgresServer.start(server_dir / "postgres-kept")
    try:
        assert second.password == first.password
        with second.connect("kept") as connection:
            assert connection.run("SELECT 1") == [[1]]
    finally:
        second.stop()


def test_a_server_of_ones_own_is_taken_from_its_url(tmp_path: Path) -> None:
    environ = {"ETL_TEST_POSTGRES_URL": "postgresql://me:p%40ss@db.example:5433/main"}
    server = PostgresServer.from_environment(tmp_path / "unused", environ=environ)
    assert (server.host, server.port, server.user, server.password) == ("db.example", 5433, "me", "p@ss")
    assert server.url == "postgresql://me:p%40ss@db.example:5433/main"
    assert server.url_of("x/y") == "postgresql://me:p%40ss@db.example:5433/x%2Fy"
    server.stop()
    with pytest.raises(PermanentError, match="postgresql://user:password@host:port/database"):
        PostgresServer.at("mysql://me@host/db")
