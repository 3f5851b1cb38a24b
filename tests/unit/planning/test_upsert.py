"""What an upsert needs: a key, a cursor that orders versions, and where it may be pruned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl_runner.config.database import PostgresSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError
from etl_runner.planning.plan import Destination
from etl_runner.planning.upsert import Merge, merge_of

NATURAL = {
    "id": BqField("id", "INT64"),
    "at": BqField("at", "TIMESTAMP"),
    "day": BqField("day", "DATE"),
    "score": BqField("score", "FLOAT64"),
}
TABLE = Destination("p", "d", "t", "EU", exists=True, schema=(), partition_field="day", partition_type="DAY")


def _merge(
    destination: Destination = TABLE, loaded: dict[str, BqField] | None = None, **fields: Any
) -> Merge:
    document = PostgresSource.model_validate(
        {
            "source_type": "postgresql",
            "connection": "shop",
            "load_type": "upsert",
            "source_table_name": "orders",
            "timestamp_column": "at",
            "primary_key_column": ["id"],
            "dest_table_name": "orders",
            **fields,
        }
    )
    return merge_of(document, destination, NATURAL if loaded is None else loaded, NATURAL)


def test_partitions_are_pruned_only_where_a_row_cannot_change_its_own() -> None:
    plain = _merge()
    assert plain.prune is None
    assert "set immutable_partition: true" in plain.notes[0]
    assert _merge(primary_key_column=["id", "day"]).prune == "day"
    assert _merge(immutable_partition=True).prune == "day"
    hourly = replace(TABLE, partition_field="_PARTITIONTIME")
    assert _merge(hourly, immutable_partition=True).prune is None
    assert _merge(replace(TABLE, partition_field=None), immutable_partition=True).prune is None


@pytest.mark.parametrize(
    ("loaded", "fields", "message"),
    [
        ({**NATURAL, "at": BqField("at", "STRING")}, {}, "of type STRING, which does not order its versions"),
        ({"id": NATURAL["id"]}, {}, "column 'at' is not loaded, so an older version"),
        ({"at": NATURAL["at"]}, {}, "column 'id' is not loaded"),
        (NATURAL, {"primary_key_column": ["score"]}, "a column of type FLOAT64 cannot be a key"),
        ({**NATURAL, "id": BqField("id", "INT64", "REPEATED")}, {}, "REPEATED INT64 cannot be a key"),
    ],
)
def test_what_cannot_be_merged_exactly_is_refused(
    loaded: dict[str, BqField], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _merge(loaded=loaded, **fields)


def test_text_that_is_text_at_the_source_orders_versions() -> None:
    at = {**NATURAL, "at": BqField("at", "STRING")}
    document = PostgresSource.model_validate(
        {
            "source_type": "postgresql",
            "connection": "shop",
            "load_type": "upsert",
            "source_table_name": "orders",
            "incrementing_column": "at",
            "primary_key_column": ["id"],
            "dest_table_name": "orders",
        }
    )
    assert merge_of(document, TABLE, at, at).order == "at"
