"""The origin of a failed call is found under what clients wrap around it."""

from __future__ import annotations

import socket
import ssl

import pytest

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.network import socket_error, unreachable


def _raised(url: str) -> BaseException:
    import requests

    with pytest.raises(requests.RequestException) as caught:
        requests.get(url, timeout=5)
    return caught.value


def test_requests_errors_are_seen_through() -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        origin = socket_error(_raised(f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert isinstance(origin, ConnectionRefusedError)
    assert isinstance(socket_error(_raised("http://no-such-host.invalid/")), socket.gaierror)


def test_each_origin_has_its_sentence() -> None:
    def told(error: OSError) -> str:
        return str(unreachable(error, "Bucket b", host="h", timeout=15, reach="endpoint"))

    assert "'h' cannot be resolved; check endpoint" in told(socket.gaierror(socket.EAI_NONAME, "no"))
    assert "not be resolved at the moment" in told(socket.gaierror(socket.EAI_AGAIN, "later"))
    assert "certificate was not accepted" in told(ssl.SSLCertVerificationError("bad"))
    assert "TLS could not be agreed on" in told(ssl.SSLError(1, "bad"))
    assert "no answer within 15 s" in told(TimeoutError())
    assert "refused" in told(ConnectionRefusedError())


def test_what_another_attempt_can_mend_is_to_be_retried() -> None:
    def kind(error: OSError) -> type:
        return type(unreachable(error, "B", host="h", timeout=1))

    assert kind(TimeoutError()) is RetryableError
    assert kind(ConnectionResetError()) is RetryableError
    assert kind(socket.gaierror(socket.EAI_NONAME, "no")) is PermanentError
    assert kind(ssl.SSLCertVerificationError("bad")) is PermanentError


def test_an_error_without_a_socket_behind_it_has_none() -> None:
    assert socket_error(ValueError("x")) is None
