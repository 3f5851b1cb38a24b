"""Connectors: ``googleapis.<service>.<version>.<resource>.<method>``, sent as REST to given endpoints.

Paths and parameters are those of the services' discovery documents (the tests compare them). Retries,
polling and errors follow "Understand connectors": GET is retried as idempotent, all else as not;
long-running operations are polled after 1 s, each wait 1.25 times the one before, 60 s at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from local.workflows import stdlib
from local.workflows.errors import WorkflowError, tagged
from local.workflows.http_calls import HttpClient, Response, http_error
from local.workflows.limits import CONNECTOR_DEFAULT_TIMEOUT, CONNECTOR_TIMEOUT, HTTP_TIMEOUT
from local.workflows.source import Mapping as SourceMapping
from local.workflows.source import Scalar
from local.workflows.values import is_number, to_json, to_text, type_name

_PARAMS = ("timeout", "polling_policy", "skip_polling", "scopes")
_POLLING = ("initial_delay", "multiplier", "max_delay")
_RETRIES = 5


class Host(stdlib.Host, Protocol):
    """What connectors need of the execution that calls them."""

    @property
    def client(self) -> HttpClient:
        """Sends the requests."""

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Root URL by service, e.g. ``{"run": "http://127.0.0.1:8081"}``."""

    def count_step(self) -> None:
        """One more step, against the limit: every poll counts."""


@dataclass(frozen=True)
class Method:
    """A method of a service, as its discovery document has it.

    ``path`` is relative to the service's root, with ``{name}`` and ``{+name}`` (slashes kept);
    ``operations`` is where its operation is polled, ``{+name}`` being the operation's name, or None for
    methods that answer at once.
    """

    service: str
    verb: str
    path: str
    query: tuple[str, ...] = ()
    body: bool = False
    operations: str | None = None

    def path_parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(re.findall(r"\{\+?(\w+)\}", self.path))

    def arguments(self) -> tuple[str, ...]:
        """The arguments of a step that calls it."""
        body = ("body",) if self.body else ()
        return (*self.path_parameters(), *self.query, *body, "connector_params")

    def required(self) -> frozenset[str]:
        """The arguments that it can not do without."""
        return frozenset(self.path_parameters())


_RUN = "googleapis.run.v2.projects.locations"
_DATAFLOW = "googleapis.dataflow.v1b3.projects.locations"
_DATAFLOW_PATH = "v1b3/projects/{projectId}/locations/{location}"
_PAGES = ("pageSize", "pageToken")

METHODS: dict[str, Method] = {
    f"{_RUN}.jobs.get": Method("run", "GET", "v2/{+name}"),
    f"{_RUN}.jobs.run": Method("run", "POST", "v2/{+name}:run", body=True, operations="v2/{+name}"),
    f"{_RUN}.jobs.executions.cancel": Method(
        "run", "POST", "v2/{+name}:cancel", body=True, operations="v2/{+name}"
    ),
    f"{_RUN}.jobs.executions.get": Method("run", "GET", "v2/{+name}"),
    f"{_RUN}.jobs.executions.list": Method("run", "GET", "v2/{+parent}/executions", (*_PAGES, "showDeleted")),
    f"{_RUN}.operations.get": Method("run", "GET", "v2/{+name}"),
    f"{_DATAFLOW}.flexTemplates.launch": Method(
        "dataflow", "POST", f"{_DATAFLOW_PATH}/flexTemplates:launch", body=True
    ),
    f"{_DATAFLOW}.jobs.get": Method("dataflow", "GET", _DATAFLOW_PATH + "/jobs/{jobId}", ("view",)),
    f"{_DATAFLOW}.jobs.list": Method(
        "dataflow", "GET", f"{_DATAFLOW_PATH}/jobs", (*_PAGES, "filter", "name", "view")
    ),
    f"{_DATAFLOW}.jobs.update": Method(
        "dataflow", "PUT", _DATAFLOW_PATH + "/jobs/{jobId}", ("updateMask",), body=True
    ),
}
"""The methods that definitions may call. A further one is a further line here."""


def constant_problems(args: SourceMapping) -> list[tuple[int, str]]:
    """What is wrong with ``connector_params`` that stand in the source as constants: (line, message)."""
    found = []
    params = args.get("connector_params")
    if not isinstance(params, SourceMapping):
        return []
    for key, line, _ in params.items:
        if key not in _PARAMS:
            found.append((line, f"{key!r} can not stand in connector_params"))
    timeout = params.get("timeout")
    if (
        isinstance(timeout, Scalar)
        and is_number(timeout.value)
        and not 0 < timeout.value <= CONNECTOR_TIMEOUT
    ):
        found.append((timeout.line, f"a timeout is above 0 and at most {CONNECTOR_TIMEOUT} seconds"))
    polling = params.get("polling_policy")
    if isinstance(polling, SourceMapping):
        for key, line, _ in polling.items:
            if key not in _POLLING:
                found.append((line, f"{key!r} can not stand in polling_policy"))
    return found


def call(name: str, args: Mapping[str, Any], host: Host) -> Any:
    """Run a connector's step: the response's body; of a long-running operation, its response.

    Raises:
        WorkflowError: HttpError, ConnectionError and the like; OperationError with ``operation`` and
            ``error`` when the operation failed; TimeoutError when it was not done in time.
    """
    method = METHODS[name]
    params = args.get("connector_params") or {}
    timeout = params.get("timeout", CONNECTOR_DEFAULT_TIMEOUT)
    if not is_number(timeout) or not 0 < timeout <= CONNECTOR_TIMEOUT:
        raise tagged(
            "ValueError", f"{name}: timeout is above 0 and at most {CONNECTOR_TIMEOUT}, not {timeout}"
        )
    deadline = host.now() + timeout
    content = to_json(args.get("body") or {}).encode() if method.body else None
    query = {key: to_text(args[key]) for key in method.query if args.get(key) is not None}
    url = _url(host, method.service, _expand(name, method.path, args))
    operation = _send(host, method.verb, url, query, content, deadline, name).body()
    if method.operations is None or params.get("skip_polling") is True:
        return operation
    polling = {
        "initial_delay": 1.0,
        "multiplier": 1.25,
        "max_delay": 60.0,
        **(params.get("polling_policy") or {}),
    }
    return _finished(host, method, operation, deadline, timeout, polling, name)


def _finished(
    host: Host,
    method: Method,
    operation: Any,
    deadline: float,
    timeout: float,
    polling: Mapping[str, float],
    name: str,
) -> Any:
    delay = polling["initial_delay"]
    while True:
        if not isinstance(operation, dict) or not isinstance(operation.get("name"), str):
            raise tagged("ResponseTypeError", f"{name}: the response is no long-running operation")
        if operation.get("done"):
            break
        left = deadline - host.now()
        if left <= 0:
            raise tagged("TimeoutError", f"{name}: the operation was not done within {timeout} seconds")
        host.sleep(min(delay, left))
        delay = min(delay * polling["multiplier"], polling["max_delay"])
        host.count_step()
        url = _url(host, method.service, _expand(name, method.operations or "", operation))
        operation = _send(host, "GET", url, {}, None, deadline, name).body()
    error = operation.get("error")
    if error:
        message = error.get("message") if isinstance(error, dict) else None
        raise tagged(
            "OperationError",
            message or "Long-running operation returned unsuccessfully",
            operation=operation,
            error=error,
        )
    return operation.get("response")


def _send(
    host: Host,
    verb: str,
    url: str,
    query: Mapping[str, str],
    content: bytes | None,
    deadline: float,
    name: str,
) -> Response:
    """One request, repeated as connectors repeat them."""
    policy = stdlib.RETRY_POLICIES[
        "http.default_retry" if verb == "GET" else "http.default_retry_non_idempotent"
    ]
    predicate = stdlib.FUNCTIONS[policy["predicate"]].run
    delay = policy["backoff"]["initial_delay"]
    headers = {"Accept": "application/json", **host.client.authorization({"type": "OAuth2"}, url)}
    if content is not None:
        headers["Content-Type"] = "application/json"
    for attempt in range(_RETRIES + 1):
        try:
            response = host.client.send(
                verb, url, headers=headers, query=query, content=content, timeout=HTTP_TIMEOUT
            )
            if 200 <= response.code <= 299:
                return response
            raise http_error(response)
        except WorkflowError as error:
            if attempt == _RETRIES or not error.catchable or not predicate(error.value):
                raise
            if host.now() + delay > deadline:
                raise
        host.sleep(delay)
        delay = min(delay * policy["backoff"]["multiplier"], policy["backoff"]["max_delay"])
    raise AssertionError(f"{name}: the last attempt neither returned nor raised")


def _url(host: Host, service: str, path: str) -> str:
    root = host.endpoints.get(service)
    if root is None:
        raise tagged("SystemError", f"no endpoint is configured for the service {service}")
    return f"{root.rstrip('/')}/{path}"


def _expand(name: str, path: str, args: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        plus, key = match.groups()
        found = args.get(key)
        if not isinstance(found, str) or not found:
            raise tagged("TypeError", f"{name}: {key} is a string, not a {type_name(found)}")
        return quote(found, safe="/" if plus else "")

    return re.sub(r"\{(\+?)(\w+)\}", value, path)
