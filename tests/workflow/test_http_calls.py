"""http.*: what is sent, what comes back, and the errors."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from local.workflows.errors import WorkflowError
from tests.workflow.running import run
from tests.workflow.servers import Reply, Request, Script, ScriptedServer


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Iterator[ScriptedServer]:
    server = ScriptedServer(script)
    yield server
    server.stop()


def call(server: ScriptedServer, function: str = "http.get", path: str = "/x", **args: Any) -> Any:
    step = {"call": function, "args": {"url": server.url + path, **args}, "result": "response"}
    return run(json.dumps([{"a": step}, {"b": {"return": "${response}"}}]))


def fails(*args: Any, **options: Any) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        call(*args, **options)
    return caught.value


def test_a_json_response_is_decoded(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, {"a": [1]}, "application/json; charset=utf-8")]
    response = call(server)
    assert response["body"] == {"a": [1]}
    assert response["code"] == 200
    assert response["headers"]["Content-Type"] == "application/json; charset=utf-8"


def test_text_stays_text_and_nothing_is_null(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, b"plain", "text/plain"), Reply(204, b"", "text/plain")]
    assert call(server)["body"] == "plain"
    assert call(server)["body"] is None


@pytest.mark.parametrize(
    ("function", "method"),
    [("http.post", "POST"), ("http.put", "PUT"), ("http.patch", "PATCH"), ("http.delete", "DELETE")],
)
def test_bodies_are_sent_as_json(server: ScriptedServer, script: Script, function: str, method: str) -> None:
    script.replies["/x"] = [Reply(200, {})]
    call(server, function, body={"n": 1, "s": "ä"}, headers={"X-Run": "r"}, query={"q": "a b", "l": [1, 2]})
    request = server.requests[0]
    assert request.method == method
    assert request.body == {"n": 1, "s": "ä"}
    assert request.headers["Content-Type"].startswith("application/json")
    assert request.headers["X-Run"] == "r"
    assert request.path == "/x?q=a+b&l=1&l=2"


def test_request_takes_its_method(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, {})]
    call(server, "http.request", method="put", body="text")
    assert server.requests[0].method == "PUT"
    assert server.requests[0].headers["Content-Type"].startswith("text/plain")
    assert fails(server, "http.request", method="BREW").tags == ("ValueError",)


@pytest.mark.parametrize(("auth", "audience"), [({"audience": "https://a"}, "https://a"), ({}, None)])
def test_an_oidc_token_names_audience_and_account(
    server: ScriptedServer, script: Script, auth: dict[str, str], audience: str | None
) -> None:
    script.replies["/x"] = [Reply(200, {})]
    call(server, auth={"type": "OIDC", **auth})
    kind, token = server.requests[0].headers["Authorization"].split()
    parts = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    assert (kind, len(parts)) == ("Bearer", 3)
    assert claims["aud"] == (audience or server.url + "/x")
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["exp"] - claims["iat"] == 3600


def test_an_oauth_token_is_opaque(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, {})]
    call(server, auth={"type": "OAuth2"})
    assert server.requests[0].headers["Authorization"].startswith("Bearer ya29.")


def test_without_auth_no_token_is_sent(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, {})]
    call(server)
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("code", [301, 400, 404, 422, 429, 500, 503])
def test_other_statuses_are_errors_with_their_response(
    server: ScriptedServer, script: Script, code: int
) -> None:
    script.replies["/x"] = [Reply(code, {"error": {"message": "why"}})]
    error = fails(server)
    assert error.tags == ("HttpError",)
    assert error.value["code"] == code
    assert error.value["body"] == {"error": {"message": "why"}}
    assert error.value["message"] == f"HTTP server responded with error code {code}"
    assert "Content-Type" in error.value["headers"]


def test_json_that_is_none_is_a_response_type_error(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, b"{", "application/json")]
    assert fails(server).tags == ("ResponseTypeError",)


def test_connections_that_fail_and_that_break(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [None]
    assert fails(server).tags == ("ConnectionError",)
    server.url = "http://127.0.0.1:9"
    assert fails(server).tags == ("ConnectionFailedError",)


def test_a_silent_server_is_a_timeout() -> None:
    release = threading.Event()

    def wait(request: Request) -> Reply:
        release.wait(30)
        return Reply(200, {})

    server = ScriptedServer(wait)
    try:
        assert fails(server, timeout=0.05).tags == ("TimeoutError",)
    finally:
        release.set()
        server.stop()


def test_a_response_above_2_mb_ends_the_execution(server: ScriptedServer, script: Script) -> None:
    script.replies["/x"] = [Reply(200, b"x" * (2 * 1024 * 1024 + 1), "text/plain")]
    error = fails(server)
    assert error.tags == ("ResourceLimitError",)
    assert not error.catchable


def test_a_response_above_the_limit_on_variables_can_not_be_kept(
    server: ScriptedServer, script: Script
) -> None:
    script.replies["/x"] = [Reply(200, ["x" * 200_000] * 3)]
    assert fails(server).tags == ("ResourceLimitError",)


@pytest.mark.parametrize("timeout", ["${900 + 901}", "${1 - 1}", "${-1}"])
def test_a_computed_timeout_has_the_same_limits(server: ScriptedServer, timeout: str) -> None:
    assert fails(server, timeout=timeout).tags == ("ValueError",)
    assert not server.requests


def test_arguments_of_another_type(server: ScriptedServer) -> None:
    assert fails(server, timeout='${"5"}').tags == ("TypeError",)
    server.url = "ftp://x"
    assert fails(server).tags == ("ValueError",)
