from __future__ import annotations

from etl_runner.state.receipts import Receipts

from .conftest import RECEIPT, FakeDeployment


def test_receipts_newest_last_and_limited(deployment: FakeDeployment) -> None:
    receipts = Receipts(deployment.state, "orders")
    for epoch in (1, 2, 3):
        receipts.write({**RECEIPT, "run_id": f"r{epoch}", "epoch": epoch})
    code, answer = deployment.json("runs", "orders", "--limit", "2")
    assert code == 0
    assert [receipt["run_id"] for receipt in answer["runs"]] == ["r2", "r3"]


def test_the_page_has_window_units_rows_seconds_and_jobs(deployment: FakeDeployment) -> None:
    deployment.finish()
    page = deployment.invoke("runs", "orders").stdout
    for text in (
        "(beginning, 2026-01-02 03:04:05+00]",
        "150,000",
        "2.5",
        "etl_orders_1_r1_1",
        "ok",
        "2026-01-02 03:04:07Z",
    ):
        assert text in page


def test_a_failure_shows_its_reason(deployment: FakeDeployment) -> None:
    deployment.finish({**RECEIPT, "outcome": "failed", "reason": "table orders is gone", "jobs": []})
    assert "table orders is gone" in deployment.invoke("runs", "orders").stdout


def test_no_runs_is_said(deployment: FakeDeployment) -> None:
    assert "no run has finished" in deployment.invoke("runs", "orders").stdout
    assert deployment.json("runs") == (0, {"runs": [], "history": {"waiting": 0, "drained": None}})


def test_a_run_over_files_says_how_many_of_how_many(deployment: FakeDeployment) -> None:
    window = {"column": None, "low": "2026-01-01T00:00:00+00:00", "high": "2026-01-02T00:00:00+00:00"}
    files = {"files": 3, "matching": 1200, "ignored": 1}
    deployment.add_source()
    deployment.finish({**RECEIPT, "window": {**window, "late": None}, "files": files})
    for command in (("show", "r1"), ("runs", "orders")):
        page = deployment.invoke(*command).stdout
        assert "3 new of 1,200 matching files, 1 overwritten ones ignored, modified 2026-01-01" in page
