"""The pure rules of the BigQuery source: types, windows, units, names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.connections import BigQueryConnection
from etl_runner.config.database import BigQuerySource as Document
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.gcp.clients import source_bigquery_client
from etl_runner.planning.engine import choose_direct
from etl_runner.settings import Settings
from etl_runner.sources.bigquery import types
from etl_runner.sources.bigquery.access import DryRun
from etl_runner.sources.bigquery.quoting import identifier, literal
from etl_runner.sources.bigquery.relation import Column, Relation, table_path
from etl_runner.sources.bigquery.source import BigQuerySource
from etl_runner.sources.bigquery.units import Size, cut
from etl_runner.sources.bigquery.window import BqCursor, condition, end_of_window

SETTINGS = Settings("p", "europe-west1", "EU", "d", "config", "state", "staging")
T0 = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class Scripted:
    """A warehouse that answers with what it is given, in order."""

    billing_project = runner_project = "p"

    def __init__(self, *answers: list[tuple[Any, ...]]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def rows(self, sql: str, location: str | None) -> list[tuple[Any, ...]]:
        assert location == "EU"
        self.asked.append(sql)
        return self.answers.pop(0)

    def get_table(self, path: str) -> dict[str, Any] | None:
        raise NotImplementedError

    def dry_run(self, sql: str, location: str | None) -> DryRun:
        raise NotImplementedError

    def run(self, sql: str, location: str | None) -> str:
        raise NotImplementedError

    def first(self, table: str, fields: Sequence[str], rows: int) -> Iterator[Any]:
        raise NotImplementedError

    def read(
        self, table: str, fields: Sequence[str], restriction: str | None, at: datetime | None
    ) -> Iterator[Any]:
        raise NotImplementedError


def table(*fields: BqField, **more: Any) -> Relation:
    return Relation(
        kind="table",
        label="table p.d.t",
        sql="`p`.`d`.`t`",
        columns=tuple(Column(field) for field in fields),
        location="EU",
        path="p.d.t",
        **more,
    )


def field(kind: str, **more: Any) -> BqField:
    return BqField("c", kind, **more)


@pytest.mark.parametrize(
    ("source", "destination", "exact"),
    [
        (field("INT64"), field("INT64"), "x"),
        (field("INT64"), field("NUMERIC"), "CAST(x AS NUMERIC)"),
        # An assignment would round or cut these without a word.
        (field("NUMERIC"), field("NUMERIC", precision=10, scale=2), None),
        (field("NUMERIC", precision=10, scale=3), field("NUMERIC", precision=10, scale=2), None),
        (field("NUMERIC", precision=12, scale=2), field("NUMERIC", precision=10, scale=2), None),
        (field("NUMERIC", precision=9, scale=2), field("NUMERIC", precision=10, scale=3), "x"),
        (field("INT64"), field("NUMERIC", precision=10, scale=2), None),
        (field("BIGNUMERIC"), field("NUMERIC"), None),
        (field("FLOAT64"), field("NUMERIC"), None),
        (field("STRING"), field("STRING", max_length=5), None),
        (field("STRING", max_length=4), field("STRING", max_length=5), "x"),
        # The converter spells these otherwise than a query does.
        (field("TIMESTAMP"), field("STRING"), None),
        (field("JSON"), field("STRING"), None),
        (field("INT64"), field("INT64", mode="REQUIRED"), None),
        (field("INT64", mode="REQUIRED"), field("INT64", mode="REQUIRED"), "x"),
        (field("INT64", mode="REPEATED"), field("INT64", mode="REPEATED"), "x"),
        (field("INT64", mode="REPEATED"), field("NUMERIC", mode="REPEATED"), None),
        (field("RANGE", range_element_type="DATE"), field("RANGE", range_element_type="DATETIME"), None),
    ],
)
def test_a_query_takes_over_only_what_it_does_exactly(
    source: BqField, destination: BqField, exact: str | None
) -> None:
    assert types.by_query(source, destination, "x") == exact


def test_structs_are_the_same_only_with_the_same_fields_in_the_same_order() -> None:
    one = field("STRUCT", fields=(BqField("a", "INT64"), BqField("b", "STRING")))
    turned = field("STRUCT", fields=(BqField("b", "STRING"), BqField("a", "INT64")))
    required = field("STRUCT", fields=(BqField("a", "INT64", mode="REQUIRED"), BqField("b", "STRING")))
    assert types.by_query(one, one, "x") == "x"
    assert types.by_query(one, turned, "x") is None
    assert types.convertible(one, turned)
    assert types.by_query(one, required, "x") is None
    assert types.by_query(required, one, "x") == "x"


def test_types_without_a_way_are_refused() -> None:
    assert not types.convertible(field("BOOL"), field("DATE"))
    assert not types.convertible(field("INT64"), field("INT64", mode="REPEATED"))
    assert types.convertible(field("INT64", mode="REPEATED"), field("STRING"))


def test_types_are_spelled_as_sql_spells_them() -> None:
    nested = BqField("n", "NUMERIC", precision=10, scale=2)
    assert types.declared(field("STRUCT", mode="REPEATED", fields=(nested,))) == (
        "ARRAY<STRUCT<n NUMERIC(10, 2)>>"
    )
    assert types.declared(field("RANGE", range_element_type="DATE")) == "RANGE<DATE>"


def test_names_and_texts_are_quoted() -> None:
    assert identifier("a`b\\") == "`a\\`b\\\\`"
    assert literal("it's\n\\") == "'it\\'s\\n\\\\'"


def document(**fields: Any) -> Document:
    return Document.model_validate(
        {"source_type": "bigquery", "load_type": "catalog", "dest_table_name": "d", **fields}
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"source_table_name": "t", "schema_name": "d"}, "home-project.d.t"),
        ({"source_table_name": "t"}, "home-project.own.t"),
        ({"source_table_name": "d.t"}, "home-project.d.t"),
        ({"source_table_name": "bigquery-public-data.d.t"}, "bigquery-public-data.d.t"),
        ({"source_table_name": "t", "schema_name": "bigquery-public-data.d"}, "bigquery-public-data.d.t"),
    ],
)
def test_tables_of_other_projects(fields: dict[str, Any], path: str) -> None:
    connection = BigQueryConnection.model_validate(
        {"source_type": "bigquery", "project": "home-project", "dataset": "own", "use_runner_account": True}
    )
    assert table_path(document(**fields), connection, "s") == path
    bare = connection.model_copy(update={"dataset": None})
    if fields == {"source_table_name": "t"}:
        with pytest.raises(ConfigError, match="names no dataset"):
            table_path(document(**fields), bare, "s")


@given(
    late=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)),
    t0=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)),
)
def test_a_window_ends_strictly_behind_its_late_window(late: timedelta, t0: datetime) -> None:
    instant = t0.replace(tzinfo=UTC)
    stamp = end_of_window(BqCursor("`c`", "timestamptz", "TIMESTAMP"), instant, late)
    assert isinstance(stamp, datetime)
    assert stamp < instant - late
    day: Any = end_of_window(BqCursor("`c`", "date", "DATE"), instant, late)
    # The whole of the day is over by then.
    assert datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) < instant - late


def test_conditions_are_half_open() -> None:
    cursor = BqCursor("`c`", "date", "DATE")
    assert condition(cursor, date(2024, 1, 1), date(2024, 1, 3)) == (
        "`c` > DATE '2024-01-01' AND `c` <= DATE '2024-01-03'"
    )
    assert condition(cursor, None, None) == "FALSE"


def test_partitions_cut_a_table_without_reading_it() -> None:
    relation = table(
        BqField("at", "TIMESTAMP"), BqField("id", "INT64"), partition_column="at", partition_type="DAY"
    )
    partitions = [(f"2024010{day}", 1_000) for day in range(1, 8)]
    warehouse = Scripted([("__NULL__", 5), *reversed(partitions)])
    found = cut(warehouse, relation, None, Size(7_005, 70_050), T0, 1_000, 9_000)
    assert len(found.units) >= 6
    assert found.how == "ranges of at from the partitions' row counts"
    assert "INFORMATION_SCHEMA.PARTITIONS" in warehouse.asked[0]
    wheres = [unit.spec["where"] for unit in found.units]
    # Rows without a time go with the first range, and the last one has no end.
    assert sum("IS NULL" in where for where in wheres) == 1
    assert sum("<" not in where for where in wheres) == 1


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    edges=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=9),
)
def test_ranges_hold_each_value_once_whatever_the_quantiles_say(values: list[int], edges: list[int]) -> None:
    relation = table(BqField("id", "INT64"), clustering=("id",))
    answers = [(str(edge),) for edge in sorted(edges)]
    found = cut(Scripted(answers), relation, None, Size(1_000, 10), T0, 100, 9_000)
    if found.units[0].kind != "range":  # there was nothing to cut by
        return
    for value in [*values, None]:
        homes = [unit for unit in found.units if _holds(unit.spec["where"], value)]
        assert len(homes) == 1, (value, [unit.spec for unit in found.units])


def _holds(where: str | None, value: int | None) -> bool:
    """The unit's condition, evaluated as SQL does: a comparison with NULL holds for nobody."""
    if where is None:
        return True
    # Whatever the fingerprint is, it is the same for the same value.
    python = re.sub(r"ABS\(MOD\(FARM_FINGERPRINT\(.*?, ''\)\), (\d+)\)\)", rf"({hash(value)} % \1)", where)
    python = python.replace("`id` IS NULL", str(value is None))
    if value is None:
        python = re.sub(r"`id` (>=|<) -?\d+", "False", python)
    for sql, spelled in (("`id`", str(value)), (" = ", " == "), ("AND", "and"), ("OR", "or")):
        python = python.replace(sql, spelled)
    return bool(eval(python))


def test_a_column_that_prunes_nothing_costs_few_scans() -> None:
    relation = table(BqField("id", "INT64"), primary_key=("id",))
    found = cut(Scripted([(str(n),) for n in range(9)]), relation, None, Size(10**9, 1), T0, 1_000, 9_000)
    assert len(found.units) <= 8


def test_without_a_column_to_cut_by_rows_are_spread_by_hash() -> None:
    relation = table(BqField("name", "STRING"), BqField("list", "STRING", mode="REPEATED"))
    found = cut(Scripted(), relation, None, Size(1_000, 10), T0, 300, 9_000)
    assert [unit.kind for unit in found.units] == ["hash"] * 4
    # Never the absolute value of a fingerprint: that of the least INT64 does not exist.
    assert all("ABS(MOD(FARM_FINGERPRINT(" in unit.spec["where"] for unit in found.units)


def test_the_engine_bigquery_is_refused_with_the_reason() -> None:
    chosen = choose_direct("auto", None, "BigQuery reads it")
    assert chosen is not None
    assert (chosen.engine, chosen.tasks) == ("bigquery", 0)
    assert choose_direct("auto", "it is in US", None) is None


def test_no_identity_is_ever_silent() -> None:
    connection = BigQueryConnection.model_validate({"source_type": "bigquery", "project": "home-project"})

    def never() -> Scripted:
        raise AssertionError("opened with an identity that nobody named")

    source = BigQuerySource(document(source_table_name="d.t"), connection, never)
    with pytest.raises(ConfigError, match="use_runner_account: true"):
        source.describe()


def test_a_key_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(PermanentError) as refused:
        source_bigquery_client(SETTINGS, "home-project", '{"type": "service_account", "private_key": "hush"}')
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None
