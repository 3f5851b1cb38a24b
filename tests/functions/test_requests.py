"""What the functions answer: to good requests, to bad ones, and when they are asked again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from google.cloud import storage

from tests.functions.conftest import ROOT

FUNCTIONS = ("trigger", "plan", "finalize")
SOURCE = {
    "source_type": "postgresql",
    "connection": "shop",
    "load_type": "catalog",
    "source_table_name": "customers",
    "dest_table_name": "customers",
}
CONNECTION = {
    "source_type": "postgresql",
    "host": "127.0.0.1",
    "port": 1,
    "database": "shop",
    "username": "etl",
    "password": {"env": "SHOP_PASSWORD"},
}

Client = Callable[[str], FlaskClient]
pytestmark = pytest.mark.stack


def _put(config: storage.Bucket, name: str, document: dict[str, Any]) -> None:
    config.blob(name).upload_from_string(json.dumps(document))


def _documents(config: storage.Bucket) -> None:
    _put(config, "sources/customers.json", SOURCE)
    _put(config, "connections/shop.json", CONNECTION)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"not json", ""),
        (b"[]", ""),
        (b"{}", "source_id"),
        (b'{"source_id": 3}', "source_id"),
        (b'{"source_id": "a/b", "run_id": "r", "epoch": 1}', "source_id"),
        (b'{"source_id": "a"}', "run_id"),
    ],
)
def test_a_bad_request_names_the_field(
    environment: storage.Bucket, client: Client, name: str, body: bytes, path: str
) -> None:
    response = client(name).post("/", data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json is not None
    assert [problem["path"] for problem in response.json["error"]["problems"]] == [path]


def test_an_unknown_source_takes_no_slot(
    environment: storage.Bucket, client: Client, storage_client: storage.Client
) -> None:
    response = client("trigger").post("/", json={"source_id": "nowhere", "run_id": "r1"})
    assert response.status_code == 400
    assert response.json is not None
    assert "nowhere" in response.json["error"]["message"]
    state = environment.name.replace("config", "state")
    assert list(storage_client.list_blobs(state)) == []


def test_a_wrong_document_is_answered_with_all_its_problems(
    environment: storage.Bucket, client: Client
) -> None:
    _put(environment, "sources/customers.json", {**SOURCE, "load_typ": "x", "unit_rows": -1})
    _put(environment, "connections/shop.json", {**CONNECTION, "port": "many"})
    response = client("trigger").post("/", json={"source_id": "customers", "run_id": "r1"})
    assert response.status_code == 400
    assert response.json is not None
    paths = {problem["path"] for problem in response.json["error"]["problems"]}
    assert {"load_typ", "unit_rows"} <= paths
    assert any("port" in path for path in paths)


def test_a_trigger_that_is_repeated_joins_its_run_and_another_is_skipped(
    environment: storage.Bucket, client: Client
) -> None:
    _documents(environment)
    trigger = client("trigger")
    first = trigger.post("/", json={"source_id": "customers", "run_id": "r1"})
    assert first.json == {"status": "opened", "source_id": "customers", "run_id": "r1", "epoch": 1}
    assert trigger.post("/", json={"source_id": "customers", "run_id": "r1"}).json == first.json
    second = trigger.post("/", json={"source_id": "customers", "run_id": "r2"})
    assert second.status_code == 200
    assert second.json is not None
    assert second.json["status"] == "skipped"
    assert second.json["holder"]["run_id"] == "r1"


def test_a_plan_for_a_run_that_lost_its_slot_is_final(environment: storage.Bucket, client: Client) -> None:
    _documents(environment)
    response = client("plan").post("/", json={"source_id": "customers", "run_id": "r9", "epoch": 3})
    assert response.status_code == 422
    assert response.json is not None
    assert "does not hold the slot" in response.json["error"]["message"]


def test_the_failure_path_closes_the_run_and_its_receipt_is_found_again(
    environment: storage.Bucket, client: Client
) -> None:
    _documents(environment)
    run = client("trigger").post("/", json={"source_id": "customers", "run_id": "r1"}).json
    assert run is not None
    body = {"source_id": "customers", "run_id": "r1", "epoch": run["epoch"]}
    failure = {"step": "plan", "message": "no route to the database"}
    finalize = client("finalize")
    first = finalize.post("/", json={**body, "failure": failure})
    assert first.json is not None
    assert first.json["outcome"] == "failed"
    assert first.json["receipt"]["reason"] == "plan: no route to the database"
    assert finalize.post("/", json=body).json == first.json
    again = client("trigger").post("/", json={"source_id": "customers", "run_id": "r1"})
    assert again.json is not None
    assert again.json["status"] == "done"
    assert again.json["receipt"] == first.json["receipt"]


def test_a_missing_environment_is_listed_whole(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    from etl_runner import http

    http.deployment.cache_clear()
    for name in ("ETL_LOCATION", "ETL_DATASET", "ETL_CONFIG_BUCKET", "ETL_STATE_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    response = client("trigger").post("/", json={"source_id": "a", "run_id": "r"})
    assert response.status_code == 400
    assert response.json is not None
    assert {"ETL_LOCATION", "ETL_DATASET"} <= {p["path"] for p in response.json["error"]["problems"]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_starts_without_what_it_does_not_use(name: str) -> None:
    heavy = ["apache_beam", "pandas", "adbc_driver_postgresql", "pg8000", "google.cloud.bigquery"]
    if name != "finalize":
        heavy.append("pyarrow")
    program = f"import sys, main; print([name for name in {heavy!r} if name in sys.modules])"
    folder = ROOT / "functions" / name
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("main", sorted(ROOT.glob("functions/*/main.py")), ids=lambda path: path.parent.name)
def test_a_function_stays_small(main: Path) -> None:
    assert len(main.read_text().splitlines()) < 40
