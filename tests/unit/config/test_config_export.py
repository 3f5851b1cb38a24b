from __future__ import annotations

import subprocess

from etl_runner.config.export import export_config
from etl_runner.config.load import parse_connection, parse_source

FLAT = {
    "source_type": "postgres",
    "connection_params": {"host": "db", "database": "shop", "user": "etl", "password": "hunter2"},
    "load_type": "transactional",
    "source_table_name": "orders",
    "timestamp_column": "updated_at",
    "dest_table_name": "orders",
    "last_sync_value": "",
}


def test_inline_credentials_become_references() -> None:
    export = export_config(
        parse_source(FLAT, name="x.json", source_id="orders").resolve(), project="my-project"
    )
    assert export.connection_id == "orders-connection"
    assert export.document == {
        "source_type": "postgresql",
        "connection": "orders-connection",
        "load_type": "transactional",
        "dest_table_name": "orders",
        "timestamp_column": "updated_at",
        "source_table_name": "orders",
    }
    name = "projects/my-project/secrets/etl-orders-connection-password/versions/latest"
    assert export.connection == {
        "source_type": "postgresql",
        "host": "db",
        "database": "shop",
        "username": "etl",
        "password": {"secret_manager": name},
    }
    (command,) = export.commands
    assert "gcloud secrets create etl-orders-connection-password --project=my-project" in command


def test_what_was_exported_is_valid_and_exports_to_itself() -> None:
    first = export_config(
        parse_source(FLAT, name="x.json", source_id="orders").resolve(), project="my-project"
    )
    source = parse_source(first.document, name="sources/orders.yaml", source_id="orders")
    connection = parse_connection(first.connection, name="connections/orders-connection.yaml")
    assert connection.warnings == ()
    again = export_config(source.resolve(connection), project="my-project")
    assert (again.document, again.connection, again.commands) == (first.document, first.connection, ())


def test_the_command_hands_on_the_value_without_a_line_end() -> None:
    (command,) = export_config(
        parse_source(FLAT, name="x.json", source_id="orders").resolve(), project="my-project"
    ).commands
    shell = f"gcloud() {{ cat; }}; {command}"
    done = subprocess.run(
        ["bash", "-c", shell], input=b"it's $HOME\n", capture_output=True, check=True, timeout=20
    )
    assert done.stdout == b"it's $HOME"
