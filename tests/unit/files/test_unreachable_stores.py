"""Each cloud's client against a server that says nothing, and one that speaks no TLS: one sentence each."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from etl_runner.config.connections import AzureConnection, BucketConnection, GcsConnection, S3Connection
from etl_runner.config.secrets import EnvFileResolver
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.files.stores import azure, gcs, open_store, s3

KEY = "d3Jvbmc="


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second instead of minutes, and one attempt."""
    monkeypatch.setattr(s3, "READ_SECONDS", 0.5)
    monkeypatch.setattr(s3, "_ATTEMPTS", 1)
    monkeypatch.setattr(gcs, "_TIMEOUT", (0.5, 0.5))
    monkeypatch.setattr(gcs, "_RETRY_SECONDS", 0.5)
    monkeypatch.setitem(azure._OPTIONS, "read_timeout", 0.5)
    monkeypatch.setitem(azure._OPTIONS, "retry_total", 0)


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[int]:
    """A port that answers everything with ``answer``, or never."""
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                held.append(connection)
                if answer is not None:
                    connection.recv(1 << 16)
                    connection.sendall(answer)
                    connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in held:
            connection.close()
        thread.join()


def sentence(cloud: str, endpoint: str) -> tuple[type, str]:
    """What a test of the connection says."""
    documents: dict[str, tuple[type[BucketConnection], dict[str, Any]]] = {
        "gcs": (GcsConnection, {"source_type": "gcs", "bucket": "box", "use_runner_account": True}),
        "s3": (
            S3Connection,
            {
                "source_type": "s3",
                "bucket": "box",
                "access_key_id": "AK",
                "secret_access_key": KEY,
                "endpoint": endpoint,
            },
        ),
        "azure": (
            AzureConnection,
            {
                "source_type": "azure",
                "bucket": "box",
                "account_name": "account",
                "account_key": KEY,
                "endpoint": f"{endpoint}/account",
            },
        ),
    }
    model, document = documents[cloud]
    store = open_store(model.model_validate(document), EnvFileResolver({}), storage_endpoint=endpoint)
    with pytest.raises((PermanentError, RetryableError)) as caught:
        store.check()
    text = str(caught.value)
    assert "\n" not in text
    assert KEY not in text
    return type(caught.value), text


@pytest.mark.parametrize("cloud", ["gcs", "s3", "azure"])
def test_nobody_answers(cloud: str) -> None:
    with server(None) as port:
        kind, text = sentence(cloud, f"http://127.0.0.1:{port}")
    assert kind is RetryableError
    assert "no answer" in text


# Cloud Storage is asked at Google's own endpoint only.
@pytest.mark.parametrize("cloud", ["s3", "azure"])
def test_the_server_speaks_no_tls(cloud: str) -> None:
    with server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        kind, text = sentence(cloud, f"https://127.0.0.1:{port}")
    assert kind is PermanentError
    assert "TLS could not be agreed on" in text
