"""Rejected rows on the real parts: in their table once, and back through the same conversion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from tests.integration.exactness.lab import Lab

pytestmark = pytest.mark.stack

TABLE = "CREATE TABLE {table} (id INT64, amount NUMERIC, day DATE, tags ARRAY<STRING>, updated_at TIMESTAMP)"


@pytest.fixture
def orders(lab: Lab) -> Lab:
    """Text at the source, numbers at the destination: 2 and 4 do not fit, 5 holds a date of no calendar."""
    lab.database.execute(
        "CREATE TABLE orders (id int, amount text, day date, tags text[],"
        " updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    lab.database.execute(
        "INSERT INTO orders (id, amount, day, tags) VALUES (1, '1.50', '2026-01-01', '{a}'),"
        " (2, 'twelve', '2026-01-02', '{\"b\",\"\U0001f600\"}'), (3, '-3', NULL, NULL),"
        " (4, '4e', '2026-01-04', '{}'), (5, '5', 'infinity', '{x}')"
    )
    lab.query(TABLE)
    _put(lab)
    return lab


def _put(lab: Lab, **fields: Any) -> None:
    document = {
        "source_table_name": "orders",
        "timestamp_column": "updated_at",
        "late_window": "1s",
        "on_bad_row": "reject",
        "metadata_columns": False,
    }
    lab.put(**{**document, **fields})


def rejects(lab: Lab, columns: str) -> list[tuple[Any, ...]]:
    return lab.query(f"SELECT {columns} FROM `{lab.path}__rejects` ORDER BY rejected_at, unit, `row`")


def test_rejects_are_in_their_table_with_place_reason_and_record(orders: Lab) -> None:
    done = orders.step_by_step("first")
    receipt = done.receipt
    assert receipt is not None
    assert (receipt["rows_loaded"], receipt["rejects"]) == (2, 3)
    assert receipt["rejects_table"]["outcome"] == "loaded"
    found = rejects(orders, "source_id, run_id, unit, `row`, file, line, `column`, value")
    run = orders.run_id("first")
    assert [(row[:3], row[4:]) for row in found] == [
        ((orders.source_id, run, "u00000"), (None, None, "amount", "twelve")),
        ((orders.source_id, run, "u00000"), (None, None, "amount", "4e")),
        ((orders.source_id, run, "u00000"), (None, None, "day", "infinity")),
    ]
    assert sorted(row[3] for row in found) == [2, 4, 5]
    record = json.loads(rejects(orders, "record")[0][0])
    assert record["id"] == "2"
    assert record["tags"] == ["b", "\U0001f600"]
    assert (record["amount"], record["day"]) == ("twelve", "2026-01-02")
    # The next run has no rejects, and needs no operation on their table.
    orders.database.execute("INSERT INTO orders (id, amount) VALUES (6, '6')")
    before = len(orders.job_ids())
    orders.step_by_step("second")
    assert len(orders.job_ids()) == before + 1
    assert len(rejects(orders, "value")) == 3


def test_more_rejects_than_allowed_over_the_whole_run_load_nothing(orders: Lab) -> None:
    # One row a unit: no unit has more than is allowed, all of them together have.
    _put(orders, max_rejects=2, unit_rows=1, load_type="catalog", timestamp_column="")
    key, header = orders.open_and_plan("many")
    orders.extract(key)
    done = orders.finalize(key)
    assert done.outcome == "failed"
    assert done.receipt is not None
    assert "3 rows were rejected, max_rejects allows 2" in done.receipt["reason"]
    assert header.max_rejects == 2
    assert orders.query("SELECT count(*) FROM {table}") == [(0,)]
    with pytest.raises(NotFound):
        orders.bigquery.get_table(f"{orders.path}__rejects")
