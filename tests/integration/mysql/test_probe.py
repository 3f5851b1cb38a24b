"""A run that finds nothing new is planned without units, so that no extraction is started for it."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.config.secrets import EnvFileResolver
from etl_runner.sources.base import Extract
from etl_runner.sources.mysql import probe, schema
from etl_runner.sources.mysql.connect import Target, open_control
from tests.integration.mysql.support import Database, connection_to, plan_of, source_of

pytestmark = pytest.mark.stack


def _plan(database: Database, watermark: dict[str, Any] | None) -> tuple[int, Extract]:
    source = source_of(
        database, source_table_name="t", load_type="transactional", incrementing_column="id", late_window="0"
    )
    plan, extract = plan_of(source, watermark=watermark)
    return len(plan.units), extract


def test_nothing_new_has_no_units_and_something_new_has_one(mariadb: Database) -> None:
    mariadb.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_100")
    units, first = _plan(mariadb, None)
    assert units == 1
    units, second = _plan(mariadb, first.next_watermark)
    assert (units, second.estimated_rows, second.next_watermark) == (0, 0, first.next_watermark)
    mariadb.execute("INSERT INTO t VALUES (101)")
    units, third = _plan(mariadb, second.next_watermark)
    assert units == 1
    assert third.next_watermark is not None
    assert third.next_watermark["value"] == "101"


def test_a_look_that_takes_too_long_leaves_the_answer_to_the_extraction(mariadb: Database) -> None:
    mariadb.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    target = Target(connection_to(mariadb), EnvFileResolver({}), "etl-runner test")
    with open_control(target) as control:
        relation = schema.table(control, None, "t", "orders")
        assert probe.nothing_new(control, relation, "t.id > 1")
        assert not probe.nothing_new(control, relation, "t.id = 1")
        assert not probe.nothing_new(control, relation, "SLEEP(5 * t.id) = 7")
        # The connection is fit for use afterwards, and its own limit as it was.
        assert probe.nothing_new(control, relation, "SLEEP(2 * t.id) = 7 AND FALSE")
