"""Columns meet the destination: new tables, existing ones, drift, names, layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl_runner.config.database import PostgresSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.planning.destination import Matched, find_destination, match_columns
from etl_runner.planning.plan import Destination
from etl_runner.sources.base import Description, SourceColumn

COLUMNS = (
    SourceColumn("Id", "bigint", BqField("Id", "INT64"), nullable=False),
    SourceColumn("Discount(%)", "numeric(5,2)", BqField("Discount(%)", "NUMERIC", precision=5, scale=2)),
    SourceColumn("at", "timestamptz", BqField("at", "TIMESTAMP")),
    SourceColumn("tags", "text[]", BqField("tags", "STRING", "REPEATED")),
)
MISSING = Destination("p", "d", "orders", "EU", exists=False, schema=())


def _document(**fields: Any) -> PostgresSource:
    return PostgresSource.model_validate(
        {
            "source_type": "postgresql",
            "connection": "shop",
            "load_type": "transactional",
            "source_table_name": "orders",
            "timestamp_column": "at",
            "dest_table_name": "orders",
            **fields,
        }
    )


def _match(destination: Destination = MISSING, **fields: Any) -> Matched:
    def expression(column: SourceColumn, field: BqField) -> str:
        return f"{column.name} -> {field.type}"

    return match_columns(_document(**fields), Description(COLUMNS), destination, expression)


def _existing(*fields: BqField) -> Destination:
    return replace(MISSING, exists=True, schema=fields)


def test_a_missing_table_gets_the_natural_schema_and_the_metadata_columns() -> None:
    matched = _match()
    names = [field.name for field in matched.destination.schema]
    assert names == ["id", "discount", "at", "tags", "_etl_run_id", "_etl_loaded_at"]
    assert {field.mode for field in matched.destination.schema} == {"NULLABLE", "REPEATED"}
    assert matched.metadata == ("_etl_run_id", "_etl_loaded_at")
    assert (matched.destination.partition_field, matched.destination.partition_type) == ("at", "DAY")
    assert matched.destination.added == ()
    assert matched.columns[1].expression == "Discount(%) -> NUMERIC"


@pytest.mark.parametrize(
    ("fields", "partition"),
    [
        ({"partition_type": "MONTH"}, ("at", "MONTH")),
        ({"partition_type": "none"}, (None, None)),
        ({"load_type": "catalog"}, (None, None)),
        ({"timestamp_column": None, "incrementing_column": "Id"}, (None, None)),
    ],
)
def test_partitions_of_a_new_table(fields: dict[str, Any], partition: tuple[Any, Any]) -> None:
    destination = _match(**fields).destination
    assert (destination.partition_field, destination.partition_type) == partition


def test_an_existing_table_is_the_authority_for_names_modes_and_types() -> None:
    matched = _match(_existing(BqField("ID", "NUMERIC"), BqField("legacy", "STRING")), metadata_columns=False)
    assert matched.columns[0].destination == BqField("ID", "NUMERIC")
    assert matched.columns[0].expression == "Id -> NUMERIC"
    assert matched.destination.added == ("discount", "at", "tags")
    assert [field.name for field in matched.destination.schema][:2] == ["ID", "legacy"]
    assert matched.destination.partition_field is None


def test_drift_that_is_to_be_ignored_leaves_columns_out_and_says_so() -> None:
    matched = _match(_existing(BqField("id", "INT64")), schema_drift="ignore")
    assert [column.source for column in matched.columns] == ["Id"]
    assert matched.metadata == ()
    assert sum("left out" in note for note in matched.notes) == 5


def test_drift_that_is_to_fail_names_the_columns() -> None:
    with pytest.raises(PermanentError, match=r"lacks columns of the source: Discount\(%\), at, tags"):
        _match(_existing(BqField("id", "INT64")), schema_drift="fail")


BOX = BqField(
    "Box",
    "STRUCT",
    fields=(BqField("a", "INT64"), BqField("B", "STRUCT", "REPEATED", (BqField("c", "DATE"),))),
)


@pytest.mark.parametrize("drift", ["evolve", "ignore", "fail"])
@pytest.mark.parametrize(
    ("existing", "lacking", "whole"),
    [
        ((BqField("x", "INT64"),), "box.a, box.B", (BqField("x", "INT64"), *BOX.fields)),
        (
            (BqField("A", "INT64"), BqField("b", "STRUCT", "REPEATED", (BqField("x", "DATE"),))),
            "box.B.c",
            (
                BqField("A", "INT64"),
                BqField("b", "STRUCT", "REPEATED", (BqField("x", "DATE"), BqField("c", "DATE"))),
            ),
        ),
        ((BqField("a", "INT64"), BqField("b", "STRUCT", "REPEATED", (BqField("c", "DATE"),))), None, ()),
    ],
)
def test_nested_fields_that_the_destination_lacks_are_added_or_named(
    existing: tuple[BqField, ...], lacking: str | None, whole: tuple[BqField, ...], drift: str
) -> None:
    destination = _existing(BqField("box", "STRUCT", fields=existing))
    description = Description((SourceColumn("Box", "record", BOX),))
    document = _document(schema_drift=drift, metadata_columns=False)
    if lacking is None:
        assert match_columns(document, description, destination, lambda *_: None).destination.added == ()
        return
    if drift == "evolve":
        matched = match_columns(document, description, destination, lambda *_: None)
        assert ", ".join(matched.destination.added) == lacking
        assert matched.destination.schema == (BqField("box", "STRUCT", fields=whole),)
        assert matched.columns[0].destination == matched.destination.schema[0]
        return
    with pytest.raises(PermanentError, match=f"lacks nested fields of the source: {lacking}; schema_drift: "):
        match_columns(document, description, destination, lambda *_: None)


def test_a_required_column_that_nothing_fills_is_refused() -> None:
    with pytest.raises(PermanentError, match="requires columns that the source does not fill: customer"):
        _match(_existing(BqField("id", "INT64"), BqField("customer", "STRING", "REQUIRED")))


def test_columns_are_renamed_and_selected() -> None:
    matched = _match(selected_columns=["at", "Id"], column_mapping={"Id": "order_id"})
    assert [(c.source, c.destination.name) for c in matched.columns] == [("at", "at"), ("Id", "order_id")]


def test_unknown_columns_are_all_named_with_what_was_probably_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        _match(selected_columns=["Idd", "at"], column_mapping={"tagz": "x"})
    problems = {problem.path: problem.suggestion for problem in caught.value.problems}
    assert problems == {"selected_columns[0]": "Id", "column_mapping.tagz": "tags"}


def test_an_upsert_clusters_by_its_key_and_orders_by_its_cursor() -> None:
    matched = _match(load_type="upsert", primary_key_column="Id", column_mapping={"at": "changed"})
    assert matched.merge is not None
    assert matched.merge.keys == ("id",)
    assert matched.merge.order == "changed"
    assert matched.destination.clustering == ("id",)
    assert matched.destination.partition_field is None


def test_a_key_that_cannot_be_compared_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"primary_key_column\[0\]: a column of type REPEATED STRING cannot be a key"
    ):
        _match(load_type="upsert", primary_key_column="tags")


def test_clustering_by_an_unknown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="the destination has no column 'shop'"):
        _match(clustering=["shop"])


class _Tables:
    def __init__(self, location: str | None, table: dict[str, Any] | None) -> None:
        self.location, self.table = location, table

    def get_table(self, path: str) -> dict[str, Any] | None:
        assert path == "p.d.orders"
        return self.table

    def dataset_location(self, path: str) -> str | None:
        assert path == "p.d"
        return self.location


def _find(location: str | None, table: dict[str, Any] | None = None) -> Destination:
    return find_destination(_document(), "p", "d", "EU", _Tables(location, table))


def test_a_dataset_that_is_missing_or_elsewhere_is_refused_when_planned() -> None:
    with pytest.raises(ConfigError, match=r"dataset p\.d does not exist; create it in EU"):
        _find(None)
    with pytest.raises(ConfigError, match="is in US, but the deployment's jobs run in EU"):
        _find("US")


def test_a_view_is_no_destination() -> None:
    with pytest.raises(ConfigError, match="is a VIEW, not a table"):
        _find("eu", {"type": "VIEW"})


def test_an_existing_table_is_described_as_it_is() -> None:
    found = _find(
        "EU",
        {
            "schema": {"fields": [{"name": "a", "type": "INTEGER", "mode": "REQUIRED"}]},
            "timePartitioning": {"type": "HOUR", "field": "a"},
            "clustering": {"fields": ["a"]},
        },
    )
    assert found == Destination(
        "p", "d", "orders", "EU", True, (BqField("a", "INT64", "REQUIRED"),), (), "a", "HOUR", ("a",)
    )
