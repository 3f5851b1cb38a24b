"""Units tile a table exactly, whatever its keys look like, and are read in one snapshot or window."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_runner.planning.plan import Plan
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.source import MySqlSource
from etl_runner.sources.mysql.wire import CHUNK_BYTES, chunks
from tests.integration.mysql.support import Database, plan_of, read_all, source_of

pytestmark = pytest.mark.stack

_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "bigint unsigned": st.integers(0, 2**64 - 1),
    "decimal(20,4)": st.decimals(-(10**15), 10**15, places=4),
    "datetime(6)": st.datetimes(),
    "date": st.dates(),
    "varchar(30)": st.text("ab\0é'\\`%", max_size=8),
    "double": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), indexed=st.booleans(), type_sql=st.sampled_from(sorted(_KEYS)))
def test_every_row_is_in_exactly_one_unit(
    mariadb: Database, data: st.DataObject, indexed: bool, type_sql: str
) -> None:
    values = data.draw(st.lists(st.none() | _KEYS[type_sql], min_size=2, max_size=60))
    mariadb.clear()
    index = ", KEY (k)" if indexed else ""
    mariadb.execute(f"CREATE TABLE t (k {type_sql} NULL, n int{index})")
    connection = mariadb.connect()
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO t VALUES (%s, %s)", [(value, number) for number, value in enumerate(values)]
        )
    connection.close()
    mariadb.execute("ANALYZE TABLE t")
    source = source_of(mariadb, source_table_name="t")
    plan, _ = plan_of(source, unit_rows=3)
    assert Counter(read_all(source, plan).columns["n"]) == Counter(range(len(values)))


def _planned(database: Database, **fields: Any) -> tuple[MySqlSource, Plan]:
    source = source_of(database, source_table_name="t", **fields)
    return source, plan_of(source, unit_rows=1_000)[0]


def test_a_skewed_key_gives_units_of_about_equal_rows(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (k bigint PRIMARY KEY, v varchar(50))",
        "INSERT INTO t SELECT seq, REPEAT('x', 40) FROM seq_1_to_20000",
        # One far off: by its ends alone, the key would be cut into one full range and many empty ones.
        "INSERT INTO t VALUES (640000, 'far')",
        "ANALYZE TABLE t",
    )
    source, plan = _planned(mariadb)
    read = read_all(source, plan)
    assert read.rows == 20_001
    assert max(read.rows_of_unit.values()) < 4_000
    assert "ranges of k" in plan.header.notes[0]


def test_rows_that_are_close_together_and_equal_ones_make_no_huge_unit(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (n bigint PRIMARY KEY, k bigint NOT NULL, KEY (k))",
        # In a thousandth of the key space; and a quarter of all has one value.
        "INSERT INTO t SELECT seq, IF(seq > 15000, 20000, seq) FROM seq_1_to_20000",
        "INSERT INTO t VALUES (20000000, 20000000)",
        "ANALYZE TABLE t",
    )
    source, plan = _planned(mariadb)
    read = read_all(source, plan)
    assert read.rows == 20_001
    assert max(read.rows_of_unit.values()) < 2_500
    window: dict[str, Any] = {"load_type": "transactional", "incrementing_column": "k"}
    source = source_of(mariadb, source_table_name="t", **window)
    plan, _ = plan_of(source, unit_rows=1_000, watermark={"value": "5000"})
    read = read_all(source, plan)
    assert read.rows == 15_001
    assert max(read.rows_of_unit.values()) < 2_500


def test_zero_dates_go_with_the_first_range(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (d datetime NULL, n int, KEY (d))",
        "INSERT INTO t SELECT '2024-01-01' + INTERVAL seq MINUTE, seq FROM seq_1_to_5000",
        "INSERT INTO t VALUES ('0000-00-00', 0), (NULL, -1), ('2021-02-30', -2)",
        "ANALYZE TABLE t",
    )
    source, plan = _planned(mariadb)
    assert len(plan.units) > 2
    assert Counter(read_all(source, plan).columns["n"]) == Counter(range(-2, 5_001))


def test_without_an_index_there_are_few_hash_units(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE t (a varchar(20), b double, c blob, g point)",
        "INSERT INTO t SELECT IF(seq % 3, seq, NULL), seq / 7e0, IF(seq % 5, seq, NULL), POINT(seq, 1)"
        " FROM seq_1_to_9000",
        "INSERT INTO t VALUES (NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL)",
        "ANALYZE TABLE t",
    )
    source, plan = _planned(mariadb)
    assert [unit.kind for unit in plan.units] == ["hash"] * 8
    read = read_all(source, plan)
    assert read.rows == 9_002
    assert max(read.rows_of_unit.values()) < 2_000


def test_planning_asks_the_same_number_of_questions_whatever_the_size(
    mariadb: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = Control._run

    def counted(self: Control, sql: str, kind: Any = None) -> list[Any]:
        asked.append(sql)
        return run(self, sql, kind)

    monkeypatch.setattr(Control, "_run", counted)
    numbers, units = [], []
    for table, rows in (("small", 12_000), ("large", 120_000)):
        mariadb.execute(
            f"CREATE TABLE {table} (k int PRIMARY KEY)",
            f"INSERT INTO {table} SELECT seq FROM seq_1_to_{rows}",
            f"ANALYZE TABLE {table}",
        )
        asked.clear()
        source = source_of(mariadb, source_table_name=table)
        plan, _ = plan_of(source, unit_rows=1_000)
        numbers.append(len(asked))
        units.append(len(plan.units))
    assert numbers[0] == numbers[1] > 0, asked
    assert units[1] > 4 * units[0] > 16


def test_a_view_and_a_query_are_one_unit(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE base (k int PRIMARY KEY)",
        "INSERT INTO base SELECT seq FROM seq_1_to_5000",
        "CREATE VIEW t AS SELECT k FROM base WHERE k % 2 = 0",
    )
    source, plan = _planned(mariadb)
    assert [unit.kind for unit in plan.units] == ["whole"]
    assert read_all(source, plan).rows == 2_500
    query = source_of(mariadb, query="SELECT k AS `a``%s b` FROM base WHERE k LIKE '1%' -- all ones")
    read = read_all(query, plan_of(query)[0])
    assert read.columns["a`%s b"] == sorted(k for k in range(1, 5001) if str(k).startswith("1"))


def test_a_catalog_read_sees_one_snapshot(mariadb: Database) -> None:
    """Rows that move while the units are read are there once, as they were when the session began."""
    mariadb.execute(
        "CREATE TABLE t (k int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT seq, 0 FROM seq_1_to_9000",
        "ANALYZE TABLE t",
    )
    source, plan = _planned(mariadb)
    assert len(plan.units) > 4
    seen: list[tuple[int, int]] = []
    with (
        source.session(plan.header, snapshot=True) as session,
        session.reader() as first,
        session.reader() as second,
    ):
        for number, unit in enumerate(plan.units):
            mariadb.execute(
                f"UPDATE t SET v = v + 1, k = k + 100000 WHERE k = {number * 50 + 7}",
                "DELETE FROM t WHERE k > 8000 LIMIT 10",
                f"INSERT INTO t VALUES ({-number - 1}, 5)",
            )
            for batch in (rows.batch for rows in (first, second)[number % 2].read(unit)):
                seen += zip(batch.column("k").to_pylist(), batch.column("v").to_pylist(), strict=True)
    assert sorted(seen) == [(k, 0) for k in range(1, 9_001)]


def test_names_that_mysql_would_refuse_or_misread(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE `se``lect %s` (`a``b\\\\` int PRIMARY KEY, `from` int, `é` int)",
        "INSERT INTO `se``lect %s` VALUES (1, 2, 3)",
    )
    source = source_of(mariadb, source_table_name="se`lect %s")
    read = read_all(source, plan_of(source)[0])
    assert read.columns == {"a`b\\\\": [1], "from": [2], "é": [3]}


@pytest.mark.parametrize("mode", ["ANSI", "NO_BACKSLASH_ESCAPES", "ORACLE", "TRADITIONAL", ""])
def test_the_servers_sql_mode_changes_nothing(mariadb: Database, mode: str) -> None:
    mariadb.execute(
        'CREATE TABLE t (k int PRIMARY KEY, `a"b` varchar(20), m timestamp(6) NULL, KEY (m))',
        "INSERT INTO t SELECT seq, 'x', '2024-01-01' + INTERVAL seq SECOND FROM seq_1_to_3000",
        "ANALYZE TABLE t",
    )
    ((before,),) = mariadb.text("SELECT @@GLOBAL.sql_mode")
    mariadb.execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        source = source_of(mariadb, source_table_name="t", load_type="transactional", timestamp_column="m")
        plan, _ = plan_of(source, unit_rows=500)
        assert len(plan.units) > 3
        assert Counter(read_all(source, plan).columns["k"]) == Counter(range(1, 3_001))
    finally:
        mariadb.execute(f"SET GLOBAL sql_mode = '{before}'")


def test_memory_holds_a_chunk_however_many_rows_there_are(mariadb: Database) -> None:
    """Buffers are bounded, and a reader that stops early leaves nothing behind."""
    mariadb.execute("CREATE TABLE t (k int PRIMARY KEY, v varchar(1000))")
    mariadb.execute("INSERT INTO t SELECT seq, REPEAT('y', 1000) FROM seq_1_to_40000")
    connection = mariadb.connect()
    rows, sizes = 0, []
    for chunk in chunks(connection, "SELECT * FROM t"):
        rows += len(chunk.starts)
        sizes.append(len(chunk.data))
    assert rows == 40_000
    assert max(sizes) < CHUNK_BYTES + 1_000
    assert len(sizes) >= math.floor(40_000_000 / CHUNK_BYTES)
    assert len(list(chunks(connection, "SELECT 1 FROM t WHERE k < 0"))) == 0
    connection.close()
