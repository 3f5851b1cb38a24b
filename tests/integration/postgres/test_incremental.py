"""Incremental windows on a real server: late commits, wraps, odd cursors, and what the plan says of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from etl_runner.errors import ConfigError, PermanentError
from etl_runner.sources.base import Extract
from etl_runner.sources.cursors import Cursor
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


@pytest.mark.parametrize("lates", [("1h", "0"), ("1h", "1s"), ("0", "1h")])
def test_a_late_window_that_changes_while_a_transaction_holds_the_window(
    table: Database, lates: tuple[str, str]
) -> None:
    """The row of the oldest transaction bears its very begin; another one commits beside it."""
    holder = table.connect()
    loaded: list[int] = []
    mark = None
    try:
        holder.run("BEGIN; INSERT INTO t VALUES (1, now())")
        table.execute("INSERT INTO t SELECT 2, xact_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        table.execute("INSERT INTO t SELECT 3, at - interval '1 microsecond' FROM t WHERE id = 2")
        settled = []
        for late in (*lates, lates[1]):
            ids, mark, _ = run(table, mark, late_window=late)
            loaded += ids
            assert mark is not None
            settled.append(mark["settled"])
        assert settled == sorted(settled)
        holder.run("COMMIT")
    finally:
        holder.close()
    for _ in range(3):
        ids, mark, _ = run(table, mark, late_window=lates[1])
        loaded += ids
    assert sorted(loaded) == [1, 2, 3]


def test_a_row_with_the_begin_of_a_transaction_that_is_older_than_the_late_window(table: Database) -> None:
    holder = table.connect()
    try:
        holder.run("BEGIN; INSERT INTO t VALUES (1, now()); SELECT pg_sleep(1.1)")
        ids, mark, _ = run(table, None, late_window="1s")
        assert ids == []
        holder.run("COMMIT")
    finally:
        holder.close()
    loaded = []
    for _ in range(2):
        ids, mark, _ = run(table, mark, late_window="1s")
        loaded += ids
    assert loaded == [1]


def test_an_older_watermark_goes_on_without_its_settled_bound(table: Database) -> None:
    slow = table.connect()
    try:
        slow.run("BEGIN; INSERT INTO t VALUES (1, clock_timestamp())")
        table.execute("INSERT INTO t VALUES (2, clock_timestamp())")
        ids, mark, _ = run(table, None)
        assert ids == []
        slow.run("COMMIT")
    finally:
        slow.close()
    assert mark is not None
    del mark["settled"]
    ids, mark, _ = run(table, mark)
    assert ids == [1, 2]
    assert run(table, mark)[0] == []


def test_a_starting_point_of_others_is_never_looked_behind(table: Database) -> None:
    """Rows at or before it are the earlier system's, also those behind an open transaction's number."""
    slow = table.connect()
    try:
        slow.run("BEGIN; SELECT pg_current_xact_id()")
        table.execute("INSERT INTO t VALUES (1, now() - interval '2 minutes'), (2, now())")
        ((value,),) = table.query("SELECT (now() - interval '1 minute')::text")
        ids, mark, _ = run(table, {"value": value})
        assert ids == []
        slow.run("COMMIT")
    finally:
        slow.close()
    assert run(table, mark)[0] == [2]


def test_the_rule_in_sql_is_the_rule_on_values(table: Database) -> None:
    key = Cursor("t.k", "key", "int8")
    rows = [(c, x) for c in range(7) for x in range(4, 12)]
    values = ", ".join(f"({c}, {x})" for c, x in rows)
    for low, floor, settled, high in (
        (None, None, 3, 5), (3, 3, 5, 5), (3, 1, 2, 5), (3, 1, 5, 5), (3, 3, 3, 3), (3, 1, 1, 3)
    ):  # fmt: skip
        for previous, horizon in ((None, None), (None, 9), (6, 9), (6, 6)):
            bounds = window.Bounds(
                None if low is None else Decimal(low),
                Decimal(high),
                Decimal(settled),
                None if floor is None else Decimal(floor),
                previous,
                horizon,
            )
            where = window.condition(key, bounds).replace(window.SNAPSHOT_END, "100")
            found = table.query(f"SELECT k, xmin FROM (VALUES {values}) AS t(k, xmin) WHERE {where}")
            assert sorted(found) == [(c, x) for c, x in rows if window.belongs(Decimal(c), x, bounds)]


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


def test_keys_out_of_their_order_are_looked_for_by_default(postgres: Database) -> None:
    fields = {"timestamp_column": None, "incrementing_column": "id"}
    postgres.execute("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int)")
    slow = postgres.connect()
    try:
        slow.run("BEGIN; INSERT INTO t (n) VALUES (1)")
        postgres.execute("INSERT INTO t (n) VALUES (2)")
        loaded, mark, extract = run(postgres, None, **fields)
        slow.run("COMMIT")
    finally:
        slow.close()
    for _ in range(2):
        ids, mark, _ = run(postgres, mark, **fields)
        loaded += ids
    assert sorted(loaded) == [1, 2]
    assert extract.window.late == "10000"
    assert any("gone on by 10000 or more are lost" in note for note in extract.notes)
    assert any("an update of a row whose id is within 10000" in note for note in extract.notes)
    # A view cannot be looked back over: by default it is read up to its greatest key.
    postgres.execute("CREATE VIEW v AS SELECT * FROM t")
    ids, mark, extract = run(postgres, None, **fields, source_table_name="v")
    assert ids == [1, 2]
    assert mark is not None
    assert mark["settled"] == mark["value"] == "2"
    assert extract.window.late == "0"


def test_an_open_transaction_of_a_day_keeps_it_unsettled(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, at date)")
    slow = postgres.connect()
    try:
        slow.run("BEGIN; INSERT INTO t VALUES (1, current_date)")
        postgres.execute("INSERT INTO t VALUES (2, current_date)")
        loaded, mark, _ = run(postgres, None, late_window="1d")
        assert loaded == []
        slow.run("COMMIT")
    finally:
        slow.close()
    assert mark is not None
    # Two days and more: the day has to be over a late window ago.
    ((apart,),) = postgres.query(f"SELECT date '{mark['value']}' - date '{mark['settled']}'")
    assert apart == 2
    for _ in range(2):
        ids, mark, _ = run(postgres, mark, late_window="1d")
        loaded += ids
    assert loaded == [1, 2]


def test_a_query_after_a_table_says_what_it_cannot_look_for(table: Database) -> None:
    table.execute("INSERT INTO t VALUES (1, now())")
    _, mark, _ = run(table, None)
    _, mark, extract = run(table, mark, source_table_name=None, query="SELECT * FROM t")
    assert any("may have left rows for later" in note for note in extract.notes)
    _, _, extract = run(table, mark, source_table_name=None, query="SELECT * FROM t")
    assert not any("may have left rows for later" in note for note in extract.notes)


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
