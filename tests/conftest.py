"""The real servers that tests run against, each started once for a pytest process, when first asked for.

With pytest-xdist every worker has servers of its own. What a test gets is fresh: a database, a bucket, a
dataset. Nothing is set in the environment: clients are given their endpoints.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pg8000.native
import pytest
from google.cloud import storage
from hypothesis import settings as hypothesis_settings

from local.azure import AzureServer
from local.bigquery.environment import environment_dir
from local.bigquery.stand_in import BigQueryStandIn
from local.cloud_storage import CloudStorageServer
from local.data_folder import memory_folder
from local.layout import REPOSITORY
from local.postgres import PostgresServer, home_of
from local.processes import guard, unguard
from local.s3 import S3Server
from local.stack import Stack

# Nothing is asserted about time: a busy machine is no failure.
hypothesis_settings.register_profile("etl", deadline=None)
hypothesis_settings.load_profile("etl")

PROJECT = "etl-test"
BIGQUERY_LOCATION = "EU"


def fresh_name(kind: str, separator: str = "_") -> str:
    """A name that no other test of any worker uses."""
    return f"{kind}{separator}{secrets.token_hex(5)}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Ours; see :mod:`tests.scheduling`."""
    from tests.scheduling import Scheduling

    return Scheduling(config, log)


@dataclass
class Database:
    """A PostgreSQL database of one test."""

    server: PostgresServer
    database: str
    _connection: Any = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def user(self) -> str:
        return self.server.user

    @property
    def password(self) -> str:
        return self.server.password

    @property
    def url(self) -> str:
        """``postgresql://user:password@host:port/database``."""
        return self.server.url_of(self.database)

    def connect(self) -> Any:
        """A new pg8000.native connection, to be closed by whoever asked for it."""
        return self.server.connect(self.database)

    def execute(self, sql: str, **parameters: Any) -> None:
        """Run one or, without parameters, several statements; each commits by itself."""
        self._connected().run(sql, **parameters)

    def query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows, as the values that pg8000 makes of them."""
        rows = self._connected().run(sql, **parameters)
        return [tuple(row) for row in rows or ()]

    def query_text(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows, each value as the text that the server itself prints for it."""
        connection = self._connected()
        connection.run(f"CREATE TEMPORARY VIEW query_text AS {sql.rstrip().rstrip(';')}")
        try:
            names = connection.run(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'query_text'::regclass ORDER BY attnum"
            )
            columns = ", ".join(f"{pg8000.native.identifier(name)}::text" for (name,) in names)
            return [tuple(row) for row in connection.run(f"SELECT {columns} FROM query_text")]
        finally:
            connection.run("DROP VIEW query_text")

    def close(self) -> None:
        """Close the connection that the methods above share."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self.connect()
        return self._connection


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """Where this process's servers keep data and logs; readable for the account that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="etl-runner-tests-", dir=memory_folder()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_dir: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server: ``ETL_TEST_POSTGRES_URL``'s, else the embedded one."""
    server = PostgresServer.from_environment(server_dir / "postgres", environ=os.environ)
    yield server
    server.stop()
    shutil.rmtree(home_of(server_dir / "postgres"), ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Database]:
    """An empty database of one's own."""
    name = fresh_name("test")
    postgres_server.create_database(name)
    database = Database(postgres_server, name)
    yield database
    database.close()
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def gcs_server(server_dir: Path) -> Iterator[CloudStorageServer]:
    """A Cloud Storage server."""
    server = CloudStorageServer.start(server_dir / "gcs", project=PROJECT)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gcs_endpoint(gcs_server: CloudStorageServer) -> str:
    """``http://127.0.0.1:port``, what ``STORAGE_EMULATOR_HOST`` would say."""
    return gcs_server.endpoint


@pytest.fixture(scope="session")
def storage_client(gcs_server: CloudStorageServer) -> Iterator[storage.Client]:
    """The official client, of the test server."""
    client = gcs_server.client()
    yield client
    client.close()


@pytest.fixture
def gcs_bucket(storage_client: storage.Client) -> storage.Bucket:
    """An empty bucket of one's own (google-cloud-storage's Bucket)."""
    return storage_client.create_bucket(fresh_name("test", "-"))


@pytest.fixture(scope="session")
def s3_server(server_dir: Path) -> Iterator[S3Server]:
    """An S3 server, which only the tests that ask for it start."""
    server = S3Server.start(server_dir / "s3.log")
    yield server
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """The name of an empty S3 bucket of one's own."""
    name = fresh_name("test", "-")
    s3_server.create_bucket(name)
    return name


@pytest.fixture(scope="session")
def azure_server(server_dir: Path) -> Iterator[AzureServer]:
    """An Azure Blob server, which only the tests that ask for it start."""
    server = AzureServer.start(server_dir / "azure")
    yield server
    server.stop()


@pytest.fixture
def azure_container(azure_server: AzureServer) -> str:
    """The name of an empty Azure container of one's own."""
    name = fresh_name("test", "-")
    azure_server.create_container(name)
    return name


@dataclass
class Warehouse:
    """A BigQuery dataset of one test."""

    server: BigQueryStandIn
    client: Any
    """google-cloud-bigquery's client."""
    dataset: str

    @property
    def faults(self) -> Any:
        """Injects faults into the server; cleared after the test."""
        return self.server.faults

    @property
    def url(self) -> str:
        """What ``BIGQUERY_EMULATOR_HOST`` would say."""
        return self.server.url

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; ``{dataset}`` in it stands for the dataset."""
        result = self.client.query_and_wait(sql.replace("{dataset}", self.dataset))
        return [tuple(row.values()) for row in result]


@pytest.fixture(scope="session")
def bigquery_server(server_dir: Path, gcs_endpoint: str) -> Iterator[BigQueryStandIn]:
    """local-bigquery behind its strict front, reading from the test's Cloud Storage."""
    server = BigQueryStandIn.start(
        server_dir / "bigquery",
        PROJECT,
        BIGQUERY_LOCATION,
        gcs_endpoint,
        REPOSITORY / environment_dir(),
    )
    group = server.process.popen.pid
    guard(group)
    yield server
    server.stop()
    unguard(group)


@pytest.fixture
def bigquery(bigquery_server: BigQueryStandIn) -> Iterator[Warehouse]:
    """An empty dataset of one's own."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    client = Client(
        project=PROJECT,
        location=BIGQUERY_LOCATION,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": bigquery_server.url},
    )
    dataset = fresh_name("test")
    bigquery_server.create_dataset(dataset)
    yield Warehouse(bigquery_server, client, dataset)
    bigquery_server.faults.clear()
    client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
    client.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def stack(server_dir: Path, postgres_server: PostgresServer) -> Iterator[Stack]:
    """The whole topology, its PostgreSQL being ``postgres_server``; its workflow waits a tenth as long."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    running = Stack.start(server_dir / "stack", environ=environ, sleep_factor=0.1, postgres=postgres_server)
    yield running
    running.stop()
