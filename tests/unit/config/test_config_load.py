from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from etl_runner.config.documents import PostgresConnection
from etl_runner.config.load import load_source, parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.secrets import DocumentResolver, SecretRef
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.state.memory import MemoryObjectStore

SOURCE = b"""\
source_type: postgresql
connection: warehouse
source_table_name: orders
load_type: transactional
timestamp_column: updated_at
historical_start_date: 2024-01-31
dest_table_name: orders
"""
CONNECTION = b"""\
source_type: postgresql
host: db.example.com
database: shop
user: etl
passwd: inline-value
"""
INLINE = b"""\
{"source_type": "postgresql", "source_table_name": "orders", "load_type": "catalog",
 "dest_table_name": "orders", "connection_params": {"source_type": "postgresql", "host": "db",
 "database": "shop", "username": "etl", "password": "inline-value"}}
"""


def bucket(**documents: bytes) -> MemoryObjectStore:
    objects = MemoryObjectStore("config")
    for name, data in documents.items():
        folder, _, rest = name.partition("__")
        objects.create(f"{folder}/{rest.replace('_', '.')}", data)
    return objects


def refused(objects: MemoryObjectStore, source_id: str = "orders") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_source(objects, source_id)
    return caught.value


def test_a_source_with_its_connection() -> None:
    resolved = load_source(
        bucket(sources__orders_yaml=SOURCE, connections__warehouse_yml=CONNECTION), "orders"
    )
    assert resolved.source_id == "orders"
    assert resolved.document.source_type == "postgresql"
    assert resolved.document.connection_params is None
    assert isinstance(resolved.connection, PostgresConnection)
    assert resolved.connection.password == SecretRef(document="connections/warehouse.yml", field="passwd")
    assert len(resolved.warnings) == 1


@pytest.mark.parametrize(("field", "documents"), [
    ("passwd", {"sources__orders_yaml": SOURCE, "connections__warehouse_yaml": CONNECTION}),
    ("connection_params.password", {"sources__orders_json": INLINE}),
])  # fmt: skip
def test_an_inline_credential_is_read_again_from_its_document(
    field: str, documents: dict[str, bytes]
) -> None:
    objects = bucket(**documents)
    resolved = load_source(objects, "orders")
    assert isinstance(resolved.connection, PostgresConnection)
    reference = resolved.connection.password
    assert isinstance(reference, SecretRef)
    assert reference.field == field
    assert DocumentResolver(objects).reveal(reference) == "inline-value"


def test_what_a_plan_stores_is_the_same_source_again() -> None:
    resolved = load_source(
        bucket(sources__orders_yaml=SOURCE, connections__warehouse_yaml=CONNECTION), "orders"
    )
    stored = json.loads(json.dumps(resolved.to_json()))
    again = ResolvedSource.from_json(stored)
    assert (again.document, again.connection, again.source_id) == (
        resolved.document, resolved.connection, "orders",
    )  # fmt: skip
    assert again.hash() == resolved.hash()
    assert again.to_json() == resolved.to_json()


def test_the_hash_follows_the_configuration() -> None:
    connection = CONNECTION.replace(b"inline-value", b"rotated")
    one = load_source(bucket(sources__orders_yaml=SOURCE, connections__warehouse_yaml=CONNECTION), "orders")
    rotated = load_source(
        bucket(sources__orders_yaml=SOURCE, connections__warehouse_yaml=connection), "orders"
    )
    changed = load_source(
        bucket(sources__orders_yaml=SOURCE + b"unit_rows: 7\n", connections__warehouse_yaml=CONNECTION),
        "orders",
    )
    assert one.hash() == rotated.hash() != changed.hash()
    assert len(one.hash()) == 64


def test_a_plan_never_stores_a_value() -> None:
    resolved = parse_source(INLINE, name="request.json", source_id="orders").resolve()
    with pytest.raises(PermanentError, match="source orders: password is a value"):
        resolved.to_json()


def test_what_is_no_plan_is_refused() -> None:
    good = load_source(
        bucket(sources__orders_yaml=SOURCE, connections__warehouse_yaml=CONNECTION), "orders"
    ).to_json()
    for bad in (
        {**good, "document": None},
        {**good, "document": {**good["document"], "source_type": "mongodb"}},
        {**good, "document": {**good["document"], "unit_rows": 0}},
        {**good, "connection": {**good["connection"], "other": 1}},
    ):
        with pytest.raises(ConfigError, match="plan of source orders"):
            ResolvedSource.from_json(bad)


def test_problems_of_both_documents_at_once_with_their_lines() -> None:
    error = refused(
        bucket(
            sources__orders_yaml=SOURCE.replace(b"load_type: transactional", b"load_type: transactionl"),
            connections__warehouse_yaml=CONNECTION.replace(b"host:", b"hots:"),
        )
    )
    assert str(error) == (
        "sources/orders.yaml: 2 problems\n"
        "  - load_type (line 4): is not one of the allowed words (found 'transactionl'); "
        "allowed: transactional, catalog, upsert; did you mean 'transactional'?\n"
        "  - connections/warehouse.yaml: hots (line 2): is not a field of postgresql connections; "
        "did you mean 'host'?"
    )
    assert error.problems[0].to_json()["line"] == 4


def test_a_connection_of_another_type() -> None:
    error = refused(
        bucket(
            sources__orders_yaml=SOURCE,
            connections__warehouse_yaml=CONNECTION.replace(b"postgresql", b"mysql"),
        )
    )
    assert [(problem.path, problem.line) for problem in error.problems] == [("connection", 2)]


def test_documents_that_are_not_there() -> None:
    objects = bucket(sources__orders_yaml=SOURCE)
    missing = refused(objects, "order")
    assert "gs://config/sources/order.yaml" in str(missing)
    assert missing.problems[0].suggestion == "orders"
    assert "connections/warehouse.yaml" in str(refused(objects))


def test_two_documents_of_one_id() -> None:
    assert "sources/orders.yaml and sources/orders.json" in str(
        refused(bucket(sources__orders_yaml=SOURCE, sources__orders_json=INLINE))
    )


@pytest.mark.parametrize("source_id", ["", "../connections/x", "a/b", "a.b"])
def test_an_id_that_is_none_reads_nothing(source_id: str) -> None:
    assert refused(bucket(), source_id).problems[0].path == "source_id"


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "is empty"), (b"- a\n", "must be an object"), (b"a", "must be an")]
)
def test_what_is_no_object(data: bytes, message: str) -> None:
    assert message in str(refused(bucket(sources__orders_yaml=data)))


def test_a_named_connection_must_be_given() -> None:
    parsed = parse_source(SOURCE, name="orders.yaml", source_id="orders")
    with pytest.raises(ConfigError, match="is not given along"):
        parsed.resolve()


def test_the_reference_shows_errors_as_they_look() -> None:
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    shown = text.split("```text\n")[1].split("```")[0].strip()
    source = b"""\
source_type: postgresql
connection: shop
source_table_name: orders
incrementing_column: id
load_type: transactionl
timestmp_column: updated_at
historical_start_date: 2024-02-30
dest_table_name: orders
"""
    connection = b"source_type: postgresql\nhost: db\nport: 54x32\ndatabase: shop\nusername: etl\n"
    error = refused(bucket(sources__orders_yaml=source, connections__shop_yaml=connection))
    assert str(error) == shown


def test_a_misspelt_required_field_is_one_problem() -> None:
    error = refused(
        bucket(
            sources__orders_yaml=SOURCE.replace(b"timestamp_column", b"timestamp_colum"),
            connections__warehouse_yaml=CONNECTION,
        )
    )
    assert [problem.path for problem in error.problems] == ["timestamp_colum"]


def test_importing_it_loads_little() -> None:
    code = "import sys, etl_runner.config.load; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    for heavy in ("google.auth", "google.api_core", "pyarrow", "jsonschema", "yaml", "typer"):
        assert heavy not in modules
