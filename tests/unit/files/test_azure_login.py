"""Signing in as an application, against a server that speaks the token endpoint's protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.files.stores.azure_login import SCOPE, ClientSecretLogin

SECRET = "hunter2~secret"


@dataclass
class Authority:
    """Gives tokens for the one secret."""

    url: str = ""
    status: int | None = None
    code: str = "AADSTS7000215"
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def authority() -> Iterator[Authority]:
    made = Authority()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            made.asked.append(form)
            made.paths.append(self.path)
            status = made.status or (200 if form["client_secret"] == SECRET else 401)
            answer = (
                {"access_token": f"token-{len(made.asked)}", "expires_in": 3600}
                if status == 200
                else {"error": "invalid_client", "error_description": f"{made.code}: Invalid. {SECRET}"}
            )
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def _login(authority: Authority, secret: str = SECRET, now: list[float] | None = None) -> ClientSecretLogin:
    clock = now if now is not None else [1_000.0]
    return ClientSecretLogin(
        "tenant-1",
        "app-1",
        secret,
        place="Azure container c",
        authority=authority.url,
        clock=lambda: clock[0],
    )


def test_a_token_of_the_storage_service_is_kept_until_near_its_end(authority: Authority) -> None:
    now = [1_000.0]
    login = _login(authority, now=now)
    assert login.get_token(SCOPE).token == login.get_token(SCOPE).token == "token-1"
    assert authority.paths == ["/tenant-1/oauth2/v2.0/token"]
    (form,) = authority.asked
    assert (form["grant_type"], form["client_id"], form["scope"]) == ("client_credentials", "app-1", SCOPE)
    now[0] += 3600 - 200
    assert login.get_token(SCOPE).token == "token-2"
    assert SECRET not in repr(login)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AADSTS7000215", "client_secret is not"),
        ("AADSTS7000222", "has expired"),
        ("AADSTS700016", "check client_id"),
        ("AADSTS90002", "check tenant_id"),
        ("AADSTS1", "check tenant_id, client_id and client_secret"),
    ],
)
def test_a_refusal_names_what_to_check_and_not_the_secret(
    authority: Authority, code: str, words: str
) -> None:
    authority.code = code
    with pytest.raises(PermanentError, match=words) as caught:
        _login(authority, "wrong").get_token(SCOPE)
    assert SECRET not in str(caught.value)


def test_a_busy_service_may_be_asked_again(authority: Authority) -> None:
    authority.status = 503
    with pytest.raises(RetryableError, match="busy"):
        _login(authority).get_token(SCOPE)
