"""A run that finds nothing new is planned without units, so that no extraction is started for it."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.config.secrets import EnvFileResolver
from etl_runner.errors import PermanentError
from etl_runner.sources.network import Where
from etl_runner.sources.postgres import probe, schema
from etl_runner.sources.postgres.connect import Target, open_control
from etl_runner.sources.postgres.diagnose import diagnosed
from tests.conftest import Database
from tests.integration.postgres.support import connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack


def _plan(database: Database, watermark: dict[str, Any] | None) -> Any:
    source = source_of(
        database, source_table_name="t", load_type="transactional", timestamp_column="at", late_window="0"
    )
    return plan_of(source, watermark=watermark)


@pytest.mark.parametrize("index", ["CREATE INDEX ON t (at)", "SELECT"])
def test_nothing_new_has_no_units_and_something_new_has_one(postgres: Database, index: str) -> None:
    postgres.execute(f"CREATE TABLE t (id int, at timestamptz DEFAULT clock_timestamp()); {index}")
    postgres.execute("INSERT INTO t (id) SELECT generate_series(1, 100); ANALYZE t")
    first, extract = _plan(postgres, None)
    assert len(first.units) == 1
    second, after = _plan(postgres, extract.next_watermark)
    assert second.units == ()
    assert after.estimated_rows == 0
    assert after.next_watermark["value"] > extract.next_watermark["value"]
    postgres.execute("INSERT INTO t (id) VALUES (101)")
    third, _ = _plan(postgres, after.next_watermark)
    assert len(third.units) == 1


def test_a_look_that_takes_too_long_leaves_the_answer_to_the_extraction(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    target = Target(connection_to(postgres), EnvFileResolver({}), "etl-runner test")
    with open_control(target) as control:
        with control.transaction():
            relation = schema.table(control, None, "t", "orders")
        assert probe.nothing_new(control, relation, "t.id > 1")
        assert not probe.nothing_new(control, relation, "t.id = 1")
        assert not probe.nothing_new(control, relation, "pg_sleep(5 * t.id)::text = 'awake'")
        # The connection is fit for use afterwards.
        assert probe.nothing_new(control, relation, "t.id > 1")


def test_an_array_that_does_not_begin_at_one_is_read(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (v smallint[]); INSERT INTO t VALUES ('[5:6]={8,9}'), ('{1}'), (NULL)")
    source = source_of(postgres, source_table_name="t")
    plan, _ = plan_of(source)
    assert read_all(source, plan).columns["v"] == [[8, 9], [1], None]


def test_what_the_driver_cannot_decode_is_final_and_says_so(postgres: Database) -> None:
    class DriverError(Exception):
        sqlstate = None

    where = Where("db.example.com", 5432, "shop", "etl", "PostgreSQL")
    text = "IO: ReadRecord failed: Array value with lower bound not in {0, 1} is not supported"
    with (
        pytest.raises(PermanentError, match="cannot decode a value of the result"),
        diagnosed(DriverError, where, "reading unit u1"),
    ):
        raise DriverError(text)
