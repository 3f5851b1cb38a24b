"""The matrix's comparison notices one changed value, and its exit status says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from etl_runner.gcp import clients
from local.matrix.__main__ import verdict
from local.matrix.cells import Cell, Cells, Place, Result
from tests.conftest import fresh_name

if TYPE_CHECKING:
    from local.stack import Stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("tampered", [False, True])
def test_a_cell_agrees_unless_one_value_was_changed(stack: Stack, tampered: bool) -> None:
    bucket = clients.storage_client(stack.settings).create_bucket(fresh_name("matrix", "-"))
    place = Place(
        {"source_type": "gcs", "bucket": bucket.name, "use_runner_account": True},
        lambda name, data: bucket.blob(name).upload_from_string(data),
    )
    cell = Cell("gcs", "parquet", "transactional", "cloud_run")
    result = Cells(stack, cell.name if tampered else None).files(cell, place)
    assert result.error is None
    assert result.agrees is not tampered
    assert (result.read, result.out, result.engine) == (400, 400, "cloud_run")
    assert verdict([result])[1] == int(tampered)


def test_the_exit_status_is_that_of_the_worst_cell() -> None:
    good = Result(Cell("gcs", "csv", "catalog"), engine="cloud_run")
    assert verdict([good, good]) == ("all 2 cells agree", 0)
    broken = Result(Cell("s3", "csv", "catalog"), error="the bucket is gone")
    assert verdict([good, broken]) == ("1 of 2 cells do NOT agree (m_s3_csv_catalog)", 1)
    other_engine = Result(Cell("gcs", "parquet", "catalog", "bigquery"), engine="cloud_run")
    assert verdict([other_engine])[1] == 1
    assert verdict([])[1] == 1
