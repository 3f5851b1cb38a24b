"""The contract of every source type and format, on both engines: what was written arrives, what is added
later arrives with the next run, nothing twice; a row that cannot be is rejected alike.

The workers are built as those of a deployment; the pipeline runs in this process. What a source holds is told
by its own server or follows from what was written into its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from etl_runner.gcp import clients
from local.azure import AzureServer
from local.data_folder import memory_folder
from local.mariadb import MariaDbServer
from local.matrix.cells import Cell, Cells, Place, Result
from local.matrix.databases import DATABASE, BigQuery, Database, MariaDb, Postgres
from local.s3 import S3Server
from local.stack import Stack
from tests.conftest import fresh_name

# One process for all of them: each would start its own servers.
pytestmark = pytest.mark.stack

FILES = [
    ("gcs", "csv"),
    ("gcs", "json"),
    ("gcs", "parquet"),
    ("s3", "csv.gz"),
    ("s3", "parquet"),
    ("azure", "jsonl.zst"),
]
ENGINES = ["cloud_run", "dataflow"]


@pytest.fixture(scope="module")
def cells(stack: Stack) -> Cells:
    return Cells(stack)


@pytest.fixture(scope="module")
def databases(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Database]]:
    folder: Path = tmp_path_factory.mktemp("databases")
    started: list[MariaDbServer] = []

    def make(source: str) -> Database:
        if source == "postgresql":
            return Postgres(stack.postgres, folder)
        if source == "mysql":
            started.append(MariaDbServer.start(folder / "mariadb.log", within=memory_folder()))
            return MariaDb(started[0], folder)
        stack.bigquery.create_dataset(DATABASE)
        client = clients.bigquery_client(stack.settings)
        return BigQuery(client.query_and_wait, stack.settings.project)

    yield cache(make)
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def places(stack: Stack, request: pytest.FixtureRequest) -> Callable[[str], Place]:
    name = fresh_name("engines", "-")

    def of(source: str) -> Place:
        if source == "gcs":
            bucket = clients.storage_client(stack.settings).create_bucket(name)
            connection = {"source_type": "gcs", "bucket": name, "use_runner_account": True}
            return Place(connection, lambda key, data: bucket.blob(key).upload_from_string(data))
        if source == "s3":
            s3: S3Server = request.getfixturevalue("s3_server")
            s3.create_bucket(name)
            return Place(s3.document(name), lambda key, data: s3.put(name, key, data))
        azure: AzureServer = request.getfixturevalue("azure_server")
        azure.create_container(name)
        return Place(azure.document(name), lambda key, data: azure.put(name, key, data))

    return cache(of)


def check(result: Result, engine: str) -> None:
    assert result.error is None
    assert result.engine == engine
    assert (result.out, result.found, result.rejects) == (400, result.expected, result.rejects_expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("source", ["postgresql", "mysql", "bigquery"])
def test_a_database_arrives_whole_on_either_engine(
    cells: Cells, databases: Callable[[str], Database], source: str, engine: str
) -> None:
    check(cells.database(Cell(source, "table", "transactional", engine), databases(source)), engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("source", "ending"), FILES)
def test_files_of_each_cloud_and_format_arrive_whole_on_either_engine(
    cells: Cells, places: Callable[[str], Place], source: str, ending: str, engine: str
) -> None:
    check(cells.files(Cell(source, ending, "transactional", engine), places(source)), engine)
