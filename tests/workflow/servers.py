"""Small scripted servers: the three functions, and Cloud Run's REST API."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request that a scripted server has seen."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What a scripted server answers; ``content`` is JSON unless it is bytes."""

    code: int
    content: Any = None
    content_type: str = "application/json"


class ScriptedServer:
    """Answers with what ``answer`` returns and keeps the requests; None closes the connection unanswered."""

    def __init__(self, answer: Callable[[Request], Reply | None]) -> None:
        self.requests: list[Request] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = raw
                request = Request(self.command, self.path, dict(self.headers.items()), body)
                outer.requests.append(request)
                reply = answer(request)
                if reply is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                content = reply.content
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(reply.code)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except ConnectionError:  # the client had enough, which some tests are about
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *args: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FakeClock:
    """Waits take no time at all, and move the clock."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.sleeps: list[float] = []

    def now(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float, cancelled: threading.Event) -> None:
        with self._lock:
            self.sleeps.append(seconds)
            self._now += seconds


@dataclass
class Script:
    """Replies by path, one after the other; the last one is repeated."""

    replies: dict[str, list[Reply | None]] = field(default_factory=dict)

    def __call__(self, request: Request) -> Reply | None:
        path = request.path.partition("?")[0]
        replies = self.replies.get(path)
        if not replies:
            return Reply(404, {"error": {"message": f"nothing is scripted for {path}"}})
        return replies.pop(0) if len(replies) > 1 else replies[0]
