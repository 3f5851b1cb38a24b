"""Whose identity BigQuery's requests bear: the connection's, seen from the other end of the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from etl_runner.config.connections import BigQueryConnection
from etl_runner.gcp.deployment import Deployment
from etl_runner.settings import Settings

AUDIENCE = "https://oauth2.googleapis.com/token"
"""Whom a signed assertion is for, wherever it is sent."""
EMAIL = "reader@their-project.iam.gserviceaccount.com"
ANSWER = {
    "kind": "bigquery#queryResponse",
    "jobComplete": True,
    "jobReference": {"projectId": "payer-project", "jobId": "j", "location": "EU"},
    "schema": {"fields": [{"name": "f0_", "type": "INTEGER"}]},
    "rows": [{"f": [{"v": "1"}]}],
    "totalRows": "1",
}


@dataclass
class Google:
    """Gives tokens to one account, and answers queries; remembers who asked."""

    certificate: bytes
    url: str = ""
    signed_in: list[str] = field(default_factory=list)
    bearers: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@pytest.fixture
def google(private_key: rsa.RSAPrivateKey) -> Iterator[Google]:
    public = private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    seen = Google(public)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                assertion = parse_qs(body.decode())["assertion"][0]
                # Refuses a signature that is not the account's.
                claims = jwt.decode(  # type: ignore[no-untyped-call]
                    assertion, certs=seen.certificate, audience=AUDIENCE
                )
                seen.signed_in.append(claims["iss"])
                self._answer({"access_token": "theirs", "expires_in": 3_600, "token_type": "Bearer"})
                return
            seen.bearers.append(self.headers["Authorization"])
            seen.paths.append(self.path.partition("?")[0])
            self._answer(ANSWER)

        def _answer(self, value: object) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield seen
    server.shutdown()
    server.server_close()


def deployment(google: Google) -> Deployment:
    return Deployment(
        Settings(
            project="ours",
            location="EU",
            bigquery_location="EU",
            dataset="d",
            config_bucket="config",
            state_bucket="state",
            staging_bucket="staging",
            bigquery_endpoint=google.url,
            storage_endpoint=google.url,
        )
    )


def test_queries_bear_the_token_of_the_connections_key(
    google: Google, private_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    key = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "key.json"
    info = {"type": "service_account", "client_email": EMAIL, "private_key_id": "k", "project_id": "theirs"}
    file.write_text(
        json.dumps(
            {**info, "private_key": key.decode(), "token_uri": f"{google.url}/token", "client_id": "1"}
        )
    )
    document = {"source_type": "bigquery", "project": "their-project", "billing_project": "payer-project"}
    connection = BigQueryConnection.model_validate({**document, "credentials": {"file": str(file)}})
    warehouse = deployment(google).open_warehouse(connection, "s")
    assert warehouse.rows("SELECT 1", "EU") == [(1,)]
    assert google.signed_in == [EMAIL]
    assert google.bearers == ["Bearer theirs"]
    assert google.paths == ["/bigquery/v2/projects/payer-project/queries"]


def test_without_a_key_nobody_signs_in_as_somebody_else(google: Google) -> None:
    document = {"source_type": "bigquery", "project": "their-project", "use_runner_account": True}
    connection = BigQueryConnection.model_validate(document)
    assert deployment(google).open_warehouse(connection, "s").rows("SELECT 1", "EU") == [(1,)]
    # Over HTTP to a stand-in the process has no token of its own to send.
    assert (google.signed_in, google.bearers) == ([], [None])
