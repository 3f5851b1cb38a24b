"""The control plane's HTTP API, as it is in use: three paths below one URL, JSON both ways.

``GET /api/etl/job-config/<id>/`` gives a source document in the flat form,
``PATCH /api/etl/runs/<id>/update/`` takes a run's status. Each request carries an OIDC token of the
service account (https://cloud.google.com/docs/authentication/get-id-token), and no redirect is followed: it
would take the token elsewhere.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from etl_runner import jsontypes
from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.sources.network import socket_error, unreachable

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
TOTAL_SECONDS = 30.0
"""One request, however slowly its answer drips."""
MAX_BYTES = 1 << 20
"""Of an answer; a source document is some kilobytes."""
EARLY_SECONDS = 300
Token = Callable[[], str]


class ControlPlane:
    """A client. Safe for use by several threads."""

    def __init__(self, url: str, token: Token | None, *, total_seconds: float = TOTAL_SECONDS) -> None:
        """
        Args:
            url: everything before ``/api/``, without a slash at its end.
            token: gives the bearer token; None sends none.
            total_seconds: that one request may take.
        """
        self._url = url
        self._token = token
        self._total = total_seconds
        self.place = f"control plane {url}"

    def job_config(self, source_id: str) -> bytes | None:
        """The source's document as JSON text; None when the control plane has none.

        Raises:
            RetryableError: it is busy, slow or cannot be reached.
            PermanentError: it refuses, or its answer is no JSON object.
        """
        status, body = self._call("GET", f"/api/etl/job-config/{quote(source_id, safe='')}/", None)
        if status == 404:
            return None
        self._check(status, f"asking for source {source_id}")
        try:
            value = jsontypes.loads(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise PermanentError(f"{self.place}: the answer for source {source_id} is not a JSON object")
        return body

    def update_run(self, run_id: str, fields: Mapping[str, Any]) -> None:
        """Tell what became of a run.

        Raises:
            RetryableError: as above.
            PermanentError: it refuses.
        """
        path = f"/api/etl/runs/{quote(run_id, safe='')}/update/"
        status, _ = self._call("PATCH", path, dict(fields))
        self._check(status, f"reporting run {run_id}")

    def _check(self, status: int, doing: str) -> None:
        if 200 <= status < 300:
            return
        if status in (408, 425, 429) or status >= 500:
            raise RetryableError(f"{self.place}, while {doing}: busy or out of order ({status})")
        if status == 401:
            raise PermanentError(
                f"{self.place}, while {doing}: the token was not accepted (401); check"
                " ETL_CONTROL_PLANE_AUDIENCE and which service account the control plane expects"
            )
        if status == 403:
            raise PermanentError(f"{self.place}, while {doing}: this service account may not (403)")
        raise PermanentError(f"{self.place}, while {doing}: refused ({status})")

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        import requests

        headers = {"Accept": "application/json", "User-Agent": "etl-runner"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        try:
            with requests.request(
                method,
                f"{self._url}{path}",
                json=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, min(READ_SECONDS, self._total)),
                allow_redirects=False,
                stream=True,
            ) as answer:
                return answer.status_code, self._read(answer)
        except requests.RequestException as error:
            failure = self._failure(error)
        raise failure

    def _read(self, answer: Any) -> bytes:
        until = time.monotonic() + self._total
        data = b""
        for piece in answer.iter_content(64 << 10):
            data += piece
            if len(data) > MAX_BYTES:
                raise PermanentError(f"{self.place}: the answer is longer than {MAX_BYTES} bytes")
            if time.monotonic() > until:
                raise RetryableError(f"{self.place}: the answer was not complete within {self._total:g} s")
        return data

    def _failure(self, error: Exception) -> EtlError:
        origin = socket_error(error)
        if origin is None:
            import requests

            if isinstance(error, requests.Timeout):
                return RetryableError(f"{self.place}: no answer within {READ_SECONDS:g} s")
            return RetryableError(f"{self.place}: the connection failed ({type(error).__name__})")
        host = self._url.partition("://")[2].partition("/")[0]
        return unreachable(
            origin,
            self.place,
            host=host,
            timeout=self._total,
            reach="ETL_CONTROL_PLANE_URL",
            tls="its certificate",
        )


class IdToken:
    """OIDC tokens of this process's service account for one audience, each used until near its end."""

    def __init__(
        self, audience: str, fetch: Callable[[str], str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """``fetch`` gets a fresh token for an audience; the metadata server's, or the key's, when absent."""
        self._audience = audience
        self._fetch = fetch or _fetched
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def __repr__(self) -> str:
        return f"IdToken({self._audience!r})"

    def __call__(self) -> str:
        """A token.

        Raises:
            RetryableError, PermanentError: there is none for this process.
        """
        with self._lock:
            if self._clock() >= self._until - EARLY_SECONDS:
                self._token = self._fetch(self._audience)
                self._until = _expiry(self._token)
            return self._token


def _fetched(audience: str) -> str:
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request
    from google.oauth2.id_token import fetch_id_token

    try:
        return str(fetch_id_token(Request(), audience))  # type: ignore[no-untyped-call]
    except TransportError:
        failure: EtlError = RetryableError("the metadata server gives no identity token at the moment")
    except GoogleAuthError:
        failure = PermanentError(
            "this process has no service account to prove who it is to the control plane: an identity"
            " token is for service accounts only"
        )
    raise failure


def _expiry(token: str) -> float:
    """``exp`` of a JWT, in seconds of the epoch; 0 where it cannot be read, so that it is used once."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0
