"""A MariaDB server for these tests, and a database for each module of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.data_folder import memory_folder
from local.mariadb import MariaDbServer
from local.stack import Stack
from tests.conftest import Database as Postgres
from tests.conftest import fresh_name
from tests.integration.exactness.lab import Lab
from tests.integration.mysql.support import Database


@pytest.fixture(scope="session")
def mariadb_server(server_dir: Path) -> Iterator[MariaDbServer]:
    """``ETL_TEST_MYSQL_URL``'s server, else a MariaDB of our own."""
    server = MariaDbServer.from_environment(
        server_dir / "mariadb.log", environ=os.environ, within=memory_folder()
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def module_database(mariadb_server: MariaDbServer) -> Iterator[Database]:
    """The module's database."""
    name = fresh_name("test")
    mariadb_server.create_database(name)
    database = Database(mariadb_server, name)
    yield database
    database.close()
    mariadb_server.drop_database(name)


@pytest.fixture
def mariadb(module_database: Database) -> Database:
    """That database, without the tables of the test before."""
    module_database.clear()
    return module_database


@pytest.fixture
def lab(stack: Stack, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A laboratory on the running topology."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environ["PUBSUB_EMULATOR_HOST"])
    laboratory = Lab(stack, postgres, tmp_path / "password")
    yield laboratory
    laboratory.close()
