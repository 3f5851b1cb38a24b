"""``etl-runner export-config``: documents without a credential, and the commands that put it elsewhere."""

from __future__ import annotations

from pathlib import Path

import yaml

from etl_runner import jsontypes

from .conftest import FakeDeployment

SECRET = "hunter2-in-the-document"
FLAT = {
    "source_type": "postgres",
    "connection_params": {"host": "db", "database": "shop", "user": "etl", "password": SECRET},
    "load_type": "transactional",
    "source_table_name": "orders",
    "timestamp_column": "updated_at",
    "dest_table_name": "orders",
}


def test_a_stored_source_is_written_as_two_documents_without_its_secret(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    deployment.config.create("sources/shop.json", jsontypes.dumps(FLAT))
    result = deployment.invoke("export-config", "shop", "--output", str(tmp_path))
    assert result.exit_code == 0, result.output
    source = yaml.safe_load((tmp_path / "sources" / "shop.yaml").read_text())
    connection = yaml.safe_load((tmp_path / "connections" / "shop-connection.yaml").read_text())
    assert source["connection"] == "shop-connection"
    reference = connection["password"]["secret_manager"]
    assert reference == "projects/p/secrets/etl-shop-connection-password/versions/latest"
    assert "gcloud secrets create etl-shop-connection-password --project=p" in result.stdout
    everything = result.output + "".join(path.read_text() for path in tmp_path.rglob("*.yaml"))
    assert SECRET not in everything
    # What was written is valid as it stands.
    assert deployment.invoke("validate", str(tmp_path / "sources" / "shop.yaml")).exit_code == 0


def test_a_file_is_exported_for_the_project_that_is_named(deployment: FakeDeployment, tmp_path: Path) -> None:
    document = tmp_path / "orders.json"
    document.write_bytes(jsontypes.dumps(FLAT))
    code, answer = deployment.json("export-config", str(document), "--project", "vault")
    assert code == 0
    assert set(answer["documents"]) == {"sources/orders.yaml", "connections/orders-connection.yaml"}
    assert all("--project=vault" in command for command in answer["commands"])
    assert SECRET not in str(answer)


def test_a_source_that_names_a_connection_is_no_file_to_export(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    document = tmp_path / "orders.json"
    document.write_bytes(jsontypes.dumps({**FLAT, "connection_params": None, "connection": "warehouse"}))
    result = deployment.invoke("export-config", str(document))
    assert result.exit_code == 3
    assert "export the source from the config bucket" in result.stderr
