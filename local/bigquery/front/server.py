"""The HTTP side of the front."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

from local.bigquery.front import messages
from local.bigquery.front.facts import Strictness
from local.bigquery.front.faults import Fault, Faults, LoggedRequest, RequestLog
from local.bigquery.front.messages import Answer
from local.bigquery.front.registry import JobRegistry
from local.bigquery.front.service import Request, Service
from local.bigquery.front.storage import SourceObjects
from local.bigquery.front.upstream import Upstream, UpstreamUnavailable
from local.http_server import QuietServer

_JOB_IN_PATH = re.compile(r"/projects/[^/]+/(?:jobs|queries)/([^/?]+)")
_KEPT_REQUEST_HEADERS = ("content-type", "accept", "if-match", "authorization", "content-range", "user-agent")


class Front:
    """A running front. ``port`` 0 takes a free one; it listens on loopback only."""

    def __init__(
        self,
        *,
        upstream_port: int,
        storage_endpoint: str,
        data_dir: Path,
        location: str,
        port: int = 0,
        strictness: Strictness | None = None,
    ) -> None:
        self.faults = Faults()
        self.log = RequestLog()
        self.objects = SourceObjects(storage_endpoint, location)
        self._registry = JobRegistry(data_dir / "front.sqlite")
        self.service = Service(
            Upstream("127.0.0.1", upstream_port),
            self.objects,
            self._registry,
            self.faults,
            location=location,
            strictness=strictness or Strictness(),
        )
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.front = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="bigquery-front", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, close what is open."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.objects.close()
        self._registry.close()


class _Server(QuietServer):
    block_on_close = False
    front: Front


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers are small and wanted at once.
    disable_nagle_algorithm = True

    def _front(self) -> Front:
        return cast(_Server, self.server).front

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal: the log is at /_requests."""

    def _handle(self) -> None:
        front = self._front()
        body = self._body()
        if self.path.startswith("/_"):
            self._send(self._administer(front, body))
            return
        job_id = _job_id(self.command, self.path, body)
        fault = front.faults.strike(self.command, self.path, job_id)
        headers = {key: value for key, value in self.headers.items() if key.lower() in _KEPT_REQUEST_HEADERS}
        request = Request(self.command, self.path, headers, body)
        if fault is not None and fault.action == "error":
            answer = messages.error(fault.status, fault.error_reason, fault.message)
        else:
            try:
                answer = front.service.answer(request, fault)
            except UpstreamUnavailable as error:
                answer = messages.error(503, "backendError", str(error))
        lost = fault is not None and fault.action == "lost_response"
        name = fault.action if fault is not None else None
        # Logged before it is sent: who has the answer finds the request in the log.
        front.log.add(LoggedRequest(self.command, self.path, job_id, 0 if lost else answer.status, name))
        if lost:
            self._hang_up()
        else:
            self._send(answer)

    def _body(self) -> bytes:
        body = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _administer(self, front: Front, body: bytes) -> Answer:
        path = urllib.parse.urlsplit(self.path).path
        try:
            if path == "/_faults":
                return _administer_faults(front, self.command, body)
            if path == "/_requests" and self.command == "GET":
                return Answer.json({"requests": front.log.listed()})
            if path == "/_requests" and self.command == "DELETE":
                front.log.clear()
                return Answer.json({})
            if path.startswith("/_buckets/") and self.command == "PUT":
                bucket = urllib.parse.unquote(path.removeprefix("/_buckets/"))
                front.objects.set_bucket_location(bucket, str(json.loads(body)["location"]))
                return Answer.json({})
        except (ValueError, KeyError, TypeError) as error:
            return messages.error(400, "invalid", str(error))
        return messages.error(404, "notFound", f"{self.command} {path} is none of the front's own endpoints")


def _administer_faults(front: Front, method: str, body: bytes) -> Answer:
    if method == "POST":
        front.faults.add(Fault.from_json(json.loads(body)))
    elif method == "DELETE":
        front.faults.clear()
    return Answer.json({"faults": front.faults.listed()})


def _job_id(method: str, path: str, body: bytes) -> str | None:
    """The job that a request is about: from its path, or from the body of an insertion."""
    found = _JOB_IN_PATH.search(path)
    if found:
        return urllib.parse.unquote(found.group(1))
    if method == "POST" and urllib.parse.urlsplit(path).path.endswith("/jobs"):
        try:
            return (json.loads(body).get("jobReference") or {}).get("jobId")
        except (ValueError, AttributeError):
            return None
    return None
