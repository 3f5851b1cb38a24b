from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from etl_runner.controlplane.client import ControlPlane, IdToken
from etl_runner.errors import PermanentError, RetryableError

from .server import AUDIENCE, Issuer, Server, control_plane, status


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def server(issuer: Issuer) -> Iterator[Server]:
    with control_plane(issuer) as served:
        yield served


def _client(server: Server, token: str | None = None) -> ControlPlane:
    return ControlPlane(server.url, lambda: token or server.issuer.token(), total_seconds=5)


def test_a_document_is_served_to_who_proves_who_they_are(server: Server) -> None:
    server.configs["orders"] = {"source_type": "gcs"}
    assert _client(server).job_config("orders") == b'{"source_type": "gcs"}'
    assert _client(server).job_config("others") is None


def test_others_are_refused_and_the_sentence_says_what_to_check(server: Server) -> None:
    server.configs["orders"] = {}
    wrong = {
        "another issuer": Issuer().token(),
        "another audience": server.issuer.token(audience="https://elsewhere.example.com"),
        "expired": server.issuer.token(seconds=-600),
        "no token": "nonsense",
    }
    for kind, token in wrong.items():
        with pytest.raises(PermanentError, match="ETL_CONTROL_PLANE_AUDIENCE") as caught:
            _client(server, token).job_config("orders")
        assert token not in str(caught.value), kind
    with pytest.raises(PermanentError, match="401"):
        ControlPlane(server.url, None).job_config("orders")
    assert server.tokens == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_control_plane_that_is_down_may_be_asked_again(server: Server, code: int) -> None:
    server.answer = status(code)
    with pytest.raises(RetryableError, match=str(code)):
        _client(server).job_config("orders")
    with pytest.raises(RetryableError, match=str(code)):
        _client(server).update_run("r1", {})


def test_nonsense_is_told_as_such(server: Server) -> None:
    for body in (b"<html>", b"[]", b"", b"\xff"):
        server.answer = status(200, body)
        with pytest.raises(PermanentError, match="is not a JSON object"):
            _client(server).job_config("orders")
    server.answer = status(200, b"x" * (2 << 20))
    with pytest.raises(PermanentError, match="longer than"):
        _client(server).job_config("orders")


def test_a_redirect_is_not_followed_with_the_token(server: Server) -> None:
    server.answer = status(302)
    with pytest.raises(PermanentError, match="302"):
        _client(server).job_config("orders")


def test_a_slow_answer_ends_in_time(server: Server) -> None:
    released = threading.Event()

    def never(handler: BaseHTTPRequestHandler) -> bool:
        released.wait(60)
        return True

    server.answer = never
    slow = ControlPlane(server.url, server.issuer.token, total_seconds=0.2)
    try:
        with pytest.raises(RetryableError, match="no answer within"):
            slow.job_config("orders")
    finally:
        released.set()


def test_nobody_there_is_to_be_tried_again() -> None:
    with pytest.raises(RetryableError, match="refused"):
        ControlPlane("http://127.0.0.1:1", None).job_config("orders")


def test_a_token_is_used_until_shortly_before_its_end(issuer: Issuer) -> None:
    asked: list[str] = []
    now = [0.0]

    def fetch(audience: str) -> str:
        asked.append(audience)
        return issuer.token(audience, seconds=3600)

    import time

    now[0] = time.time()
    token = IdToken(AUDIENCE, fetch, lambda: now[0])
    assert token() == token()
    assert asked == [AUDIENCE]
    now[0] += 3600 - 200
    token()
    assert asked == [AUDIENCE, AUDIENCE]
    assert token() not in repr(token)
