"""Whole runs from BigQuery to BigQuery: what each engine loads, and when which is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.errors import ConfigError, PermanentError
from tests.integration.bigquery.support import Lab

pytestmark = pytest.mark.stack

ENGINES = ["bigquery", "cloud_run"]
_ORDERS = """
CREATE TABLE {source}.t (id INT64 NOT NULL, at TIMESTAMP, amount NUMERIC, note STRING)
PARTITION BY DATE(at)
"""
_ROWS = """
INSERT INTO {source}.t
SELECT x, TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {hours} HOUR) , NUMERIC '1.5' * x, CONCAT('é', x)
FROM UNNEST(GENERATE_ARRAY({first}, {last})) AS x
"""


def orders(lab: Lab, first: int, last: int, hours: int = 5) -> None:
    """Rows ``first`` to ``last``, ``hours`` old."""
    lab.sql(_ROWS.replace("{first}", str(first)).replace("{last}", str(last)).replace("{hours}", str(hours)))


def loaded(lab: Lab, columns: str = "id, at, amount, note") -> list[tuple[Any, ...]]:
    return lab.rows(f"SELECT {columns} FROM {{dataset}}.loaded ORDER BY id")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_catalog_becomes_the_source(lab: Lab, engine: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 300)
    source = lab.put(engine=engine, unit_rows=50, column_mapping={"note": "remark"}, on_bad_row="reject")
    plan, receipt = lab.run(source)
    assert (plan.header.engine, receipt["outcome"]) == (engine, "ok"), receipt
    assert (receipt["rows_read"], receipt["rows_loaded"], plan.header.estimated_rows) == (300, 300, 300)
    assert loaded(lab, "id, at, amount, remark") == lab.rows("SELECT * FROM {source}.t ORDER BY id")
    lab.sql("DELETE FROM {source}.t WHERE id > 10", "UPDATE {source}.t SET note = NULL WHERE id = 3")
    assert lab.run(source)[1]["rows_loaded"] == 10
    assert loaded(lab, "id, at, amount, remark") == lab.rows("SELECT * FROM {source}.t ORDER BY id")
    run_ids = lab.rows("SELECT DISTINCT _etl_run_id FROM {dataset}.loaded")
    assert len(run_ids) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_each_row_is_loaded_once_as_its_window_comes(lab: Lab, engine: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 100, hours=48)
    orders(lab, 101, 120, hours=0)
    lab.sql("INSERT INTO {source}.t (id, note) VALUES (500, 'no time'), (501, NULL)")
    fields = {"engine": engine, "load_type": "transactional", "timestamp_column": "at", "unit_rows": 30}
    source = lab.put(**fields, late_window="40h")
    plan, receipt = lab.run(source)
    assert (receipt["outcome"], receipt["rows_loaded"]) == ("ok", 100), receipt
    assert "2 rows whose at is NULL are not loaded" in plan.header.notes
    plan, receipt = lab.run(source)
    assert (plan.header.engine, receipt["rows_loaded"], receipt["jobs"]) == ("none", 0, [])
    orders(lab, 200, 230, hours=3)
    assert lab.run(source)[1]["rows_loaded"] == 0  # they are within the late window
    lab.put(**fields, source_id=source)
    assert lab.run(source)[1]["rows_loaded"] == 31
    assert [row[0] for row in loaded(lab, "id")] == [*range(1, 101), *range(200, 231)]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_increasing_key(lab: Lab, engine: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 100)
    source = lab.put(engine=engine, load_type="transactional", incrementing_column="id", last_sync_value="40")
    assert lab.run(source)[1]["rows_loaded"] == 60
    orders(lab, 101, 105)
    assert lab.run(source)[1]["rows_loaded"] == 5
    assert [row[0] for row in loaded(lab, "id")] == list(range(41, 106))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_upsert_keeps_the_newest_version(lab: Lab, engine: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 20, hours=30)
    fields = {"engine": engine, "load_type": "upsert", "timestamp_column": "at", "primary_key_column": "id"}
    source = lab.put(**fields, late_window="20h")
    assert lab.run(source)[1]["outcome"] == "ok"
    lab.sql(
        "UPDATE {source}.t SET note = 'new', at = TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 2 HOUR)"
        " WHERE id <= 5"
    )
    lab.put(**fields, source_id=source)
    assert lab.run(source)[1]["outcome"] == "ok"
    assert loaded(lab) == lab.rows("SELECT * FROM {source}.t ORDER BY id")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_written_after_the_plan_belongs_to_the_next_run(lab: Lab, engine: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 50)
    source = lab.put(engine=engine, load_type="catalog", unit_rows=10)
    handle, plan = lab.plan(source)
    before = lab.rows("SELECT * FROM {source}.t ORDER BY id")
    lab.sql("DELETE FROM {source}.t WHERE id <= 25", "UPDATE {source}.t SET note = 'later' WHERE TRUE")
    orders(lab, 60, 70)
    lab.extract(handle, plan)
    receipt = lab.finalize(handle)
    assert (receipt["rows_loaded"], "row_mismatch" in receipt) == (50, False)
    assert loaded(lab) == before


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("what", ["query", "view"])
def test_views_and_queries(lab: Lab, engine: str, what: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 90)
    query = f"SELECT id, at, amount, note -- all of it\nFROM `{lab.source}.t` WHERE id > 30"
    lab.sql(f"CREATE VIEW {{source}}.v AS {query}")
    named: dict[str, Any] = {"query": query} if what == "query" else {"source_table_name": "v"}
    source = lab.put(engine=engine, **named)
    for _ in range(2):
        plan, receipt = lab.run(source)
        assert (plan.header.engine, receipt["outcome"], receipt["rows_loaded"]) == (engine, "ok", 60), receipt
        assert loaded(lab) == lab.rows("SELECT * FROM {source}.t WHERE id > 30 ORDER BY id")
    # Nobody counted before: an empty result must not empty the table all the same.
    lab.sql("DELETE FROM {source}.t WHERE TRUE")
    receipt = lab.run(source)[1]
    assert receipt["outcome"] == "failed"
    assert "the source is empty" in receipt["reason"]
    assert len(loaded(lab)) == 60
    staging = lab.rows(
        "SELECT table_name FROM {dataset}.INFORMATION_SCHEMA.TABLES WHERE table_name != 'loaded'"
    )
    assert len(staging) <= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_table_empties_nothing_unless_allowed(lab: Lab, engine: str) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 3)
    source = lab.put(engine=engine)
    lab.run(source)
    lab.sql("DELETE FROM {source}.t WHERE TRUE")
    assert lab.run(source)[1]["outcome"] == "failed"
    assert len(loaded(lab)) == 3
    assert lab.run(lab.put(engine=engine, allow_empty=True))[1]["outcome"] == "ok"
    assert loaded(lab) == []


def test_auto_takes_bigquery_where_it_is_exact_and_says_why_it_does_not(lab: Lab) -> None:
    lab.sql(_ORDERS)
    orders(lab, 1, 5)
    assert lab.plan(lab.put())[1].header.engine == "bigquery"
    lab.sql("CREATE TABLE {dataset}.loaded (id NUMERIC, at TIMESTAMP, amount NUMERIC(10, 2), note STRING)")
    plan, receipt = lab.run(lab.put())
    assert plan.header.engine == "cloud_run"
    assert any("values of amount have to be converted" in note for note in plan.header.notes)
    assert receipt["outcome"] == "ok", receipt
    assert loaded(lab) == lab.rows("SELECT * FROM {source}.t ORDER BY id")
    with pytest.raises(PermanentError, match="engine: bigquery is not possible: values of amount"):
        lab.plan(lab.put(engine="bigquery"))
    plan = lab.plan(lab.put(connection_params={"billing_project": "payer-project"}))[1]
    assert any("reading is billed to payer-project" in note for note in plan.header.notes)


def test_another_location_is_read_through_the_storage_api(lab: Lab) -> None:
    lab.bigquery.server.create_dataset(f"{lab.source}_us", "US")
    lab.sql(f"CREATE TABLE `{lab.source}_us`.t AS SELECT x AS id FROM UNNEST(GENERATE_ARRAY(1, 10)) AS x")
    plan, receipt = lab.run(lab.put(connection_params={"dataset": f"{lab.source}_us"}))
    assert plan.header.engine == "cloud_run"
    assert any("is in US, and the destination in EU" in note for note in plan.header.notes)
    assert (receipt["outcome"], receipt["rows_loaded"]) == ("ok", 10)
    lab.bigquery.client.delete_dataset(f"{lab.source}_us", delete_contents=True)


def test_wrong_documents_get_one_clear_message(lab: Lab) -> None:
    lab.sql(_ORDERS)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"source_table_name": "nothing"}, "there is no table etl-test"),
        ({"selected_columns": ["id", "nte"]}, "did you mean 'note'"),
        ({"load_type": "transactional", "timestamp_column": "note"}, "is of type STRING"),
        ({"query": "SELECT nonsense FROM nowhere"}, "query: BigQuery refuses it"),
    ]
    for fields, message in wrong:
        with pytest.raises((ConfigError, PermanentError), match=message):
            lab.plan(lab.put(**fields))


def test_the_table_that_is_loaded_is_no_source(lab: Lab) -> None:
    lab.sql("CREATE TABLE {dataset}.loaded AS SELECT 1 AS id")
    source = lab.put(connection_params={"dataset": lab.bigquery.dataset}, source_table_name="loaded")
    with pytest.raises(PermanentError, match="is source and destination at once"):
        lab.plan(source)
