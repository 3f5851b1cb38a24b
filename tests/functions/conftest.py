"""Functions as the framework serves them: by path, one test client each."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import functions_framework
import pytest
from flask.testing import FlaskClient
from google.cloud import storage

from etl_runner import http

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, gcs_endpoint: str, storage_client: storage.Client
) -> Iterator[storage.Bucket]:
    """A deployment's environment with a real (local) Cloud Storage; gives the config bucket."""
    names = {}
    suffix = secrets.token_hex(6)
    for kind in ("config", "state", "staging"):
        bucket = storage_client.bucket(f"functions-{kind}-{suffix}")
        storage_client.create_bucket(bucket)
        monkeypatch.setenv(f"ETL_{kind.upper()}_BUCKET", bucket.name)
        names[kind] = bucket
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    monkeypatch.setenv("ETL_PROJECT", "test-project")
    monkeypatch.setenv("ETL_LOCATION", "europe-west1")
    monkeypatch.setenv("ETL_DATASET", "warehouse")
    http.deployment.cache_clear()
    yield names["config"]
    http.deployment.cache_clear()


@pytest.fixture
def client() -> Callable[[str], FlaskClient]:
    """The test client of one function."""

    def make(name: str) -> FlaskClient:
        app = functions_framework.create_app(  # type: ignore[no-untyped-call]
            "main", str(ROOT / "functions" / name / "main.py")
        )
        made: FlaskClient = app.test_client()
        return made

    return make
