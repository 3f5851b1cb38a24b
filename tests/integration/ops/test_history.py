"""The run history on the local stack: loaded by real jobs, queried through its views."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from etl_runner.cli.main import app
from tests.integration.exactness.lab import Lab

pytestmark = pytest.mark.stack


def _etl_runner(lab: Lab, *arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"], obj=lab.deployment)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_runs_are_in_bigquery_once_and_the_views_answer(lab: Lab) -> None:
    lab.database.execute("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL)")
    lab.database.execute("INSERT INTO orders SELECT n, now() - interval '1 day' FROM generate_series(1, 7) n")
    lab.put(source_table_name="orders", timestamp_column="at")
    _etl_runner(lab, "history", "views")
    receipts = [lab.run_ok(), lab.run_ok()]
    lab.database.execute("ALTER TABLE orders RENAME TO gone")
    assert lab.run().state == "FAILED"
    waiting = _etl_runner(lab, "runs", lab.source_id)["history"]["waiting"]
    assert waiting >= 3
    for _ in range(2):  # a second drain finds nothing
        _etl_runner(lab, "history", "drain")
    assert _etl_runner(lab, "history", "status")["waiting"] == 0
    dataset = f"{lab.stack.settings.project}.{lab.stack.settings.dataset}"
    where = f"WHERE source_id = '{lab.source_id}'"
    rows = lab.bigquery.query_and_wait(
        f"SELECT run_id, epoch, outcome, rows_loaded, window_high, ARRAY_LENGTH(jobs) AS jobs, receipt"
        f" FROM `{dataset}.etl_runs` {where} ORDER BY epoch"
    )
    found = [tuple(row.values()) for row in rows]
    assert [(row[1], row[2], row[3]) for row in found] == [(1, "ok", 7), (2, "ok", 0), (3, "failed", None)]
    assert [row[0] for row in found[:2]] == [receipt["run_id"] for receipt in receipts]
    assert found[0][4] == receipts[0]["window"]["high"]
    assert [row[5] for row in found] == [1, 0, 0]
    assert json.loads(found[0][6]) == receipts[0]
    last = list(lab.bigquery.query_and_wait(f"SELECT * FROM `{dataset}.etl_last_state` {where}"))
    assert [(row["outcome"], row["last_ok"].isoformat()) for row in last] == [
        ("failed", receipts[1]["finished"])
    ]
    days = list(lab.bigquery.query_and_wait(f"SELECT * FROM `{dataset}.etl_rows_per_day` {where}"))
    assert sum(row["rows_loaded"] for row in days) == 7
    assert sum(row["not_ok"] for row in days) == 1
    assert list(lab.bigquery.query_and_wait(f"SELECT * FROM `{dataset}.etl_rejects` {where}")) == []
