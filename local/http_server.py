"""A small threaded HTTP server on loopback for the stand-ins that speak JSON."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_log = logging.getLogger(__name__)

Handler = Callable[[str, str, dict[str, str], bytes], tuple[int, Any]]
"""(method, path, query parameters, body) to (status, JSON value)."""


class JsonServer:
    """Serves a handler from threads of its own."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._server = QuietServer(("127.0.0.1", port), _request_class(handler))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop serving. Safe to repeat."""
        self._server.shutdown()
        self._server.server_close()


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that went away before they had their answer: a killed process does."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the error, as the base class does, unless the connection is what failed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _request_class(handler: Handler) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            try:
                status, value = handler(self.command, url.path, query, body)
            except Exception as error:  # noqa: BLE001 - logged, and answered as a 500
                _log.exception("%s %s failed", self.command, url.path)
                status, value = 500, {"error": {"code": 500, "message": repr(error), "status": "INTERNAL"}}
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            _log.debug(format, *args)

    return Request
