"""The matrix's comparison notices one changed value, and its exit status says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from etl_runner.gcp import clients
from etl_runner.gcp.deployment import Deployment
from local.matrix.__main__ import verdict
from local.matrix.cells import Cell, Cells, Place, Result
from tests.conftest import fresh_name

if TYPE_CHECKING:
    from local.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture
def place(stack: Stack) -> Place:
    """An empty bucket."""
    bucket = clients.storage_client(stack.settings).create_bucket(fresh_name("matrix", "-"))
    return Place(
        {"source_type": "gcs", "bucket": bucket.name, "use_runner_account": True},
        lambda name, data: bucket.blob(name).upload_from_string(data),
    )


@pytest.mark.parametrize("tampered", [False, True])
def test_a_cell_agrees_unless_one_value_was_changed(stack: Stack, place: Place, tampered: bool) -> None:
    cell = Cell("gcs", "parquet", "transactional", "cloud_run")
    result = Cells(stack, cell.name if tampered else None).files(cell, place)
    assert result.error is None
    assert result.agrees is not tampered
    assert (result.read, result.out, result.engine) == (400, 400, "cloud_run")
    assert verdict([result])[1] == int(tampered)


@pytest.mark.parametrize(("strategy", "jobs"), [("transactional", 2), ("catalog", 1), ("upsert", 2)])
def test_files_that_bigquery_loads_itself_arrive_as_they_are(
    stack: Stack, place: Place, strategy: str, jobs: int
) -> None:
    cell = Cell("gcs", "parquet", strategy, "bigquery")
    result = Cells(stack).files(cell, place)
    assert result.agrees, result
    deployment = Deployment(stack.settings)
    last = deployment.store(cell.name).read().last
    assert last is not None
    assert (last.receipt["units"], len(last.receipt["jobs"])) == (0, jobs)
    job: Any = clients.bigquery_client(stack.settings).get_job(last.receipt["jobs"][0], location="EU")
    bucket = place.connection["bucket"]
    assert job.source_uris == [f"gs://{bucket}/{cell.name}/2.parquet"]
    assert last.receipt["files"]["files"] == 1


def test_the_exit_status_is_that_of_the_worst_cell() -> None:
    good = Result(Cell("gcs", "csv", "catalog"), engine="cloud_run")
    assert verdict([good, good]) == ("all 2 cells agree", 0)
    broken = Result(Cell("s3", "csv", "catalog"), error="the bucket is gone")
    assert verdict([good, broken]) == ("1 of 2 cells do NOT agree (m_s3_csv_catalog)", 1)
    other_engine = Result(Cell("gcs", "parquet", "catalog", "bigquery"), engine="cloud_run")
    assert verdict([other_engine])[1] == 1
    assert verdict([])[1] == 1
