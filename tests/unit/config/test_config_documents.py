"""Each rule of the documents, seen through what a person would write and read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.documents import (
    AzureConnection,
    DatabaseSource,
    FileSource,
    GcsConnection,
    MySqlConnection,
    PostgresConnection,
    PostgresSource,
)
from etl_runner.config.load import ParsedSource, parse_connection, parse_source
from etl_runner.config.secrets import SecretRef
from etl_runner.errors import ConfigError, Problem

DATABASE: dict[str, Any] = {
    "source_type": "postgresql",
    "connection": "warehouse",
    "source_table_name": "orders",
    "load_type": "transactional",
    "timestamp_column": "updated_at",
    "dest_table_name": "orders",
}
FILES: dict[str, Any] = {
    "source_type": "gcs",
    "connection": "lake",
    "load_type": "catalog",
    "dest_table_name": "sales",
    "file_pattern": "*.csv",
}
SERVER: dict[str, Any] = {"source_type": "postgresql", "host": "db", "database": "shop", "username": "etl"}
CONNECTIONS: dict[str, dict[str, Any]] = {
    "postgresql": SERVER,
    "mysql": {**SERVER, "source_type": "mysql"},
    "bigquery": {"source_type": "bigquery", "project": "bigquery-public-data", "use_runner_account": True},
    "gcs": {"source_type": "gcs", "bucket": "my-bucket", "use_runner_account": True},
    "s3": {"source_type": "s3", "bucket": "my-bucket", "anonymous": True},
    "azure": {"source_type": "azure", "bucket": "my-bucket", "account_name": "acc", "anonymous": True},
}


def parse(document: dict[str, Any], **changes: Any) -> ParsedSource:
    """``changes`` replace fields; None leaves a field out."""
    changed = {key: value for key, value in {**document, **changes}.items() if value is not None}
    return parse_source(changed, name="sources/x.yaml", source_id="x")


def problems(document: dict[str, Any], **changes: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(document, **changes)
    return list(caught.value.problems)


def problem(document: dict[str, Any], **changes: Any) -> Problem:
    found = problems(document, **changes)
    assert len(found) == 1, found
    return found[0]


def connection_problems(**fields: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse_connection(fields, name="connections/c.yaml")
    return list(caught.value.problems)


class TestFlatForm:
    AS_WRITTEN = (
        '{"source_type": "gcs", "connection_params": {"source_type": "gcs", "bucket": "my-bucket", '
        '"credentials": {}}, "load_type": "transactional", "dest_table_name": "raw_sales_data", '
        '"file_pattern": "*.csv", "file_format": "csv", "file_format_options": {"delimiter": ",", '
        '"encoding": "utf-8", "has_header": true}, "selected_columns": []}'
    )

    @pytest.mark.parametrize("name", ["x.json", "x.yaml"])
    def test_files_are_accepted_as_written(self, name: str) -> None:
        parsed = parse_source(self.AS_WRITTEN, name=name, source_id="x")
        assert isinstance(parsed.document, FileSource)
        assert parsed.document.selected_columns == ()
        assert parsed.connection is not None
        assert isinstance(parsed.connection.connection, GcsConnection)
        assert parsed.connection.connection.bucket == "my-bucket"

    def test_databases_are_accepted_with_their_unused_fields_blank(self) -> None:
        flat: dict[str, Any] = {
            "source_type": "postgresql",
            "connection_params": {
                "source_type": "postgresql",
                "host": "db",
                "port": "5432",
                "database": "shop",
                "user": "etl",
                "password": "",
            },
            "load_type": "transactional",
            "source_table_name": "orders",
            "schema_name": "",
            "timestamp_column": "updated_at",
            "selected_columns": [],
            "last_sync_value": "",
            "historical_start_date": None,
            "column_mapping": {},
            "primary_key_column": "id",
            "dest_table_name": "orders",
            "file_pattern": "",
            "file_format": None,
            "file_format_options": {},
        }
        parsed = parse_source(json.dumps(flat), name="x.json", source_id="x")
        assert isinstance(parsed.document, PostgresSource)
        assert parsed.document.last_sync_value is None
        assert parsed.document.schema_name is None
        assert parsed.document.primary_key_column == ("id",)
        assert parsed.connection is not None
        connection = parsed.connection.connection
        assert isinstance(connection, PostgresConnection)
        assert (connection.port, connection.username, connection.password) == (5432, "etl", None)

    @pytest.mark.parametrize("blank", ["", " ", "\t\n", None, [], {}])
    def test_a_blank_never_becomes_a_watermark(self, blank: object) -> None:
        document = parse_source({**DATABASE, "last_sync_value": blank}, name="x.yaml", source_id="x").document
        assert isinstance(document, DatabaseSource)
        assert document.last_sync_value is None

    def test_files_need_no_timestamp_column(self) -> None:
        assert parse(FILES, load_type="transactional", timestamp_column="").document.timestamp_column is None


class TestSourceType:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("postgres", "postgresql"),
            ("PostgreSQL", "postgresql"),
            ("mariadb", "mysql"),
            ("azure_blob", "azure"),
        ],
    )
    def test_other_spellings(self, written: str, meant: str) -> None:
        document = DATABASE if meant != "azure" else FILES
        assert parse(document, source_type=written).document.source_type == meant

    @pytest.mark.parametrize("name", ["firestore", "mongodb", "MongoDB", "dynamodb"])
    def test_nosql_is_refused_with_a_sentence(self, name: str) -> None:
        found = problem(DATABASE, source_type=name)
        assert found.message == "NoSQL databases are not a goal of this project and are not read"
        assert found.path == "source_type"

    def test_an_unknown_type_is_refused_with_the_list(self) -> None:
        found = problem(DATABASE, source_type="postgrsql")
        assert found.allowed == "postgresql, mysql, bigquery, gcs, s3, azure"
        assert found.suggestion == "postgresql"

    @pytest.mark.parametrize("value", [5, ["gcs"], None])
    def test_what_is_no_text(self, value: object) -> None:
        assert problem(DATABASE, source_type=value).path == "source_type"

    def test_the_repeated_type_must_agree(self) -> None:
        found = problem(DATABASE, connection=None, connection_params={**SERVER, "source_type": "mysql"})
        assert found.path == "connection_params.source_type"

    def test_a_missing_type_is_taken_from_the_connection_for_the_other_problems(self) -> None:
        found = problems(
            DATABASE, source_type=None, connection=None, connection_params=SERVER, load_type="no"
        )
        assert [item.path for item in found] == ["source_type", "load_type"]


class TestDatabaseRules:
    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"source_table_name": None}, "source_table_name"),
            ({"query": "select 1"}, "query"),
            ({"source_table_name": None, "query": "select 1", "schema_name": "s"}, "schema_name"),
            ({"source_table_name": None, "query": " ; "}, "query"),
            ({"incrementing_column": "id"}, "incrementing_column"),
            ({"timestamp_column": None}, "timestamp_column"),
            ({"load_type": "upsert"}, "primary_key_column"),
            (
                {"load_type": "upsert", "primary_key_column": "id", "selected_columns": ["a"]},
                "selected_columns",
            ),
            ({"late_window": "5"}, "late_window"),
            ({"late_window": 5}, "late_window"),
            ({"late_window": "soon"}, "late_window"),
            ({"late_window": "367d"}, "late_window"),
            ({"timestamp_column": None, "incrementing_column": "id", "late_window": "1h"}, "late_window"),
            (
                {"timestamp_column": None, "incrementing_column": "id", "historical_start_date": "-5d"},
                "historical_start_date",
            ),
            ({"last_sync_value": "yesterday"}, "last_sync_value"),
            ({"last_sync_value": 17}, "last_sync_value"),
            ({"historical_start_date": "2024-02-30"}, "historical_start_date"),
            ({"historical_start_date": 20240101}, "historical_start_date"),
            ({"column_mapping": {"a": "x", "b": "X"}}, "column_mapping"),
            ({"column_mapping": {"a": "_PARTITIONTIME"}}, "column_mapping.a"),
            ({"column_mapping": ["a"]}, "column_mapping"),
            ({"selected_columns": ["a", "a"]}, "selected_columns"),
            ({"selected_columns": ["a", ""]}, "selected_columns.1"),
            ({"selected_columns": ["a", True]}, "selected_columns.1"),
            ({"primary_key_column": ["a", "a"]}, "primary_key_column"),
            ({"engine": "bigquery"}, "engine"),
            ({"engine": "spark"}, "engine"),
            (
                {"partition_type": "DAY", "timestamp_column": None, "incrementing_column": "id"},
                "partition_type",
            ),
            ({"partition_type": "day"}, "partition_type"),
            ({"clustering": ["a", "b", "c", "d", "e"]}, "clustering"),
            ({"clustering": ["a", "A"]}, "clustering"),
            ({"max_rejects": -1, "on_bad_row": "reject"}, "max_rejects"),
            ({"unit_rows": 0}, "unit_rows"),
            ({"unit_rows": "many"}, "unit_rows"),
            ({"unit_rows": True}, "unit_rows"),
            ({"settle_seconds": 86_401}, "settle_seconds"),
            ({"allow_empty": "yes"}, "allow_empty"),
            ({"dest_table_name": "sales.orders"}, "dest_table_name"),
            ({"dest_table_name": None}, "dest_table_name"),
            ({"dest_dataset": "my-dataset"}, "dest_dataset"),
            ({"dest_project": "My_Project"}, "dest_project"),
            ({"load_type": "append"}, "load_type"),
            ({"schema_drift": "evolv"}, "schema_drift"),
            ({"json_numbers": 1}, "json_numbers"),
            ({"source_table_name": True}, "source_table_name"),
            ({"source_table_name": "a\x00b"}, "source_table_name"),
            ({"connection": None}, "connection"),
            ({"connection": "../x"}, "connection"),
            ({"connection_params": SERVER}, "connection_params"),
            ({"connection": None, "connection_params": "x"}, "connection_params"),
            ({"file_pattern": "*.csv"}, "file_pattern"),
            ({"host": "db"}, "host"),
        ],
    )  # fmt: skip
    def test_each_refusal_is_one_problem_at_its_field(self, changes: dict[str, Any], path: str) -> None:
        assert problem(DATABASE, **changes).path == path

    @pytest.mark.parametrize(
        "changes",
        [
            {"source_table_name": None, "query": "select * from a;\n"},
            {"timestamp_column": None, "incrementing_column": "id", "late_window": 100},
            {"timestamp_column": None, "incrementing_column": "id", "last_sync_value": 17},
            {"load_type": "catalog", "timestamp_column": None},
            {"load_type": "upsert", "primary_key_column": ["a", "b"], "timestamp_column": None},
            {"late_window": "0"},
            {"late_window": 0},
            {"last_sync_value": "2024-01-01 00:00:00+00", "historical_start_date": "-12h"},
            {"partition_type": "none", "timestamp_column": None, "incrementing_column": "id"},
            {"selected_columns": "only"},
            {"engine": "bigquery", "source_type": "bigquery"},
            {"source_type": "mysql"},
            {"source_table_name": 2024},
            {"allow_empty": "TRUE"},
            {"dest_project": "example.com:my-project"},
        ],
    )
    def test_what_is_allowed(self, changes: dict[str, Any]) -> None:
        assert parse(DATABASE, **changes).source_id == "x"

    def test_all_problems_come_at_once_with_rules_between_fields(self) -> None:
        found = problems(
            DATABASE,
            query="select 1",
            incrementing_column="id",
            load_type="transactionl",
            dest_table_name="a.b",
            unit_rows=0,
            sourcetable="x",
            connection=None,
            connection_params={"source_type": "mysql", "host": "a b", "prot": 1, "port": 0, "sslmode": "on"},
        )
        assert {item.path for item in found} == {
            "query", "incrementing_column", "load_type", "dest_table_name", "unit_rows", "sourcetable",
            "connection_params.source_type", "connection_params.host", "connection_params.prot",
            "connection_params.port", "connection_params.sslmode", "connection_params.database",
            "connection_params.username",
        }  # fmt: skip

    def test_a_model_built_directly_keeps_the_same_rules(self) -> None:
        with pytest.raises(ValueError, match="incrementing_column"):
            PostgresSource.model_validate({**DATABASE, "incrementing_column": "id"})

    def test_defaults(self) -> None:
        document = parse(DATABASE).document
        assert isinstance(document, DatabaseSource)
        assert document.cursor_column == "updated_at"
        assert document.late_duration == timedelta(hours=1)
        assert document.metadata_columns is True
        assert document.start_at(datetime.now(UTC)) is None
        keys = parse(DATABASE, timestamp_column=None, incrementing_column="id").document
        assert isinstance(keys, DatabaseSource)
        assert keys.late_keys == Decimal(10_000)
        none = parse(DATABASE, timestamp_column=None, incrementing_column="id", late_window=0).document
        assert isinstance(none, DatabaseSource)
        assert none.late_keys == Decimal(0)
        assert keys.cursor_column == "id"

    def test_windows_and_starts(self) -> None:
        document = parse(DATABASE, late_window="30m", historical_start_date="-5d").document
        assert isinstance(document, DatabaseSource)
        assert document.late_duration == timedelta(minutes=30)
        now = datetime(2024, 1, 6, tzinfo=UTC)
        assert document.start_at(now) == datetime(2024, 1, 1, tzinfo=UTC)

    def test_the_query_loses_its_semicolon(self) -> None:
        document = parse(DATABASE, source_table_name=None, query="\nselect ';' \n ; ").document
        assert isinstance(document, DatabaseSource)
        assert document.query == "select ';'"

    def test_documents_do_not_change(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            parse(DATABASE).document.dest_table_name = "other"  # type: ignore[misc]


class TestFileRules:
    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"file_pattern": None, "file_format": "csv"}, "file_pattern"),
            ({"file_pattern": "data/*"}, "file_format"),
            ({"file_format": "xlsx"}, "file_format"),
            ({"load_type": "transactional", "file_selection": "latest"}, "file_selection"),
            ({"source_type": "s3", "exact_generation": False}, "exact_generation"),
            ({"source_type": "s3", "engine": "bigquery"}, "engine"),
            ({"file_format_options": {"delimiter": ",,"}}, "file_format_options.delimiter"),
            ({"file_format_options": {"delimiter": "\n"}}, "file_format_options.delimiter"),
            ({"file_format_options": {"encoding": "utf-88"}}, "file_format_options.encoding"),
            ({"file_format_options": {"encoding": "base64"}}, "file_format_options.encoding"),
            ({"file_format_options": {"has_header": "si"}}, "file_format_options.has_header"),
            ({"file_format_options": {"sep": ";", "delimiter": ","}}, "file_format_options.delimiter"),
            ({"file_format_options": {"delimeter": ";"}}, "file_format_options.delimeter"),
            ({"file_format_options": {"skip_lines": -1}}, "file_format_options.skip_lines"),
            ({"file_format_options": {"compression": "rar"}}, "file_format_options.compression"),
            ({"file_format_options": "csv"}, "file_format_options"),
            ({"on_overwrite": "replace"}, "on_overwrite"),
            ({"order_by": "size"}, "order_by"),
            ({"source_table_name": "orders"}, "source_table_name"),
            ({"load_type": "upsert"}, "primary_key_column"),
        ],
    )
    def test_each_refusal_is_one_problem_at_its_field(self, changes: dict[str, Any], path: str) -> None:
        assert problem(FILES, **changes).path == path

    @pytest.mark.parametrize(
        ("pattern", "file_format"),
        [
            ("*.csv", "csv"),
            ("data_*.parquet", "parquet"),
            ("**/part-*.json.gz", "json"),
            ("x.NDJSON.zst", "jsonl"),
        ],
    )
    def test_the_format_is_told_from_the_pattern(self, pattern: str, file_format: str) -> None:
        document = parse(FILES, file_pattern=pattern).document
        assert isinstance(document, FileSource)
        assert document.file_format == file_format

    def test_options_and_their_defaults(self) -> None:
        options = {"delimiter": "\\t", "quote": "none", "null_markers": [], "header": False}
        document = parse(FILES, file_format_options=options).document
        assert isinstance(document, FileSource)
        read = document.file_format_options
        assert (read.delimiter, read.quote, read.null_markers, read.has_header) == ("\t", "none", (), False)
        assert read.escape == "none"

    @pytest.mark.parametrize(("load_type", "selection"), [("catalog", "latest"), ("transactional", "all")])
    def test_the_default_selection_follows_the_load_type(self, load_type: str, selection: str) -> None:
        document = parse(FILES, load_type=load_type).document
        assert isinstance(document, FileSource)
        assert document.selection == selection


class TestConnections:
    @pytest.mark.parametrize("source_type", CONNECTIONS)
    def test_each_type(self, source_type: str) -> None:
        parsed = parse_connection(CONNECTIONS[source_type], name="connections/c.yaml")
        assert parsed.connection.source_type == source_type
        assert parsed.warnings == ()

    @pytest.mark.parametrize(
        ("written", "bucket", "prefix"),
        [
            ("my-bucket", "my-bucket", ""),
            ("gs://my-bucket", "my-bucket", ""),
            ("gs://my-bucket/", "my-bucket", ""),
            ("gs://my-bucket/in/2024", "my-bucket", "in/2024/"),
            ("my-bucket/in//", "my-bucket", "in/"),
        ],
    )
    def test_spellings_of_a_bucket(self, written: str, bucket: str, prefix: str) -> None:
        connection = parse_connection({**CONNECTIONS["gcs"], "bucket": written}, name="c.yaml").connection
        assert isinstance(connection, GcsConnection)
        assert (connection.bucket, connection.prefix) == (bucket, prefix)
        again = GcsConnection.model_validate(connection.model_dump())
        assert again == connection

    def test_a_prefix_is_added_to_the_one_in_the_bucket(self) -> None:
        fields = {**CONNECTIONS["azure"], "bucket": None, "container": "az://box/a", "prefix": "/b"}
        connection = parse_connection(fields, name="c.yaml").connection
        assert isinstance(connection, AzureConnection)
        assert (connection.bucket, connection.prefix) == ("box", "a/b/")

    @pytest.mark.parametrize(
        ("source_type", "changes", "paths"),
        [
            ("gcs", {"bucket": "s3://my-bucket"}, ["bucket"]),
            ("gcs", {"bucket": "My Bucket"}, ["bucket"]),
            ("gcs", {"bucket": ""}, ["bucket"]),
            ("gcs", {"credentials": "x"}, ["credentials", "use_runner_account"]),
            ("gcs", {"credentials": {"env": "KEY"}}, ["use_runner_account"]),
            ("s3", {"anonymous": False}, ["access_key_id", "secret_access_key"]),
            ("s3", {"anonymous": None, "access_key_id": "a"}, ["secret_access_key"]),
            ("s3", {"access_key_id": "a"}, ["anonymous"]),
            ("s3", {"anonymous": None, "bucket": "!"}, ["bucket", "access_key_id", "secret_access_key"]),
            ("azure", {"anonymous": None}, ["account_key"]),
            ("azure", {"sas_token": "a", "account_key": "b", "anonymous": None}, ["sas_token"]),
            ("azure", {"client_secret": "a", "anonymous": None}, ["tenant_id", "client_id"]),
            ("azure", {"account_name": None}, ["account_name"]),
            ("bigquery", {"project": None}, ["project"]),
            ("postgresql", {"host": "postgres://db/shop"}, ["host"]),
            ("postgresql", {"host": "etl@db"}, ["host"]),
            ("postgresql", {"port": 65_536}, ["port"]),
            ("postgresql", {"user": "other"}, ["user"]),
            ("postgresql", {"load_type": "catalog"}, ["load_type"]),
            ("postgresql", {"max_connections": 0}, ["max_connections"]),
            ("postgresql", {"password": {"document": "x", "field": "y"}}, ["password"]),
            ("postgresql", {"password": {"env": "A", "file": "/b"}}, ["password"]),
            ("postgresql", {"password": {"file": "relative"}}, ["password"]),
            ("postgresql", {"password": {"secret_manager": "projects/p/x"}}, ["password"]),
            ("postgresql", {"password": ["x"]}, ["password"]),
            ("postgresql", {"password": False}, ["password"]),
        ],
    )
    def test_each_refusal(self, source_type: str, changes: dict[str, Any], paths: list[str]) -> None:
        found = connection_problems(**{**CONNECTIONS[source_type], **changes})
        assert [item.path for item in found] == paths

    def test_other_spellings(self) -> None:
        fields = {"source_type": "mariadb", "hostname": "db", "dbname": "shop", "user": "etl", "passwd": "x"}
        parsed = parse_connection(fields, name="c.yaml")
        connection = parsed.connection
        assert isinstance(connection, MySqlConnection)
        assert (connection.host, connection.database, connection.username, connection.port) == (
            "db",
            "shop",
            "etl",
            3306,
        )
        assert parsed.inline == {"password": "passwd"}

    def test_missing_fields_have_the_path_of_their_place(self) -> None:
        found = problems(DATABASE, connection=None, connection_params={"source_type": "postgresql"})
        assert [item.path for item in found] == [
            f"connection_params.{name}" for name in ("host", "database", "username")
        ]

    @pytest.mark.parametrize(
        "ref", [{"env": "PGPASSWORD"}, {"file": "/run/secrets/x"}, {"secret_manager": "x"}]
    )
    def test_references(self, ref: dict[str, str]) -> None:
        parsed = parse_connection({**SERVER, "password": ref}, name="c.yaml")
        assert isinstance(parsed.connection, PostgresConnection)
        assert parsed.connection.password == SecretRef(**ref)
        assert parsed.warnings == ()

    def test_no_credentials_are_never_silent(self) -> None:
        parsed = parse_connection(
            {"source_type": "gcs", "bucket": "my-bucket", "credentials": {}}, name="c.yaml"
        )
        assert len(parsed.warnings) == 1
        assert "the runner's own account" in parsed.warnings[0]


class TestSuggestionsAndWarnings:
    @pytest.mark.parametrize(
        ("field", "suggestion"),
        [
            ("source_table_nam", "source_table_name"),
            ("timestampColumn", "timestamp_column"),
            ("dest-table-name", "dest_table_name"),
            ("table", "source_table_name"),
            ("dataset", "dest_dataset"),
            ("start_date", "historical_start_date"),
        ],
    )
    def test_a_misspelt_field(self, field: str, suggestion: str) -> None:
        assert problem(DATABASE, **{field: "x"}).suggestion == suggestion

    @pytest.mark.parametrize(
        ("field", "value", "suggestion"),
        [
            ("load_type", "Transactional", "transactional"),
            ("partition_type", "day", "DAY"),
            ("engine", "cloudrun", "cloud_run"),
        ],
    )
    def test_a_misspelt_word(self, field: str, value: str, suggestion: str) -> None:
        found = problem(DATABASE, **{field: value})
        assert found.suggestion == suggestion
        assert found.found == repr(value)

    def test_a_field_of_another_place(self) -> None:
        assert (
            problem(DATABASE, host="x").message == "is a field of the connection, not of postgresql sources"
        )
        assert problem(FILES, query="x").message == "is a field of database sources, not of gcs sources"

    @pytest.mark.parametrize(
        ("document", "changes", "part"),
        [
            (DATABASE, {"load_type": "catalog", "historical_start_date": "-5d"}, "historical_start_date"),
            (DATABASE, {"selected_columns": ["a"], "column_mapping": {"b": "c"}}, "'b'"),
            (DATABASE, {"max_rejects": 5}, "max_rejects"),
            (FILES, {"file_pattern": "*.parquet", "file_format_options": {"delimiter": ","}}, "delimiter"),
        ],
    )
    def test_what_is_probably_not_meant(
        self, document: dict[str, Any], changes: dict[str, Any], part: str
    ) -> None:
        (warning,) = parse(document, **changes).warnings
        assert part in warning


NAMES = st.text() | st.sampled_from(["source_type", "bucket", "password", "credentials"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["gcs", "postgresql", "s3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)
FIELDS = st.text() | st.sampled_from([*DATABASE, *FILES, "connection_params"])


@given(st.dictionaries(FIELDS, VALUES))
def test_any_value_is_either_valid_or_a_config_error(fields: dict[str, Any]) -> None:
    for base in ({}, DATABASE, FILES):
        try:
            parse_source({**base, **fields}, name="x.yaml", source_id="x")
        except ConfigError as error:
            assert error.problems
            assert "pydantic" not in str(error)
