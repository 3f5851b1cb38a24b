"""What ``etl-runner plan`` tells of each kind of source, on the page and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from etl_runner.cli.deployment import cloud_deployment
from etl_runner.cli.main import app
from etl_runner.gcp import clients
from tests.conftest import fresh_name
from tests.integration.exactness.lab import Lab
from tests.integration.ops.test_operate import etl_runner

pytestmark = pytest.mark.stack


def _postgres(lab: Lab) -> tuple[str, ...]:
    lab.database.execute("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL, note text)")
    lab.database.execute("INSERT INTO orders VALUES (1, now() - interval '2 hours', 'x'); ANALYZE orders")
    lab.put(source_table_name="orders", timestamp_column="at")
    return ("cloud_run: ", "late window", "1h", "] of at", "partitioned by DAY of at")


def _bigquery(lab: Lab) -> tuple[str, ...]:
    table = f"{lab.stack.settings.dataset}.{fresh_name('source')}"
    lab.bigquery.query_and_wait(f"CREATE TABLE {table} AS SELECT 1 AS id, CURRENT_TIMESTAMP() AS at")
    connection = {
        "source_type": "bigquery",
        "project": lab.stack.settings.project,
        "use_runner_account": True,
    }
    lab.put(server=connection, source_type="bigquery", source_table_name=table, load_type="catalog")
    return ("bigquery: ", "whole table", "one query over the source")


def _files(lab: Lab) -> tuple[str, ...]:
    bucket = clients.storage_client(lab.stack.settings).create_bucket(fresh_name("plan", "-"))
    connection = {"source_type": "gcs", "bucket": bucket.name, "use_runner_account": True}
    for number in (1, 2):
        bucket.blob(f"{number}.csv").upload_from_string(f"id,word\n{number},x\n")
    lab.put(server=connection, source_type="gcs", file_pattern="*.csv")
    return ("cloud_run: ", "2 new of 2 matching files, modified 20")


@pytest.mark.parametrize("prepare", [_postgres, _bigquery, _files])
def test_the_plan_says_what_a_run_would_do(lab: Lab, prepare: Callable[[Lab], tuple[str, ...]]) -> None:
    told = prepare(lab)
    page = CliRunner().invoke(app, ["plan", lab.source_id], obj=cloud_deployment(lab.stack.settings))
    assert page.exit_code == 0, page.output
    labels = ("source ", "destination ", "window ", "rows ", "bytes ", "units ", "engine ")
    for text in (*labels, "table operations  1, after 0 of 1,500 within a day", "cost ", *told):
        assert text in page.stdout, page.stdout
    assert f"{lab.path} in EU" in page.stdout
    assert "to be created with " in page.stdout
    code, answer = etl_runner(lab, "plan", lab.source_id)
    plan: dict[str, Any] = answer["plan"]
    assert code == 0
    assert plan["estimated_rows"] >= 1
    # A dry run of the stand-in's knows no bytes.
    assert plan["estimated_bytes"] >= (0 if plan["source_type"] == "bigquery" else 1)
    assert plan["engine_reason"]
    assert plan["units"] == len(answer["units"])
    assert (answer["table_operations"]["planned"], answer["table_operations"]["left"]) == (1, 1_499)
    assert answer["cost"]["how"]
    # Nothing was done: the next look is the same, but for its clock.
    assert (lab.state().epoch, lab.state().slot) == (0, None)
