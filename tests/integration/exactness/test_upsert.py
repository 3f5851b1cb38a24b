"""Upserts on the real parts: one row a key, the newest version, whatever order and however often."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.errors import ConfigError
from tests.integration.exactness.lab import Lab
from tests.integration.ops.test_operate import etl_runner

pytestmark = pytest.mark.stack

COLUMNS = "id, region, version"


def _put(lab: Lab, **fields: Any) -> None:
    document: dict[str, Any] = {
        "source_table_name": "orders",
        "load_type": "upsert",
        "timestamp_column": "changed_at",
        "primary_key_column": ["id", "region"],
        "late_window": "1s",
    }
    lab.put(**{**document, **fields})


@pytest.fixture
def orders(lab: Lab) -> Lab:
    lab.database.execute(
        "CREATE TABLE orders (id int, region text, version int, detail jsonb,"
        " changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (id, region))"
    )
    lab.database.execute(
        "INSERT INTO orders (id, region, version, detail)"
        " SELECT i, CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, 1, '{\"a\": 1.5}'"
        " FROM generate_series(1, 20) i"
    )
    _put(lab)
    return lab


def _loaded(lab: Lab) -> list[tuple[object, ...]]:
    return lab.query(f"SELECT {COLUMNS}, JSON_VALUE(detail, '$.a') FROM {{table}} ORDER BY id, region")


def _wanted(lab: Lab) -> list[tuple[object, ...]]:
    return lab.database.query(f"SELECT {COLUMNS}, detail->>'a' FROM orders ORDER BY id, region")


def test_changed_rows_take_the_place_of_old_ones(orders: Lab) -> None:
    first = orders.step_by_step("first")
    assert first.receipt["reason"] is None  # type: ignore[index]
    assert _loaded(orders) == _wanted(orders)
    orders.database.execute(
        "UPDATE orders SET version = 2, detail = '{\"a\": 2}', changed_at = clock_timestamp() WHERE id <= 5"
    )
    orders.database.execute("INSERT INTO orders (id, region, version, detail) VALUES (1, 'eu', 1, NULL)")
    done = orders.step_by_step("second")
    assert done.outcome == "ok"
    assert _loaded(orders) == _wanted(orders)
    orders.database.execute("UPDATE orders SET version = 3, changed_at = clock_timestamp() WHERE id = 1")
    orders.step_by_step("third")
    orders.step_by_step("fourth")
    assert _loaded(orders) == _wanted(orders)
    table = orders.bigquery.get_table(orders.path)
    assert list(table.clustering_fields) == ["id", "region"]


def test_of_rows_with_one_key_the_newest_counts(orders: Lab) -> None:
    # A view knows no key: the same key several times in one run, some with equal cursors.
    orders.database.execute(
        "CREATE VIEW twice AS SELECT 1 AS id, 'eu' AS region, v AS version, NULL::jsonb AS detail,"
        " timestamptz '2026-01-01' + (v / 2) * interval '1 s' AS changed_at FROM generate_series(1, 9) v"
    )
    _put(orders, source_table_name="twice")
    orders.step_by_step("first")
    # 8 and 9 share the greatest cursor: the greater text of the row decides, always the same way.
    assert [row[:3] for row in _loaded(orders)] == [(1, "eu", 9)]


def test_rows_whose_key_is_null_are_one_row(orders: Lab) -> None:
    orders.database.execute(
        "CREATE TABLE loose (id int, region text, version int, detail jsonb, changed_at timestamptz)"
    )
    _put(orders, source_table_name="loose")
    for version in (1, 2):
        orders.database.execute(
            f"INSERT INTO loose VALUES (7, NULL, {version}, NULL, clock_timestamp() - interval '0.5 s')"
        )
        orders.step_by_step(f"run{version}")
    assert [row[:3] for row in _loaded(orders)] == [(7, None, 2)]


def test_a_key_that_is_not_loaded_is_refused_when_planned(orders: Lab) -> None:
    _put(orders, selected_columns=["id", "version", "changed_at"])
    with pytest.raises(ConfigError, match="leaves out 'region'"):
        orders.open_and_plan("keyless")


def test_an_older_version_that_arrives_late_replaces_nothing(orders: Lab) -> None:
    orders.database.execute("DELETE FROM orders WHERE id > 2")
    orders.database.execute("UPDATE orders SET version = 5, changed_at = clock_timestamp()")
    orders.step_by_step("first")
    # Written later, with an older cursor, within the late window: read again, and still older.
    orders.database.execute(
        "UPDATE orders SET version = 4, changed_at = changed_at - interval '0.3 s' WHERE id = 1"
    )
    # An equal cursor: what was written last is the newest.
    orders.database.execute("UPDATE orders SET version = 6 WHERE id = 2")
    done = orders.step_by_step("second")
    assert done.receipt is not None
    assert done.receipt["rows_read"] == 2
    assert [row[:3] for row in _loaded(orders)] == [(1, "us", 5), (2, "eu", 6)]


def test_a_key_that_changes_at_the_source_is_another_row(orders: Lab) -> None:
    orders.database.execute("DELETE FROM orders WHERE id > 1")
    orders.step_by_step("first")
    orders.database.execute("UPDATE orders SET id = 100, changed_at = clock_timestamp()")
    orders.step_by_step("second")
    assert [row[:2] for row in _loaded(orders)] == [(1, "us"), (100, "us")]


@pytest.mark.parametrize(
    "fields", [{"primary_key_column": ["id", "day"]}, {"immutable_partition": True}], ids=["key", "declared"]
)
def test_a_pruned_merge_replaces_the_rows_of_the_touched_partitions(orders: Lab, fields: Any) -> None:
    orders.database.execute(
        "CREATE TABLE days (id int, region text, day date, version int, changed_at timestamptz)"
    )
    orders.database.execute(
        "INSERT INTO days SELECT i, 'eu', CASE WHEN i < 9 THEN date '2026-01-01' + i END, 1,"
        " clock_timestamp() FROM generate_series(1, 9) i"
    )
    orders.query(
        "CREATE TABLE {table} (id INT64, region STRING, day DATE, version INT64, changed_at TIMESTAMP)"
        " PARTITION BY day"
    )
    _put(orders, source_table_name="days", **{"primary_key_column": ["id"], **fields})
    key, header = orders.open_and_plan("first")
    assert header.merge_prune == "day"
    assert any("only the partitions of day" in note for note in header.notes)
    orders.extract(key)
    assert orders.finalize(key).outcome == "ok"
    orders.database.execute(
        "UPDATE days SET version = 2, changed_at = clock_timestamp() WHERE id IN (3, 5, 9)"
    )
    done = orders.step_by_step("second")
    assert done.outcome == "ok"
    wanted = orders.database.query("SELECT id, version FROM days ORDER BY id")
    assert orders.query("SELECT id, version FROM {table} ORDER BY id") == wanted
    state = orders.state()
    assert state.last is not None
    name = f"sources/{orders.source_id}/commits/{state.last.epoch}-{state.last.run_id}.json"
    record = orders.deployment.state.read(name)
    assert record is not None
    # 9 has no day; 3 and 5 lie on the 4th and the 6th.
    assert b"(T.`day` BETWEEN DATE '2026-01-04' AND DATE '2026-01-06' OR T.`day` IS NULL)" in record.data


def _reconciled(lab: Lab, *arguments: str) -> tuple[int, dict[str, int], set[tuple[str, str]]]:
    code, answer = etl_runner(lab, "reconcile", lab.source_id, *arguments)
    found = {(item["verdict"], "/".join(map(str, item["key"]))) for item in answer["keys"]}
    return code, answer["counts"], found


@pytest.mark.parametrize("key", [["region", "id"], ["id"]], ids=["hashed", "numbers"])
def test_reconcile_finds_keys_that_are_missing_differ_or_are_gone_and_repairs_the_first_two(
    orders: Lab, key: list[str]
) -> None:
    def name(number: int, region: str) -> str:
        return str(number) if key == ["id"] else f"{region}/{number}"

    orders.database.execute("UPDATE orders SET changed_at = timestamptz '2026-01-01' + id * interval '1 day'")
    _put(orders, primary_key_column=key)
    orders.step_by_step("first")
    before = _loaded(orders)
    assert _reconciled(orders) == (0, {}, set())
    # On its way: newer than where the source is settled, whatever the destination has.
    orders.database.execute("UPDATE orders SET version = 9, changed_at = clock_timestamp() WHERE id = 20")
    for damage in (
        "DELETE FROM {table} WHERE id = 3",
        "UPDATE {table} SET version = 7 WHERE id = 10",
        "UPDATE {table} SET version = 7 WHERE id = 11",
    ):
        orders.bigquery.query_and_wait(damage.replace("{table}", f"`{orders.path}`"))
    orders.database.execute("DELETE FROM orders WHERE id = 15")
    gone = {("gone", name(15, "us"))}
    found = {("missing", name(3, "us")), ("different", name(10, "eu")), ("different", name(11, "us")), *gone}
    assert _reconciled(orders) == (1, {"different": 2, "gone": 1, "missing": 1}, found)
    # What the source has no more stays, and is told.
    assert _reconciled(orders, "--repair") == (1, {"gone": 1}, gone)
    assert _loaded(orders) == before
    orders.query("DELETE FROM {table} WHERE id = 15")
    assert _reconciled(orders) == (0, {}, set())
