from __future__ import annotations

from pathlib import Path

from .conftest import FakeDeployment

CONNECTION = """
source_type: postgresql
host: db.example.com
database: sales
username: etl
password: {env: PASSWORD}
"""
SOURCE = """
source_type: postgresql
connection: warehouse
source_table_name: orders
load_type: transactional
timestamp_column: updated_at
dest_table_name: raw_orders
"""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_valid_documents(deployment: FakeDeployment, tmp_path: Path) -> None:
    connection = write(tmp_path, "connections/warehouse.yaml", CONNECTION)
    source = write(tmp_path, "sources/orders.yaml", SOURCE)
    code, answer = deployment.json("validate", source, connection)
    assert code == 0
    assert answer["valid"] is True
    assert [(one["kind"], one["valid"]) for one in answer["documents"]] == [
        ("source", True),
        ("connection", True),
    ]
    assert answer["documents"][0]["warnings"] == []


def test_every_problem_of_every_document_is_listed(deployment: FakeDeployment, tmp_path: Path) -> None:
    connection = write(tmp_path, "connections/warehouse.yaml", CONNECTION.replace("5432", "x") + "prot: 1\n")
    source = write(
        tmp_path, "sources/orders.yaml", SOURCE.replace("load_type: transactional", "load_tipe: daily")
    )
    result = deployment.invoke("validate", source, connection)
    assert result.exit_code == 3
    assert "load_tipe" in result.stdout
    assert "load_type" in result.stdout
    assert "prot" in result.stdout
    assert "port" in result.stdout


def test_the_connection_beside_a_source_is_checked_with_it(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    write(tmp_path, "connections/warehouse.yaml", CONNECTION.replace("postgresql", "mysql"))
    source = write(tmp_path, "sources/orders.yaml", SOURCE)
    code, answer = deployment.json("validate", source)
    assert code == 3
    assert "mysql" in str(answer["documents"][0]["problems"])


def test_a_source_without_its_connection_beside_it_is_valid_with_a_warning(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    code, answer = deployment.json("validate", write(tmp_path, "orders.yaml", SOURCE))
    assert code == 0
    assert "warehouse" in answer["documents"][0]["warnings"][0]


def test_a_connection_anywhere_is_recognised(deployment: FakeDeployment, tmp_path: Path) -> None:
    _, answer = deployment.json("validate", write(tmp_path, "warehouse.yaml", CONNECTION))
    assert answer["documents"][0]["kind"] == "connection"


def test_a_file_that_cannot_be_read_is_a_problem_of_that_file(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    code, answer = deployment.json("validate", str(tmp_path / "none.yaml"))
    assert code == 3
    assert "cannot be read" in answer["documents"][0]["problems"][0]["message"]


def test_broken_yaml_says_where(deployment: FakeDeployment, tmp_path: Path) -> None:
    result = deployment.invoke("validate", write(tmp_path, "orders.yaml", "a: [1\nb: 2\n"))
    assert result.exit_code == 3
    assert "line" in result.stdout


def test_ids_are_read_from_the_config_bucket(deployment: FakeDeployment) -> None:
    deployment.add_source("orders")
    deployment.add_source("broken", load_type="daily")
    assert deployment.json("validate", "orders")[0] == 0
    code, answer = deployment.json("validate", "orders", "broken", "missing")
    assert code == 3
    assert [one["valid"] for one in answer["documents"]] == [True, False, False]


def test_a_password_in_a_document_is_not_shown(deployment: FakeDeployment, tmp_path: Path) -> None:
    inline = CONNECTION.replace("{env: PASSWORD}", "hunter2-secret")
    result = deployment.invoke("validate", write(tmp_path, "connections/warehouse.yaml", inline))
    assert "hunter2-secret" not in result.stdout + result.stderr
    assert "warning" in result.stdout
