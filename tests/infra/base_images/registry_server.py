"""A server that answers as registries do, faults included, over real sockets."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tools.base_images.registry import INDEXES

TOKEN = "token-that-nobody-may-see"
Reply = tuple[int, dict[str, str], bytes]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def index_of(name: str) -> bytes:
    """An index of two platforms and an attestation; another name gives another digest."""
    platforms = [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "unknown", "architecture": "unknown"},
    ]
    entries = [
        {"digest": digest_of(f"{name}{at}".encode()), "size": 1, "platform": platform}
        for at, platform in enumerate(platforms)
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": entries}).encode()


class Registry:
    """Tags, and rules that stand before them. A rule answers, or gives None and the next one is asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.tags: dict[str, bytes] = {}
        """``name:tag`` to manifest."""
        self.kinds: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        """Of each manifest's answer, in place of the right ones; an empty value takes a header away."""
        self.rules: list[Callable[[str, str, Any], Reply | None]] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._server.daemon_threads = True
        self.host = f"{host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, content: bytes | None = None, kind: str = INDEXES[0]) -> str:
        """A tag (``name:tag``); its digest."""
        content = index_of(name) if content is None else content
        self.tags[name] = content
        self.kinds[name] = kind
        return digest_of(content)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self) -> list[str]:
        """What was asked for, e.g. ``HEAD library/python:3.11``; a digest stands as ``@``."""
        return [f"{method} {_name(path)}".split("@")[0] for method, path, _ in self.seen if "/v2/" in path]

    def answer(self, method: str, path: str, headers: Any) -> Reply:
        self.seen.append((method, path, dict(headers)))
        for rule in self.rules:
            if (reply := rule(method, path, headers)) is not None:
                return reply
        name = _name(path)
        at = next(
            (tag for tag, held in self.tags.items() if name in (tag, _by_digest(tag, held))),
            None,
        )
        if at is None:
            return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'
        if self.kinds[at] not in headers.get("Accept", ""):
            return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Accept"}]}'
        right = {"Content-Type": self.kinds[at], "Docker-Content-Digest": digest_of(self.tags[at])}
        given = {name: value for name, value in {**right, **self.headers}.items() if value}
        return 200, given, self.tags[at]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, headers, body = registry.answer(self.command, self.path, self.headers)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def registry(host: str = "127.0.0.1") -> Iterator[Registry]:
    started = Registry(host)
    try:
        yield started
    finally:
        started.stop()


def with_tokens(serving: Registry, field: str = "token") -> list[dict[str, list[str]]]:
    """From now on a manifest needs a token of ``/token``; the queries that asked for one."""
    queries: list[dict[str, list[str]]] = []

    def rule(method: str, path: str, headers: Any) -> Reply | None:
        url = urlsplit(path)
        if url.path == "/token":
            queries.append(parse_qs(url.query))
            return 200, {"Content-Type": "application/json"}, json.dumps({field: TOKEN}).encode()
        if headers.get("Authorization") == f"Bearer {TOKEN}":
            return None
        scope = f"repository:{_name(path).rpartition(':')[0]}:pull"
        challenge = f'Bearer realm="http://{serving.host}/token",service="registry.here",scope="{scope}"'
        return 401, {"WWW-Authenticate": challenge}, b"{}"

    serving.rules.append(rule)
    return queries


def times(number: int, reply: Reply) -> Callable[[str, str, Any], Reply | None]:
    """A rule that answers so many times."""
    left = [number]

    def rule(method: str, path: str, headers: Any) -> Reply | None:
        left[0] -= 1
        return reply if left[0] >= 0 else None

    return rule


def _name(path: str) -> str:
    repository, _, wanted = urlsplit(path).path.removeprefix("/v2/").partition("/manifests/")
    return f"{repository}@{wanted}" if wanted.startswith("sha256:") else f"{repository}:{wanted}"


def _by_digest(tag: str, content: bytes) -> str:
    return f"{tag.rpartition(':')[0]}@{digest_of(content)}"
