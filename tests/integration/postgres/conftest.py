"""A database for each module of these tests: making one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.postgres import PostgresServer
from tests.conftest import Database, fresh_name


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """The module's database."""
    name = fresh_name("types")
    postgres_server.create_database(name)
    database = Database(postgres_server, name)
    yield database
    database.close()
    postgres_server.drop_database(name)


@pytest.fixture
def postgres(database: Database) -> Database:
    """That database, without the table and types of the test before."""
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return database
