"""``http.*``: requests with the service's arguments, limits and errors ("Make an HTTP request").

Tokens have the shape of Google's, so that a receiver's checks of audience, issuer and expiry can run; they
are not signed, since no key of the service is here.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from local.workflows.errors import WorkflowError, limit_exceeded, tagged
from local.workflows.limits import HTTP_DEFAULT_TIMEOUT, HTTP_TIMEOUT, RESPONSE_BYTES
from local.workflows.source import Mapping as SourceMapping
from local.workflows.source import Scalar
from local.workflows.values import is_number, to_json, to_text, type_name

METHODS: dict[str, str | None] = {
    "http.delete": "DELETE",
    "http.get": "GET",
    "http.patch": "PATCH",
    "http.post": "POST",
    "http.put": "PUT",
    "http.request": None,
}
"""The functions, and the HTTP method of each; ``http.request`` takes it as an argument."""

_VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_TOKEN_SECONDS = 3600
_CHUNK = 64 * 1024


def arguments(name: str) -> tuple[str, ...]:
    """The arguments that a function takes."""
    method = ("method",) if METHODS[name] is None else ()
    body = () if METHODS[name] == "GET" else ("body",)
    return ("url", *method, "timeout", *body, "headers", "query", "auth")


def required(name: str) -> frozenset[str]:
    """The arguments that it can not do without."""
    return frozenset({"url", "method"} if METHODS[name] is None else {"url"})


def constant_problems(args: SourceMapping) -> list[tuple[int, str]]:
    """What is wrong with arguments that stand in the source as constants: (line, message)."""
    found = []
    timeout = args.get("timeout")
    if isinstance(timeout, Scalar) and is_number(timeout.value) and not 0 < timeout.value <= HTTP_TIMEOUT:
        found.append((timeout.line, f"a timeout is above 0 and at most {HTTP_TIMEOUT} seconds"))
    auth = args.get("auth")
    if isinstance(auth, SourceMapping):
        for key, line, _ in auth.items:
            if key not in ("type", "audience", "scope", "scopes"):
                found.append((line, f"{key!r} can not stand in auth"))
        kind = auth.get("type")
        if kind is None:
            found.append((auth.line, "auth needs its type, OIDC or OAuth2"))
        elif not isinstance(kind, Scalar) or kind.value not in ("OIDC", "OAuth2"):
            found.append((kind.line, "the type of auth is OIDC or OAuth2"))
    return found


@dataclass(frozen=True)
class Response:
    """A response: status, headers by their canonical names, and the body's bytes."""

    code: int
    headers: Mapping[str, str]
    content: bytes

    def body(self) -> Any:
        """The body by its content type: JSON decoded, text as a string, anything else as bytes."""
        if not self.content:
            return None
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            try:
                return json.loads(self.content)
            except ValueError as error:
                raise tagged(
                    "ResponseTypeError", f"the response is not the JSON it says it is: {error}"
                ) from error
        if kind.startswith("text/"):
            return self.content.decode(errors="replace")
        return self.content

    def as_value(self) -> dict[str, Any]:
        """What the ``result`` of a step holds."""
        return {"body": self.body(), "code": self.code, "headers": dict(self.headers)}


@dataclass
class HttpClient:
    """Sends requests; ``service_account`` is the identity in the tokens."""

    service_account: str
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False  # no proxy and no .netrc of the machine

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        content: bytes | None,
        timeout: float,
    ) -> Response:
        """Send one request; any status is a response.

        Raises:
            WorkflowError: ConnectionFailedError (never connected), ConnectionError (broken off),
                TimeoutError, ResourceLimitError (a response above 2 MB), ValueError (no URL).
        """
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise tagged("ValueError", f"{url!r} is no http or https URL")
        deadline = time.monotonic() + timeout
        try:
            with self.session.request(
                method,
                url,
                headers=dict(headers),
                params=dict(query),
                data=content,
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(_CHUNK):
                    body += chunk
                    if len(body) > RESPONSE_BYTES:
                        raise limit_exceeded(f"the response of {url} is above {RESPONSE_BYTES} bytes")
                    if time.monotonic() > deadline:
                        raise tagged("TimeoutError", f"{url} did not answer within {timeout} seconds")
                named = {name.title(): value for name, value in response.headers.items()}
                return Response(response.status_code, named, bytes(body))
        except requests.Timeout as error:
            raise tagged("TimeoutError", f"{url} did not answer within {timeout} seconds") from error
        except requests.ConnectionError as error:
            if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
                raise tagged("ConnectionFailedError", f"no connection to {url}") from error
            raise tagged("ConnectionError", f"the connection to {url} broke off") from error
        except requests.RequestException as error:
            raise tagged("ConnectionError", f"the request to {url} failed: {type(error).__name__}") from error

    def authorization(self, auth: Mapping[str, Any] | None, url: str) -> dict[str, str]:
        """The Authorization header for an ``auth`` argument.

        Raises:
            WorkflowError: ValueError for a type other than OIDC and OAuth2.
        """
        if auth is None:
            return {}
        kind = auth.get("type")
        if kind == "OIDC":
            return {"Authorization": f"Bearer {self._identity_token(str(auth.get('audience') or url))}"}
        if kind == "OAuth2":
            return {"Authorization": f"Bearer ya29.{_segment({'email': self.service_account})}"}
        raise tagged("ValueError", f"the type of auth is OIDC or OAuth2, not {kind!r}")

    def _identity_token(self, audience: str) -> str:
        issued = int(time.time())
        claims = {
            "aud": audience,
            "azp": self.service_account,
            "email": self.service_account,
            "email_verified": True,
            "exp": issued + _TOKEN_SECONDS,
            "iat": issued,
            "iss": "https://accounts.google.com",
            "sub": self.service_account,
        }
        return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}.{_segment('unsigned')}"


def _segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def call(name: str, args: Mapping[str, Any], client: HttpClient) -> dict[str, Any]:
    """Run an ``http.*`` step: ``{"body", "code", "headers"}``.

    Raises:
        WorkflowError: HttpError for every status outside of 200 to 299, and those of :meth:`HttpClient.send`.
    """
    url = _typed(name, "url", args.get("url"), "string")
    method = METHODS[name] or _typed(name, "method", args.get("method"), "string").upper()
    if method not in _VERBS:
        raise tagged("ValueError", f"{name}: {method} is no HTTP method")
    headers = {key: to_text(value) for key, value in (args.get("headers") or {}).items()}
    content = _content(args.get("body"), headers)
    headers |= client.authorization(args.get("auth"), url)
    query = {key: _query_value(value) for key, value in (args.get("query") or {}).items()}
    timeout = checked_timeout(name, args.get("timeout", HTTP_DEFAULT_TIMEOUT))
    response = client.send(method, url, headers=headers, query=query, content=content, timeout=timeout)
    if not 200 <= response.code <= 299:
        raise http_error(response)
    return response.as_value()


def http_error(response: Response) -> WorkflowError:
    """The error of a response with an error status."""
    message = f"HTTP server responded with error code {response.code}"
    return WorkflowError({**response.as_value(), "message": message, "tags": ["HttpError"]})


def checked_timeout(name: str, timeout: Any) -> float:
    """A request's timeout in seconds, within its limits."""
    if not is_number(timeout):
        raise tagged("TypeError", f"{name}: timeout is a number, not a {type_name(timeout)}")
    if not 0 < timeout <= HTTP_TIMEOUT:
        raise tagged(
            "ValueError", f"{name}: timeout is above 0 and at most {HTTP_TIMEOUT} seconds, not {timeout}"
        )
    return float(timeout)


def _typed(name: str, argument: str, value: Any, kind: str) -> str:
    if type_name(value) != kind:
        raise tagged("TypeError", f"{name}: {argument} is a {kind}, not a {type_name(value)}")
    return str(value)


def _query_value(value: Any) -> Any:
    return [to_text(item) for item in value] if isinstance(value, list) else to_text(value)


def _content(body: Any, headers: dict[str, str]) -> bytes | None:
    """The body's bytes; maps and lists become JSON unless a content type of their own is given."""
    if body is None:
        return None
    if isinstance(body, bytes):
        return body
    named = {key.lower() for key in headers}
    if isinstance(body, str):
        if "content-type" not in named:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return body.encode()
    if "content-type" not in named:
        headers["Content-Type"] = "application/json; charset=utf-8"
    return to_json(body).encode()
