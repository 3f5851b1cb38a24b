"""A control plane: HTTP over a socket, which believes only tokens that its issuer signed for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

AUDIENCE = "https://control.example.com"


class Issuer:
    """Signs tokens with a key of its own."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._signer = crypt.RSASigner.from_string(pem, key_id="k1")  # type: ignore[no-untyped-call]

    def token(self, audience: str = AUDIENCE, seconds: int = 3600) -> str:
        now = int(time.time())
        claims = {"iss": "issuer", "sub": "runner", "aud": audience, "iat": now - 60, "exp": now + seconds}
        token: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return token.decode()


@dataclass
class Server:
    """A running control plane: what it serves, and what it was told."""

    issuer: Issuer
    configs: dict[str, Any] = field(default_factory=dict)
    updates: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], bool] | None = None
    """Answers instead, where it returns True."""
    url: str = ""

    def valid(self, header: str) -> bool:
        try:
            token = header.removeprefix("Bearer ")
            jwt.decode(token, certs={"k1": self.issuer.public}, audience=AUDIENCE)  # type: ignore[no-untyped-call]
        except Exception:
            return False
        self.tokens.append(token)
        return True


@contextmanager
def control_plane(issuer: Issuer) -> Iterator[Server]:
    served = Server(issuer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source_id = self.path.removeprefix("/api/etl/job-config/").removesuffix("/")
            if self._refused():
                return
            found = served.configs.get(source_id)
            self._send(404 if found is None else 200, found)

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._refused():
                return
            served.updates.append((self.path.split("/")[4], body))
            self._send(200, {})

        def _refused(self) -> bool:
            if not served.valid(self.headers.get("Authorization", "")):
                self._send(401, {"detail": "who are you?"})
                return True
            return served.answer is not None and served.answer(self)

        def _send(self, status: int, value: Any) -> None:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, body: bytes = b"") -> Callable[[BaseHTTPRequestHandler], bool]:
    """An answer of this status and body, to everything."""

    def answer(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body)))
        if 300 <= code < 400:
            handler.send_header("Location", "http://127.0.0.1:1/elsewhere")
        handler.end_headers()
        handler.wfile.write(body)
        return True

    return answer
