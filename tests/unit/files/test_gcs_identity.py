"""Whose identity reads a bucket: the connection's, whatever the process has of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from etl_runner.config.connections import GcsConnection
from etl_runner.config.secrets import EnvFileResolver, SecretValue
from etl_runner.errors import PermanentError
from etl_runner.sources.files.stores.gcs import connect


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _key(email: str, private_key: str) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "somewhere",
        "client_email": email,
        "private_key": private_key,
        "token_uri": "https://oauth2.googleapis.com/token",
    }


@pytest.fixture
def ambient(tmp_path: Path, private_key: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The process has an account of its own."""
    file = tmp_path / "runner.json"
    file.write_text(json.dumps(_key("runner@somewhere", private_key)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return "runner@somewhere"


def _email(connection: GcsConnection, endpoint: str | None = None) -> str | None:
    client = connect(connection, EnvFileResolver({}), endpoint)
    return getattr(client._credentials, "service_account_email", None)


def test_a_connections_key_reads_and_not_the_runners_account(ambient: str, private_key: str) -> None:
    own = SecretValue(json.dumps(_key("reader@elsewhere", private_key)))
    connection = GcsConnection(source_type="gcs", bucket="bkt", credentials=own)
    assert _email(connection) == "reader@elsewhere"


def test_a_key_that_is_none_is_refused_and_never_replaced_by_the_runners_account(ambient: str) -> None:
    connection = GcsConnection.model_construct(
        source_type="gcs", bucket="bkt", credentials=SecretValue("no key")
    )
    with pytest.raises(PermanentError, match="is not a service account's key") as caught:
        _email(connection)
    assert "no key" not in str(caught.value)


def test_the_runners_account_reads_when_the_document_says_so(ambient: str) -> None:
    connection = GcsConnection(source_type="gcs", bucket="bkt", use_runner_account=True)
    assert _email(connection) == ambient


def test_no_credentials_travel_without_tls(ambient: str, private_key: str) -> None:
    own = SecretValue(json.dumps(_key("reader@elsewhere", private_key)))
    connection = GcsConnection(source_type="gcs", bucket="bkt", credentials=own)
    assert _email(connection, "http://127.0.0.1:1") is None
