"""What `init` proposes for tables and files of every kind, and that it is a valid document."""

from __future__ import annotations

import pytest

from etl_runner.config.load import parse_source
from etl_runner.convert.fields import BqField
from etl_runner.proposal import database_document, file_document, format_of, propose
from etl_runner.sources.base import Description, SourceColumn


def _table(*columns: tuple[str, str, str], key: tuple[str, ...] = ()) -> Description:
    made = tuple(SourceColumn(name, kind, BqField(name, natural)) for name, kind, natural in columns)
    return Description(made, primary_key=key)


ID = ("id", "bigint", "INT64")
CREATED = ("created_at", "timestamp with time zone", "TIMESTAMP")
UPDATED = ("Updated At", "timestamp with time zone", "TIMESTAMP")


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (_table(ID, CREATED, UPDATED, key=("id",)), ("upsert", "Updated At", None)),
        (_table(ID, CREATED, key=("id",)), ("transactional", "created_at", None)),
        (_table(ID, UPDATED), ("transactional", "Updated At", None)),
        (_table(ID, ("name", "text", "STRING"), key=("id",)), ("transactional", None, "id")),
        (_table(("code", "text", "STRING"), key=("code",)), ("catalog", None, None)),
        (_table(ID, ("n", "integer", "INT64"), key=("id", "n")), ("catalog", None, None)),
    ],
)
def test_the_strategy_follows_key_and_cursor(
    description: Description, expected: tuple[str, str | None, str | None]
) -> None:
    made = propose(description)
    assert (made.load_type, made.timestamp_column, made.incrementing_column) == expected
    text = database_document("postgresql", "true", "public", "Order Lines", description)
    document = parse_source(text, name="x.yaml", source_id="x").document
    assert document.load_type == expected[0]
    assert document.connection == "true"
    assert document.source_table_name == "Order Lines"  # type: ignore[union-attr]
    assert document.dest_table_name == "order_lines"


def test_names_that_change_are_told() -> None:
    text = database_document("postgresql", "c", None, "t", _table(ID, UPDATED, key=("id",)))
    assert '#   "Updated At": becomes updated_at' in text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.csv", "b.csv", "x.json"], ("csv", "*.csv")),
        (["2026/01/a.jsonl.gz", "2026/02/b.jsonl.gz"], ("jsonl", "**/*.jsonl.gz")),
        (["part-0.parquet"], ("parquet", "*.parquet")),
        (["README"], ("csv", "*")),
    ],
)
def test_files_are_known_by_their_endings(names: list[str], expected: tuple[str, str]) -> None:
    assert format_of(names) == expected
    kind, pattern = expected
    text = file_document("gcs", "landing", f"in/{pattern}", kind, "sales", names)
    document = parse_source(text, name="x.yaml", source_id="x").document
    assert document.file_pattern == f"in/{pattern}"  # type: ignore[union-attr]
