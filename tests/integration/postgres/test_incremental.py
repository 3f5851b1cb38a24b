"""Incremental windows on a real server: late commits, wraps, odd cursors, and what the plan says of them."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.errors import ConfigError, PermanentError
from etl_runner.sources.base import Extract
from etl_runner.sources.postgres import window
from tests.conftest import Database
from tests.integration.postgres.support import connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack

FIELDS: dict[str, Any] = {
    "source_table_name": "t",
    "load_type": "transactional",
    "timestamp_column": "at",
}


def run(
    database: Database, watermark: dict[str, Any] | None, **fields: Any
) -> tuple[list[int], dict[str, Any] | None, Extract]:
    """One run: the ids that it loads, the next watermark, what was planned."""
    source = source_of(database, **{**FIELDS, **fields})
    plan, extract = plan_of(source, watermark=watermark, unit_rows=3)
    return sorted(read_all(source, plan).columns["id"]), extract.next_watermark, extract


@pytest.fixture
def table(postgres: Database) -> Database:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at)")
    return postgres


def test_each_row_is_loaded_once_though_it_commits_late(table: Database) -> None:
    loaded: list[int] = []
    table.execute("INSERT INTO t VALUES (1, clock_timestamp())")
    slow, savepoint = table.connect(), table.connect()
    try:
        slow.run("BEGIN; INSERT INTO t VALUES (2, clock_timestamp())")
        savepoint.run("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (3, clock_timestamp()); RELEASE s")
        savepoint.run(
            "DO $$ BEGIN INSERT INTO t VALUES (4, clock_timestamp()); EXCEPTION WHEN OTHERS THEN NULL; END $$"
        )
        ids, mark, first = run(table, None)
        loaded += ids
        assert ids == [1]
        table.execute("INSERT INTO t VALUES (5, clock_timestamp())")
        slow.run("COMMIT")
        ids, mark, _ = run(table, mark)
        loaded += ids
        savepoint.run("COMMIT")
        for _ in range(2):
            ids, mark, _ = run(table, mark)
            loaded += ids
    finally:
        slow.close()
        savepoint.close()
    ids, mark, last = run(table, mark)
    loaded += ids
    assert sorted(loaded) == [1, 2, 3, 4, 5]
    assert last.units == ()
    assert first.window.detail["rule"] == "xmin"


def test_the_same_once_the_late_window_is_changed(table: Database) -> None:
    slow = table.connect()
    loaded: list[int] = []
    mark = None
    try:
        slow.run("BEGIN; INSERT INTO t VALUES (1, clock_timestamp())")
        table.execute("INSERT INTO t VALUES (2, clock_timestamp() - interval '30 minutes')")
        for number, late in enumerate(("1h", "10m")):
            table.execute(f"INSERT INTO t VALUES ({3 + number}, clock_timestamp())")
            ids, mark, _ = run(table, mark, late_window=late)
            loaded += ids
        slow.run("COMMIT")
        for late in ("2h", "0", "1h", "0", "0"):
            ids, mark, _ = run(table, mark, late_window=late)
            loaded += ids
    finally:
        slow.close()
    assert sorted(loaded) == sorted(row[0] for row in table.query("SELECT id FROM t"))


def test_an_old_transaction_holds_the_window_back_and_is_named(table: Database) -> None:
    holder = table.connect()
    try:
        holder.run("SET application_name = 'forgotten'; BEGIN; SELECT 1")
        table.execute("INSERT INTO t VALUES (1, clock_timestamp())")
        ids, mark, extract = run(table, None, late_window="0")
        assert ids == []
        assert any("held back by pid" in note and "forgotten" in note for note in extract.notes)
        holder.run("COMMIT")
    finally:
        holder.close()
    ids, _, extract = run(table, mark, late_window="0")
    assert ids == [1]
    assert not any("held back" in note for note in extract.notes)


def test_transactions_of_other_databases_hold_nothing_back(table: Database) -> None:
    other = table.server.connect(table.server.maintenance_database)
    try:
        other.run("BEGIN; SELECT pg_current_xact_id()")
        table.execute("INSERT INTO t VALUES (1, clock_timestamp())")
        ids, mark, extract = run(table, None, late_window="1h")
        # Its number is older than the row's, so that the row is left to the next run.
        assert ids == []
        assert not any("held back" in note for note in extract.notes)
        other.run("COMMIT")
    finally:
        other.close()
    assert run(table, mark)[0] == [1]


def test_the_server_computes_transaction_numbers_as_we_do(table: Database) -> None:
    table.execute("INSERT INTO t VALUES (1, now()), (2, now())")
    rows = table.query(
        f"SELECT xmin::text::int8, {window.SNAPSHOT_END}, {window.transaction_sql('t')} FROM t"
    )
    for bits, end, x in rows:
        assert window.transaction_of(bits, end) == x
    sql = window.transaction_sql("r").replace(window.SNAPSHOT_END, "r.finish")
    wrap = 1 << 32
    for end in (5, wrap - 1, wrap, wrap + 3, wrap + 4, 3 * wrap + 100):
        for bits in (0, 2, 3, 4, 100, 101, wrap - 1):
            expression = sql.replace("r.xmin::text", f"'{bits}'").replace("r.finish", f"{end}::int8")
            assert table.query(f"SELECT {expression}") == [(window.transaction_of(bits, end),)]


def test_starting_points(table: Database) -> None:
    table.execute("INSERT INTO t VALUES (1, '2020-01-01 00:00:00+00'), (2, '2020-01-01 00:00:00.000001+00')")
    table.execute("INSERT INTO t VALUES (3, '2019-12-31 23:59:59.999999+00')")
    assert run(table, None, historical_start_date="2020-01-01")[0] == [1, 2]
    assert run(table, None, last_sync_value="2020-01-01T01:00:00+01:00")[0] == [2]
    assert run(table, None)[0] == [1, 2, 3]
    assert run(table, None, historical_start_date="-5d")[0] == []
    # What an adopted installation leaves: a value and nothing else.
    assert run(table, {"value": "2020-01-01 00:00:00"})[0] == [2]
    with pytest.raises(ConfigError, match="watermark: is no value of the cursor's type timestamptz"):
        run(table, {"value": "yesterday-ish"})


def test_null_and_future_cursors_are_counted(table: Database) -> None:
    table.execute("INSERT INTO t VALUES (1, now()), (2, NULL), (3, NULL), (4, now() + interval '1 day')")
    ids, _, extract = run(table, None)
    assert ids == [1]
    assert "2 rows whose at is NULL are not loaded" in extract.notes
    assert "1 rows whose at lies in the future wait for it" in extract.notes


def test_another_server_or_cursor_is_refused(table: Database) -> None:
    table.execute("INSERT INTO t VALUES (1, now())")
    _, mark, _ = run(table, None)
    assert mark is not None
    with pytest.raises(PermanentError, match=r"another server.*etl-runner reset"):
        run(table, {**mark, "identity": "1/2/three"})
    with pytest.raises(PermanentError, match="cursor had the column id"):
        run(table, {**mark, "column": "id"})


def test_a_user_who_sees_no_other_sessions_is_told_what_is_lost(table: Database) -> None:
    table.execute(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'pw'; GRANT SELECT ON t TO reader"
    )
    table.execute("GRANT USAGE ON SCHEMA public TO reader")
    from etl_runner.config.secrets import SecretValue

    connection = connection_to(table, username="reader", password=SecretValue("pw"))
    source = source_of(table, connection, **FIELDS)
    _, extract = plan_of(source)
    assert any("pg_read_all_stats" in note for note in extract.notes)
    table.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize(("declared", "kind"), [("timestamp", "timestamp"), ("date", "date")])
def test_cursors_without_a_zone(postgres: Database, declared: str, kind: str) -> None:
    postgres.execute(f"ALTER DATABASE {postgres.database} SET TimeZone = 'Pacific/Kiritimati'")
    postgres.execute(f"CREATE TABLE t (id int PRIMARY KEY, at {declared})")
    local = "(clock_timestamp() AT TIME ZONE 'Pacific/Kiritimati')"
    postgres.execute(
        f"INSERT INTO t VALUES (1, {local} - interval '1 day'), (2, {local}), (3, {local} + interval '1 day')"
    )
    ids, mark, extract = run(postgres, None)
    assert ids == ([1, 2] if kind == "timestamp" else [1])
    assert extract.window.detail["time_zone"] == "Pacific/Kiritimati"
    assert mark is not None
    assert run(postgres, mark)[0] == []
    assert run(postgres, None, late_window="1d")[0] == [1, 2]


def test_increasing_keys(postgres: Database) -> None:
    fields = {"timestamp_column": None, "incrementing_column": "id", "late_window": "10"}
    postgres.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    ids, mark, extract = run(postgres, None, **fields)
    assert (ids, mark, extract.units) == ([], None, ())
    slow = postgres.connect()
    try:
        slow.run("BEGIN; INSERT INTO t VALUES (3)")
        postgres.execute("INSERT INTO t VALUES (1), (2), (5)")
        loaded, mark, _ = run(postgres, mark, **fields)
        slow.run("COMMIT")
    finally:
        slow.close()
    for _ in range(2):
        ids, mark, _ = run(postgres, mark, **fields)
        loaded += ids
    assert sorted(loaded) == [1, 2, 3, 5]
    assert mark is not None and mark["value"] == "5"


def test_views_and_queries_stay_behind(table: Database) -> None:
    table.execute("CREATE VIEW v AS SELECT * FROM t")
    table.execute("INSERT INTO t VALUES (1, now() - interval '2 hours'), (2, now() - interval '10 minutes')")
    for fields in (
        {"source_table_name": "v"},
        {"source_table_name": None, "query": "SELECT * FROM t -- all"},
    ):
        ids, mark, extract = run(table, None, **fields)
        assert ids == [1]
        assert extract.window.detail["rule"] == "plain"
        assert any("no transaction numbers" in note for note in extract.notes)
        assert mark is not None
        assert run(table, mark, **fields)[0] == []


def test_a_column_of_the_wrong_kind_is_refused(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int, at text, made timestamptz)")
    with pytest.raises(ConfigError, match=r"timestamp_column: is of type text.*made"):
        run(postgres, None)
