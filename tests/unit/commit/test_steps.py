"""The BigQuery jobs of a commit: which, with what, and within which limits."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.commit.jobs import (
    JobStatus,
    check_adopted,
    job_id,
    label_value,
    tombstone_configuration,
    tombstone_reason,
)
from etl_runner.commit.prepare import check_manifests
from etl_runner.commit.staging import publish_expression, quote, staging_field, string_literal
from etl_runner.commit.steps import MAX_LOAD_BYTES, MAX_LOAD_URIS, commit_steps
from etl_runner.convert.fields import BqField
from etl_runner.errors import CorruptStateError, PermanentError
from etl_runner.execution.manifest import Manifest, Shard
from etl_runner.planning.plan import Destination, PlanHeader, PlannedColumn, Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID, BODY, AT = BqField("id", "INT64"), BqField("body", "JSON"), BqField("at", "DATETIME")


def header_of(*fields: BqField, **changes: Any) -> PlanHeader:
    destination = Destination("p", "d", "t", "EU", exists=True, schema=fields)
    header = PlanHeader(
        source_id="orders",
        run_id="r-1",
        epoch=3,
        created="2026-01-01T00:00:00+00:00",
        config={},
        config_hash="",
        source_type="postgresql",
        engine="cloud_run",
        engine_reason="",
        disposition="append",
        window=Window("all"),
        columns=tuple(PlannedColumn(field.name, "x", field) for field in fields),
        destination=destination,
        units=1,
        tasks=1,
        slots=1,
        estimated_rows=1,
        estimated_bytes=1,
        estimate_how="",
    )
    return replace(header, **changes)


def _manifest(shards: int, size: int = 1, rejects: int = 0) -> Manifest:
    files = tuple(Shard(f"s{number}", 1, size) for number in range(shards))
    return Manifest("u00000", "a", shards, shards + rejects, rejects, shards * size, files)


def test_an_append_is_one_load_with_everything_said() -> None:
    ((step,), drop) = commit_steps(header_of(ID), ["gs://b/1", "gs://b/2"], 7, NOW)
    assert (step.kind, step.rows, drop) == ("load", 7, ())
    load = step.configuration["load"]
    assert load["sourceUris"] == ["gs://b/1", "gs://b/2"]
    assert load["writeDisposition"] == "WRITE_APPEND"
    assert load["createDisposition"] == "CREATE_NEVER"
    assert load["parquetOptions"] == {"enableListInference": True}
    assert load["decimalTargetTypes"] == ["NUMERIC", "BIGNUMERIC"]
    assert load["schema"] == {"fields": [ID.to_api()]}
    assert "schemaUpdateOptions" not in load
    assert "timePartitioning" not in load


def test_a_catalog_keeps_the_layout_of_its_table_and_grows_in_the_same_job() -> None:
    header = header_of(ID, disposition="replace")
    header = replace(header, destination=replace(header.destination, added=("id",)))
    ((step,), _) = commit_steps(header, ["gs://b/1"], 1, NOW)
    assert step.configuration["load"]["writeDisposition"] == "WRITE_TRUNCATE_DATA"
    assert step.configuration["load"]["schemaUpdateOptions"] == ["ALLOW_FIELD_ADDITION"]


def test_a_missing_table_is_created_by_the_load_with_its_layout() -> None:
    header = header_of(ID)
    missing = replace(
        header.destination, exists=False, partition_field="at", partition_type="MONTH", clustering=("id",)
    )
    ((step,), _) = commit_steps(replace(header, destination=missing), ["gs://b/1"], 1, NOW)
    load = step.configuration["load"]
    assert load["createDisposition"] == "CREATE_IF_NEEDED"
    assert load["timePartitioning"] == {"type": "MONTH", "field": "at"}
    assert load["clustering"] == {"fields": ["id"]}


def test_what_parquet_cannot_fill_goes_through_a_table_that_expires() -> None:
    (stage, publish), drop = commit_steps(header_of(ID, BODY, AT), ["gs://b/1"], 5, NOW)
    (create,) = stage.prepare
    assert drop == ("p.d.etl_staging_orders_3_r_1",)
    assert create.table["tableReference"]["tableId"] == "etl_staging_orders_3_r_1"
    assert int(create.table["expirationTime"]) > NOW.timestamp() * 1000
    assert [field["type"] for field in create.table["schema"]["fields"]] == ["INT64", "STRING", "TIMESTAMP"]
    assert stage.configuration["load"]["writeDisposition"] == "WRITE_TRUNCATE"
    query = publish.configuration["query"]["query"]
    assert query.startswith("INSERT INTO `p.d.t` (`id`, `body`, `at`) SELECT `id`, PARSE_JSON(`body`)")
    assert "DATETIME(`at`, 'UTC') AS `at`" in query
    assert (stage.rows, publish.rows) == (5, 5)


def test_a_merge_is_staged_and_compares_keys_with_null() -> None:
    header = header_of(ID, BqField("v", "STRING"), disposition="merge", merge_keys=("id",), merge_order="v")
    (_, publish), _ = commit_steps(header, ["gs://b/1"], 5, NOW)
    query = publish.configuration["query"]["query"]
    assert "ON (T.`id` = S.`id` OR (T.`id` IS NULL AND S.`id` IS NULL))" in query
    assert "PARTITION BY `id` ORDER BY `v` DESC, TO_JSON_STRING(staged) DESC" in query
    assert "UPDATE SET `v` = S.`v` WHEN NOT MATCHED" in query
    assert publish.rows is None


@pytest.mark.parametrize(
    ("manifests", "words"),
    [
        ([_manifest(MAX_LOAD_URIS), _manifest(1)], "10001 shards are more than the 10000"),
        ([_manifest(2, MAX_LOAD_BYTES // 2 + 1)], "exceed the 15 TB"),
        ([_manifest(1, rejects=2), _manifest(1, rejects=2)], "4 rows were rejected, max_rejects allows 3"),
    ],
)
def test_an_extraction_beyond_a_limit_is_refused_before_any_job(
    manifests: list[Manifest], words: str
) -> None:
    with pytest.raises(PermanentError, match=words):
        check_manifests(header_of(ID, max_rejects=3), manifests)


def test_an_extraction_at_the_limits_passes() -> None:
    check_manifests(header_of(ID, max_rejects=3), [_manifest(MAX_LOAD_URIS, rejects=3)])


def test_json_within_a_record_is_refused() -> None:
    with pytest.raises(PermanentError, match="column r: JSON"):
        staging_field(BqField("r", "STRUCT", fields=(BODY,)))


def test_repeated_values_keep_their_order_when_published() -> None:
    field = BqField("tags", "JSON", "REPEATED")
    assert publish_expression(field, "round") == (
        "ARRAY(SELECT PARSE_JSON(item, wide_number_mode => 'round') FROM UNNEST(`tags`) AS item "
        "WITH OFFSET AS position ORDER BY position) AS `tags`"
    )


@given(st.text(min_size=1))
def test_no_name_leaves_its_quotes(name: str) -> None:
    quoted = quote(name)
    # What BigQuery reads between them is the name again.
    assert re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL) == name
    assert not re.search(r"(?<!\\)(?:\\\\)*`", quoted[1:-1])


@given(st.text())
def test_labels_are_what_bigquery_takes(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_job_ids_say_whose_they_are() -> None:
    assert job_id("orders", 3, "r-1", 2) == "etl_orders_3_r-1_2"


@given(st.text())
def test_a_tombstone_tells_why_and_stays_one_comment(why: str) -> None:
    query = tombstone_configuration({}, why)["query"]["query"]
    assert query.startswith("SELECT 1 /*")
    assert query.count("*/") == 1
    assert tombstone_reason(query)


def _status(**changes: Any) -> JobStatus:
    base = JobStatus("j", "load", "DONE", {"etl_run": "r"}, "p.d.t")
    return replace(base, **changes)


LOAD = {"load": {"destinationTable": {"projectId": "p", "datasetId": "d", "tableId": "t"}}}


def test_our_own_job_is_adopted_and_so_is_a_tombstone() -> None:
    check_adopted(_status(), "load", {"etl_run": "r"}, LOAD)
    tombstone = _status(kind="query", destination=None, labels={"etl_run": "r", "etl_tombstone": "1"})
    check_adopted(tombstone, "load", {"etl_run": "r"}, LOAD)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"etl_run": "other"}}, "other labels"),
        ({"kind": "query"}, "is a query job"),
        ({"destination": "p.d.other"}, "writes to p.d.other"),
    ],
)
def test_a_foreign_job_is_not_adopted(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CorruptStateError, match=words):
        check_adopted(_status(**changes), "load", {"etl_run": "r"}, LOAD)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_text_literal_is_one_literal_on_one_line_that_means_the_text(text: str) -> None:
    literal = string_literal(text)
    inside = literal[1:-1]
    assert literal[0] == literal[-1] == "'"
    assert not {"\n", "\r"} & set(inside)
    assert re.fullmatch(r"(?:[^'\\]|\\['\\nr])*", inside)
    meant = {"n": "\n", "r": "\r"}
    assert re.sub(r"\\(.)", lambda found: meant.get(found[1], found[1]), inside) == text
