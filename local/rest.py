"""JSON over HTTP to servers of this machine, with nothing but the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from etl_runner.errors import PermanentError

# An outside proxy has no business between servers of one machine.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(
    method: str,
    url: str,
    body: Any = None,
    *,
    timeout: float = 30.0,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """One request; status, and the answer's JSON, or its text where it is none. A body of bytes is sent as
    it is.

    Raises:
        PermanentError: nobody answers there.
    """
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310 - the callers' own URLs
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _decoded(error.read())
    except OSError as error:
        raise PermanentError(f"{method} {url}: no answer ({error})") from error


def create(url: str, body: Any) -> None:
    """POST a resource that may be there already.

    Raises:
        PermanentError: it was refused for another reason, which the message gives.
    """
    status, answer = call("POST", url, body)
    if status not in (200, 201, 409):
        raise PermanentError(f"POST {url} answered {status}: {answer}")


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
