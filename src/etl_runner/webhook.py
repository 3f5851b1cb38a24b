"""The path under which a control plane's schedulers start runs, served by the function ``trigger``.

``POST .../api/etl/sources/<id>/scheduler-webhook/`` starts the workflow; any other path is the workflow's own
call.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from etl_runner import http, jsontypes, operations
from etl_runner.errors import ConfigError, Problem
from etl_runner.gcp.deployment import Deployment

_PATH = re.compile(r"(?:^|/)api/etl/sources/([A-Za-z0-9_-]{1,128})/scheduler-webhook/?$")


class Request(http.Request, Protocol):
    """What is needed of Flask's request."""

    @property
    def path(self) -> str:
        """The path of its URL."""

    @property
    def method(self) -> str:
        """GET, POST, ..."""


class _Named:
    """A request whose body does not matter: its path says everything."""

    def __init__(self, source_id: str) -> None:
        self._source_id = source_id

    def get_json(self, *, silent: bool) -> Any:
        del silent
        return {"source_id": self._source_id}


def serve(request: Request) -> http.Answer:
    """The webhook, or else one call of ``operations.trigger``."""
    match = _PATH.search(request.path)
    if match is None:
        return http.serve(operations.trigger, request)
    if request.method != "POST":
        message = "starting a run is a POST"
        return {"error": {"type": "ConfigError", "message": message, "problems": []}}, 405
    return http.serve(start, _Named(match[1]))


def start(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """Start the workflow for a source: ``{source_id}`` to ``{status: started, source_id, run_id}``.

    Called twice, it starts two executions, of which the source's slot admits one.

    Raises:
        ConfigError: the source's document is missing or wrong; no execution is started then.
        RetryableError, PermanentError: Workflows did not take it.
    """
    from etl_runner.gcp.clients import executions_client
    from etl_runner.gcp.faults import translated

    source_id = body["source_id"]
    if not isinstance(source_id, str):
        raise ConfigError("request", (Problem("source_id", "is not text"),))
    deployment.load_source(source_id)
    settings = deployment.settings
    parent = f"projects/{settings.project}/locations/{settings.location}/workflows/{settings.workflow}"
    argument = jsontypes.dumps({"source_id": source_id}).decode()
    with translated(f"starting {parent}"):
        client: Any = executions_client(settings)
        made = client.create_execution(parent=parent, execution={"argument": argument})
    return {"status": "started", "source_id": source_id, "run_id": str(made.name).rpartition("/")[2]}
