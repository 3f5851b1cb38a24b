"""What people ask of a deployment before they run anything: does a connection work, what would land.

The function ``plan`` answers, because it has the network and the secrets that reach the sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from etl_runner import operations
from etl_runner.errors import ConfigError, Problem
from etl_runner.gcp.deployment import Deployment
from etl_runner.http import text_field

PREVIEW_ROWS = 20
Operation = Callable[[Deployment, dict[str, Any]], dict[str, Any]]


def plan_or_answer(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """``operations.plan``, or what ``operation`` names: ``test_connection``, ``preview``."""
    named = body.get("operation", "plan")
    operation = _OPERATIONS.get(named) if isinstance(named, str) else None
    if operation is None:
        allowed = ", ".join(_OPERATIONS)
        raise ConfigError("request", (Problem("operation", "is none of this function", None, allowed),))
    return operation(deployment, body)


def test_connection(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """``{connection: id | document, table?}`` to ``{ok, message, retry}``; what is wrong is an answer, too.

    A document in the request may hold credentials themselves, which stay in memory. It may not name any:
    whoever may call this function could send a secret that it can read to a server of their own.

    Raises:
        ConfigError: the document is missing or wrong.
    """
    from etl_runner.config.load import load_connection, parse_connection
    from etl_runner.config.resolved import secrets_of
    from etl_runner.config.secrets import SecretRef
    from etl_runner.connections.check import Surroundings, verdict

    table = text_field(body, "table") if body.get("table") is not None else None
    given = body.get("connection")
    if isinstance(given, dict):
        connection = parse_connection(given, name="connection").connection
        for name, secret in secrets_of(connection).items():
            if isinstance(secret, SecretRef):
                problem = Problem(
                    f"connection.{name}",
                    "names a secret, and a request may not; store the connection and test it by its id",
                )
                raise ConfigError("request", (problem,))
    else:
        connection = load_connection(deployment.config, text_field(body, "connection")).stored()
    settings = deployment.settings
    around = Surroundings(settings.project, settings.storage_endpoint, settings.bigquery_endpoint)
    found = verdict(connection, deployment.secrets, around, table)
    return {"ok": found.ok, "message": found.sentence, "retry": found.retry}


def preview(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """``{source_id, rows?}`` to a :class:`~etl_runner.planning.preview.Preview`; 20 rows unless told."""
    from etl_runner.planning.preview import preview as read

    rows = body.get("rows", PREVIEW_ROWS)
    if isinstance(rows, bool) or not isinstance(rows, int):
        raise ConfigError("request", (Problem("rows", "is not a whole number"),))
    source_id = text_field(body, "source_id")
    made = read(deployment.load_source(source_id), deployment.planner(), deployment.open_source, rows)
    return asdict(made)


_OPERATIONS: dict[str, Operation] = {
    "plan": operations.plan,
    "test_connection": test_connection,
    "preview": preview,
}
