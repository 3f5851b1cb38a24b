"""Previews of files of other clouds and of BigQuery, asked of the deployed function; nothing is written."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.exactness.lab import Lab
from tests.integration.files.conftest import Shelf

pytestmark = pytest.mark.stack


def _preview(lab: Lab, rows: int = 20) -> dict[str, Any]:
    status, shown = lab.call("plan", {"operation": "preview", "source_id": lab.source_id, "rows": rows})
    assert status == 200, shown
    assert not lab.table_exists()
    assert lab.deployment.state.read(f"sources/{lab.source_id}/state.json") is None
    assert lab.job_ids() == []
    return dict(shown)


def _kinds(shown: dict[str, Any]) -> dict[str, str]:
    return {column["name"]: column["destination"] for column in shown["columns"]}


@pytest.mark.parametrize("shelf", ["s3"], indirect=True)
def test_parquet_of_s3(shelf: Shelf) -> None:
    out = io.BytesIO()
    columns = {"id": list(range(50)), "price": [Decimal("1.10")] * 50, "tags": [["a", "ü"]] * 50}
    pq.write_table(pa.table(columns), out)
    shelf.put("in/a.parquet", out.getvalue())
    shelf.document(file_pattern="in/*.parquet")
    shown = _preview(shelf.lab, 3)
    assert _kinds(shown) == {"id": "INT64", "price": "NUMERIC", "tags": "ARRAY<STRING>"}
    assert shown["rows"] == [{"id": number, "price": "1.1", "tags": ["a", "ü"]} for number in range(3)]


@pytest.mark.parametrize("shelf", ["azure"], indirect=True)
def test_json_lines_of_azure(shelf: Shelf) -> None:
    shelf.put("a.jsonl", '{"id": 1, "box": {"x": 1.5}, "t": ""}\nno\n{"id": 2, "t": "😀"}\n'.encode())
    shelf.document(file_pattern="*.jsonl")
    shown = _preview(shelf.lab)
    assert _kinds(shown) == {"id": "INT64", "box": "STRUCT", "t": "STRING"}
    assert [(row["id"], row["t"]) for row in shown["rows"]] == [(1, ""), (2, "😀")]
    assert shown["rows"][1]["box"] is None
    assert [reject["row"] for reject in shown["rejects"]] == [2]


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
def test_a_table_of_bigquery(shelf: Shelf) -> None:
    lab = shelf.lab
    settings = lab.stack.settings
    source = f"{lab.table}_source"
    lab.query(
        f"CREATE TABLE `{settings.project}.{settings.dataset}.{source}` AS SELECT 1 AS id,"
        " NUMERIC '1.5' AS n, [STRUCT('é' AS a)] AS s, TIMESTAMP '2026-01-01 00:00:00+00' AS t"
    )
    connection = {
        "source_type": "bigquery",
        "project": settings.project,
        "dataset": settings.dataset,
        "use_runner_account": True,
    }
    lab.put(server=connection, source_type="bigquery", source_table_name=source, load_type="catalog")
    shown = _preview(lab)
    assert _kinds(shown) == {"id": "INT64", "n": "NUMERIC", "s": "ARRAY<STRUCT>", "t": "TIMESTAMP"}
    assert shown["rows"] == [{"id": 1, "n": "1.5", "s": [{"a": "é"}], "t": "2026-01-01T00:00:00+00:00"}]
