"""Backfill and reconcile of a BigQuery source, by the commands that people use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import fresh_name
from tests.integration.exactness.lab import Lab
from tests.integration.ops.test_operate import etl_runner

pytestmark = pytest.mark.stack
_COLUMNS = "CAST(id AS STRING) AS id, FORMAT('%.2f', CAST(amount AS FLOAT64)) AS amount, note"


@pytest.fixture
def dataset(lab: Lab) -> Iterator[str]:
    """A dataset with ten orders, one a day, which are loaded."""
    name = fresh_name("source")
    lab.stack.bigquery.create_dataset(name)
    lab.bigquery.query_and_wait(
        f"CREATE TABLE {name}.orders (id INT64 NOT NULL, at TIMESTAMP, amount NUMERIC, note STRING)"
    )
    lab.bigquery.query_and_wait(
        f"INSERT INTO {name}.orders SELECT n, TIMESTAMP_ADD(TIMESTAMP '2025-12-31', INTERVAL n DAY), "
        "NUMERIC '1.5' * n, CONCAT('é', n) FROM UNNEST(GENERATE_ARRAY(1, 10)) AS n"
    )
    connection = {
        "source_type": "bigquery",
        "project": lab.stack.settings.project,
        "dataset": name,
        "use_runner_account": True,
    }
    lab.put(server=connection, source_type="bigquery", source_table_name="orders", timestamp_column="at")
    assert lab.run_ok()["engine"] == "bigquery"
    yield name
    lab.bigquery.delete_dataset(name, delete_contents=True)


def _rows(lab: Lab, table: str) -> list[tuple[str, ...]]:
    found = lab.bigquery.query_and_wait(f"SELECT {_COLUMNS} FROM {table} ORDER BY 1, 2")
    return [tuple(row.values()) for row in found]


def test_reconcile_finds_each_difference_and_repairs_exactly_those(lab: Lab, dataset: str) -> None:
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--by", "day")
    assert (code, answer["differing"], len(answer["ranges"])) == (0, 0, 10), answer
    assert answer["compared"] == ["id", "at", "amount", "note"]
    for damage in (
        f"DELETE FROM `{lab.path}` WHERE id = 2",
        f"UPDATE `{lab.path}` SET note = 'n6!' WHERE id = 6",
        f"UPDATE {dataset}.orders SET amount = amount + 1 WHERE id = 8",
    ):
        lab.bigquery.query_and_wait(damage)
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--by", "day")
    differing = {
        item["start"][:10]: item["verdict"] for item in answer["ranges"] if item["verdict"] != "equal"
    }
    assert (code, differing) == (
        1,
        {"2026-01-02": "missing", "2026-01-06": "different", "2026-01-08": "different"},
    )
    before = lab.state().watermark
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--by", "day", "--repair")
    assert (code, answer["differing"], len(answer["repairs"])) == (0, 0, 3), answer
    assert _rows(lab, f"`{lab.path}`") == _rows(lab, f"{dataset}.orders")
    assert lab.state().watermark == before


def test_a_backfill_replaces_exactly_its_window(lab: Lab, dataset: str) -> None:
    before = lab.state().watermark
    for change in (
        f"UPDATE {dataset}.orders SET note = 'corrected' WHERE id IN (3, 9)",
        f"DELETE FROM {dataset}.orders WHERE id = 4",
    ):
        lab.bigquery.query_and_wait(change)
    window = ("--from", "2026-01-03", "--to", "2026-01-06")
    code, answer = etl_runner(lab, "backfill", lab.source_id, *window)
    assert (code, answer["receipt"]["disposition"]) == (0, "replace_range"), answer
    assert answer["receipt"]["rows_loaded"] == 2
    wanted = [("9", "13.50", "é9") if row[0] == "9" else row for row in _rows(lab, f"{dataset}.orders")]
    assert _rows(lab, f"`{lab.path}`") == wanted
    assert lab.state().watermark == before
    # A window without a row deletes only when told.
    lab.bigquery.query_and_wait(f"DELETE FROM {dataset}.orders WHERE id = 7")
    window = ("--from", "2026-01-07", "--to", "2026-01-08")
    code, answer = etl_runner(lab, "backfill", lab.source_id, *window)
    assert (code, "--allow-empty" in answer["receipt"]["reason"]) == (1, True), answer
    assert etl_runner(lab, "backfill", lab.source_id, *window, "--allow-empty")[0] == 0
    assert _rows(lab, f"`{lab.path}`") == [row for row in wanted if row[0] != "7"]
