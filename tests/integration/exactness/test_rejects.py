"""Rejected rows on the real parts: in their table once, and back through the same conversion."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from etl_runner.commit.close import Done
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.rejects.corrections import Corrections
from etl_runner.rejects.service import Rejects
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


def corrections(service: Rejects, changes: dict[str, dict[str, Any]]) -> Corrections:
    """What a person makes of the list: the same lines, some values changed."""
    lines = []
    for row in service.rows([item.run.run_id for item in service.overview() if item.state == "pending"]):
        record = {**row.record, **changes.get(row.record["id"], {})}
        lines.append(json.dumps({"run_id": row.run_id, "unit": row.unit, "row": row.row, "record": record}))
    return Corrections.parse("\n".join(lines).encode(), "fix.jsonl")


def test_rejects_come_back_corrected_once_and_what_does_not_fit_again_is_a_reject(orders: Lab) -> None:
    orders.step_by_step("first")
    before = orders.state().watermark
    service = orders.deployment.rejects(orders.source_id)
    given = corrections(service, {"2": {"amount": "12.5"}, "5": {"day": "2026-05-05"}})
    done = service.replay(orders.run_id("replay"), (), given)
    assert isinstance(done, Done)
    assert done.receipt is not None
    assert (done.receipt["outcome"], done.receipt["rows_loaded"], done.receipt["rejects"]) == ("ok", 2, 1)
    loaded = orders.query("SELECT id, amount, CAST(day AS STRING), tags FROM {table} ORDER BY id")
    assert loaded == [
        (1, Decimal("1.5"), "2026-01-01", ["a"]),
        (2, Decimal("12.5"), "2026-01-02", ["b", "\U0001f600"]),
        (3, Decimal("-3"), None, []),
        (5, Decimal("5"), "2026-05-05", ["x"]),
    ]
    # Microseconds and zone came through the text.
    micros = orders.query("SELECT id, UNIX_MICROS(updated_at) FROM {table} ORDER BY id")
    assert micros == orders.database.query(
        "SELECT id, (extract(epoch FROM updated_at) * 1000000)::bigint FROM orders WHERE id <> 4 ORDER BY id"
    )
    assert orders.state().watermark == before
    assert {(item.run.run_id, item.state) for item in service.overview()} == {
        (orders.run_id("first"), "replayed"),
        (orders.run_id("replay"), "pending"),
    }
    with pytest.raises(ConfigError, match="has no rejects to replay"):
        service.replay(orders.run_id("twice"), [orders.run_id("first")])
    assert orders.query("SELECT count(*) FROM {table}") == [(4,)]
    # The last one, after the destination's type was changed.
    orders.query(
        "CREATE OR REPLACE TABLE {table} AS SELECT * REPLACE (CAST(amount AS STRING) AS amount) FROM {table}"
    )
    done = service.replay(orders.run_id("third"))
    assert isinstance(done, Done)
    assert done.receipt is not None
    assert (done.receipt["rows_loaded"], done.receipt["rejects"]) == (1, 0)
    assert orders.query("SELECT amount FROM {table} WHERE id = 4") == [("4e",)]
    orders.database.execute("INSERT INTO orders (id, amount) VALUES (6, '6')")
    orders.step_by_step("after")
    assert orders.query("SELECT count(*), count(DISTINCT id) FROM {table}") == [(6, 6)]


def test_a_replay_of_a_replaced_table_is_refused(orders: Lab) -> None:
    _put(orders, load_type="catalog", timestamp_column="")
    orders.step_by_step("first")
    orders.step_by_step("second")
    service = orders.deployment.rejects(orders.source_id)
    with pytest.raises(PermanentError, match="the table was replaced after run"):
        service.replay(orders.run_id("late"), [orders.run_id("first")])
    assert orders.settled().last is not None
    assert orders.query("SELECT count(*) FROM {table}") == [(2,)]
    done = service.replay(orders.run_id("newest"), [orders.run_id("second")])
    assert isinstance(done, Done)
    assert done.receipt is not None
    assert done.receipt["rejects"] == 3
