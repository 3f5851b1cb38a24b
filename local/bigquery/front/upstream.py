"""Talking to local-bigquery."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any

from local.bigquery.front.messages import Answer

_IDLE_SECONDS = 2.0  # local-bigquery closes connections that are idle for five
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class UpstreamUnavailable(Exception):  # noqa: N818 - says what is the case
    """local-bigquery did not answer."""


class Upstream:
    """Forwards requests over one kept connection per thread. A request is never repeated."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._local = threading.local()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request and its whole answer.

        Raises:
            UpstreamUnavailable: the connection failed; the request may have had its effect.
        """
        connection = self._connection()
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            payload = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._local.connection = None
            raise UpstreamUnavailable(f"local-bigquery did not answer {method} {path}: {error!r}") from error
        self._local.used = time.monotonic()
        kept = {key: value for key, value in response.getheaders() if key.lower() not in _HOP_BY_HOP}
        return Answer(response.status, payload, kept)

    def get_json(self, path: str) -> Any | None:
        """A resource; None when it is not found.

        Raises:
            UpstreamUnavailable: no answer, or one that is neither 200 nor 404.
        """
        answer = self.send("GET", path)
        if answer.status == http.client.NOT_FOUND:
            return None
        if answer.status != http.client.OK:
            raise UpstreamUnavailable(f"GET {path} answered {answer.status}: {answer.body[:300]!r}")
        return json.loads(answer.body)

    def query(self, project: str, sql: str) -> list[list[str | None]]:
        """The rows of a query, each value as text.

        Raises:
            UpstreamUnavailable: the query failed.
        """
        body = json.dumps({"query": sql, "useLegacySql": False, "timeoutMs": 60_000}).encode()
        headers = {"Content-Type": "application/json"}
        answer = self.send("POST", f"/bigquery/v2/projects/{project}/queries", body, headers)
        if answer.status != http.client.OK:
            raise UpstreamUnavailable(f"a query of the front failed: {answer.body[:300]!r}")
        rows = json.loads(answer.body).get("rows", ())
        return [[cell["v"] for cell in row["f"]] for row in rows]

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None and time.monotonic() - self._local.used > _IDLE_SECONDS:
            connection.close()
            connection = None
        if connection is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=600)
            self._local.connection = connection
        return connection
