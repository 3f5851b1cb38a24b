"""Units tile what is read: by the server itself, each row is in exactly one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_runner.sources.postgres.connect import Control
from tests.conftest import Database
from tests.integration.postgres.support import plan_of, read_all, source_of

pytestmark = pytest.mark.stack

# What fills column k for row g: ties, skew and the type's odd values among them.
KEYS = {
    "bigint": "CASE WHEN g % 50 = 0 THEN -9223372036854775808 WHEN g % 51 = 0 THEN 9223372036854775807"
    " WHEN g % 3 = 0 THEN 7 ELSE -g * 1000003 END",
    "smallint": "(g % 300 - 150)::smallint",
    "numeric": "CASE WHEN g % 40 = 0 THEN 'NaN' WHEN g % 41 = 0 THEN '-Infinity' ELSE g / 7.0 END::numeric",
    "numeric(10,3)": "(g * 1.001)::numeric(10,3)",
    "double precision": "CASE WHEN g % 40 = 0 THEN 'NaN' WHEN g % 41 = 0 THEN 'Infinity'"
    " ELSE -sqrt(g) END::float8",
    "uuid": "md5(g::text)::uuid",
    "text": "CASE g % 5 WHEN 0 THEN '' WHEN 1 THEN 'O''Brien \\ ' || g WHEN 2 THEN 'ß' || g"
    " WHEN 3 THEN '🎈' || g ELSE upper(md5(g::text)) END",
    'text COLLATE "C"': "CASE g % 3 WHEN 0 THEN 'a' || g WHEN 1 THEN 'B' || g ELSE '\"' || g END",
    "varchar(4)": "left(md5(g::text), 4)",
    "char(4)": "left(md5(g::text), 3)",
    "date": "CASE WHEN g % 40 = 0 THEN 'infinity' WHEN g % 41 = 0 THEN '0044-03-15 BC'"
    " ELSE DATE '2020-01-01' + g % 99 END::date",
    "timestamptz": "CASE WHEN g % 40 = 0 THEN 'infinity' WHEN g % 41 = 0 THEN '-infinity'"
    " ELSE '2020-01-01 00:00:00.000001+00'::timestamptz + g * interval '1.000001 s' END::timestamptz",
    "timestamp": "TIMESTAMP '2020-01-01 00:00:00.000001' + (g % 7) * interval '1 microsecond'",
}


def check_tiling(
    database: Database, source_fields: dict[str, Any], unit_rows: int, expected: Sequence[int]
) -> int:
    """Read the plan's units; every id of ``expected`` comes exactly once. Gives the number of units."""
    plan, extract = plan_of(source_of(database, **source_fields), unit_rows=unit_rows, max_units=40)
    ids = [
        row
        for unit in plan.units
        for row in database.query(
            f"SELECT id FROM {extract.read['from']} WHERE {unit.spec['where'] or 'true'}"
            + (f" AND ({extract.read['where']})" if extract.read["where"] else "")
        )
    ]
    assert sorted(row[0] for row in ids) == sorted(expected)
    assert [unit.rows or 0 for unit in plan.units] == sorted(
        (unit.rows or 0 for unit in plan.units), reverse=True
    )
    assert [unit.id for unit in plan.units] == [f"u{index:05d}" for index in range(len(plan.units))]
    return len(plan.units)


@pytest.mark.parametrize("analyzed", [True, False], ids=["statistics", "sample"])
@pytest.mark.parametrize("declared", KEYS)
def test_ranges_of_every_kind_of_key(postgres: Database, declared: str, analyzed: bool) -> None:
    postgres.execute(f"CREATE TABLE t (id int, k {declared}) WITH (autovacuum_enabled = off)")
    postgres.execute(f"INSERT INTO t SELECT g, {KEYS[declared]} FROM generate_series(1, 1500) g")
    postgres.execute("INSERT INTO t SELECT g, NULL FROM generate_series(1501, 1600) g; CREATE INDEX ON t (k)")
    if analyzed:
        postgres.execute("ANALYZE t")
        # Statistics age: rows on both sides of what they know.
        postgres.execute(
            f"INSERT INTO t SELECT g + 3000, {KEYS[declared]} FROM generate_series(1600, 1700) g"
        )
    ids = [row[0] for row in postgres.query("SELECT id FROM t")]
    units = check_tiling(postgres, {"source_table_name": "t"}, 100, ids)
    assert units >= 4


@given(
    values=st.lists(st.one_of(st.none(), st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)), max_size=60),
    unit_rows=st.integers(1, 20),
    analyzed=st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranges_of_any_integers(
    postgres: Database, values: list[int | None], unit_rows: int, analyzed: bool
) -> None:
    postgres.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, k bigint); CREATE INDEX ON t (k)")
    for number, value in enumerate(values):
        postgres.execute(f"INSERT INTO t VALUES ({number}, {'NULL' if value is None else value})")
    if analyzed:
        postgres.execute("ANALYZE t")
    check_tiling(postgres, {"source_table_name": "t"}, unit_rows, range(len(values)))


def largest(database: Database, unit_rows: int, low: str | None = None, **fields: Any) -> tuple[int, str]:
    """Check the tiling of a table ``t`` behind ``low``; the rows of its largest unit, and how it was cut."""
    source = source_of(database, source_table_name="t", **fields)
    plan, extract = plan_of(source, unit_rows=unit_rows, watermark=None if low is None else {"value": low})
    read = read_all(source, plan)
    condition = "true" if low is None else f"at > '{low}'"
    assert sorted(read.columns["id"]) == [
        row[0] for row in database.query(f"SELECT id FROM t WHERE {condition} ORDER BY id")
    ]
    return max(read.rows_of_unit.values()), extract.notes[-1]


def test_most_rows_in_a_hundredth_of_the_key_space(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    postgres.execute("INSERT INTO t SELECT 5000000 + g FROM generate_series(1, 18000) g")
    postgres.execute("INSERT INTO t SELECT g * 1000 FROM generate_series(1, 1999) g; ANALYZE t")
    rows, how = largest(postgres, 500)
    assert rows <= 1_000
    assert how == "units: ranges of id from statistics"


def test_a_cursor_that_many_rows_share_is_no_reason_for_a_huge_unit(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int, at timestamptz)")
    at = "timestamptz '2024-01-01' + least(g, 14000) * interval '1 minute'"
    postgres.execute(f"INSERT INTO t SELECT g, {at} FROM generate_series(1, 20000) g; CREATE INDEX ON t (at)")
    postgres.execute("ANALYZE t")
    window = {"load_type": "transactional", "timestamp_column": "at"}
    # Without a key nothing divides equal values.
    assert largest(postgres, 500, **window)[0] > 6_000
    postgres.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
    # All rows: the key is the better column to cut by.
    rows, how = largest(postgres, 500, **window)
    assert rows <= 1_000
    assert how == "units: ranges of id from statistics"
    # Some rows: nobody knows which keys they have, so the equal ones are spread.
    rows, how = largest(postgres, 500, low="2024-01-03 00:00:00+00", **window)
    assert rows <= 1_000
    assert how == "units: ranges of at from statistics; 1 hot range split by a hash of the key"


def test_a_composite_key_is_cut_by_a_column_that_can_be(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (tenant int, id int, PRIMARY KEY (tenant, id)); CREATE INDEX ON t (id)")
    postgres.execute("INSERT INTO t SELECT 1, g FROM generate_series(1, 1000) g; ANALYZE t")
    assert check_tiling(postgres, {"source_table_name": "t"}, 100, range(1, 1001)) == 10


def test_without_an_index_there_are_few_hash_buckets(postgres: Database) -> None:
    postgres.execute('CREATE TABLE t (id int, t text, "odd name" jsonb)')
    postgres.execute("INSERT INTO t SELECT g, NULL, '{}' FROM generate_series(1, 1000) g; ANALYZE t")
    plan, extract = plan_of(source_of(postgres, source_table_name="t"), unit_rows=50)
    assert {unit.kind for unit in plan.units} == {"hash"}
    assert len(plan.units) == 8
    assert sorted(read_all(source_of(postgres, source_table_name="t"), plan).columns["id"]) == list(
        range(1, 1001)
    )
    assert any("hash buckets" in note for note in extract.notes)


def test_partitions_are_read_through_their_parent(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    postgres.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (700)")
    postgres.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (700) TO (5000)")
    postgres.execute("INSERT INTO t SELECT g FROM generate_series(1, 1000) g; ANALYZE t1; ANALYZE t2")
    assert check_tiling(postgres, {"source_table_name": "t"}, 100, range(1, 1001)) >= 5


@pytest.mark.parametrize("rows", [0, 1])
def test_small_tables_are_one_unit(postgres: Database, rows: int) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    postgres.execute(f"INSERT INTO t SELECT g FROM generate_series(1, {rows}) g; ANALYZE t")
    plan, _ = plan_of(source_of(postgres, source_table_name="t"))
    assert [unit.kind for unit in plan.units] == ["whole"]
    assert read_all(source_of(postgres, source_table_name="t"), plan).rows == rows


def test_planning_scans_nothing(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at)")
    postgres.execute(
        "INSERT INTO t SELECT g, now() - g * interval '1 s' FROM generate_series(1, 50000) g; ANALYZE t"
    )
    scans = "SELECT seq_scan, seq_tup_read FROM pg_stat_user_tables WHERE relname = 't'"
    postgres.execute("SELECT pg_stat_force_next_flush()")
    before = postgres.query(scans)
    plan, _ = plan_of(
        source_of(postgres, source_table_name="t", load_type="transactional", timestamp_column="at"),
        unit_rows=1000,
    )
    assert postgres.query(scans) == before
    assert len(plan.units) > 30


@pytest.mark.parametrize("load_type", ["catalog", "transactional"])
def test_planning_asks_the_same_number_of_questions_whatever_the_size(
    postgres: Database, load_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(name: str) -> None:
        original = getattr(Control, name)

        def ask(self: Control, sql: str, *arguments: Any, **parameters: Any) -> Any:
            asked.append(sql)
            return original(self, sql, *arguments, **parameters)

        monkeypatch.setattr(Control, name, ask)

    for name in ("rows", "described"):
        counted(name)
    cursor: dict[str, Any] = {} if load_type == "catalog" else {"timestamp_column": "at", "late_window": "0"}
    numbers, units = [], []
    for table, rows in (("small", 12_000), ("large", 120_000)):
        postgres.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY, at timestamptz NOT NULL);"
            f"CREATE INDEX ON {table} (at);"
            f"INSERT INTO {table} SELECT g, now() - g * interval '1 s' FROM generate_series(1, {rows}) g;"
            f"ANALYZE {table}"
        )
        asked.clear()
        source = source_of(postgres, source_table_name=table, load_type=load_type, **cursor)
        plan, _ = plan_of(source, unit_rows=1_000)
        numbers.append(len(asked))
        units.append(len(plan.units))
    assert numbers[0] == numbers[1] > 0, asked
    assert units[1] > 5 * units[0] > 20


def test_all_units_of_a_session_see_one_snapshot(postgres: Database) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100); ANALYZE t"
    )
    source = source_of(postgres, source_table_name="t")
    plan, extract = plan_of(source, unit_rows=10)
    assert extract.snapshot_possible
    with source.session(plan.header, snapshot=True) as session:
        with session.reader() as first:
            seen = [v for r in first.read(plan.units[0]) for v in r.batch.column("id").to_pylist()]
        postgres.execute("UPDATE t SET id = id + 1000")
        with session.reader() as second:
            for unit in plan.units[1:]:
                seen += [v for r in second.read(unit) for v in r.batch.column("id").to_pylist()]
    assert sorted(seen) == list(range(1, 101))
