"""HTTP around the functions: JSON in, one call, JSON out; errors as their status and one body.

A function serves many requests, so its deployment is put together once, at the first.

The body of every error is ``{"error": {"type", "message", "problems": [{path, message, ...}]}}``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from etl_runner.errors import ConfigError, EtlError, Problem, problems_of
from etl_runner.gcp.deployment import Deployment
from etl_runner.logs import configure_logging, log_fields, trace_fields
from etl_runner.settings import Settings

log = logging.getLogger(__name__)

Answer = tuple[dict[str, Any], int]
_LOGGED = ("source_id", "run_id", "epoch")


class Request(Protocol):
    """What is needed of Flask's request."""

    def get_json(self, *, silent: bool) -> Any:
        """The body as JSON; None when it is none."""


@cache
def deployment() -> Deployment:
    """The deployment that this function belongs to.

    Raises:
        ConfigError: its environment is incomplete.
    """
    settings = Settings.from_env()
    configure_logging(project=settings.project)
    return Deployment(settings)


def serve(operation: Callable[[Deployment, dict[str, Any]], dict[str, Any]], request: Request) -> Answer:
    """One call of an operation: a request's JSON body in, a Flask answer out."""
    body = request.get_json(silent=True)
    named = body if isinstance(body, dict) else {}
    traced = trace_fields(getattr(request, "headers", {}))
    with log_fields({**{name: named[name] for name in _LOGGED if name in named}, **traced}):
        return answer(lambda fields: operation(deployment(), fields), body)


def answer(operation: Callable[[dict[str, Any]], dict[str, Any]], body: Any) -> Answer:
    """Run an operation on a request's JSON body and give a Flask answer.

    What nobody foresaw is a 500, which Workflows repeats; its text goes to the log only, since a
    library's message may quote anything.
    """
    try:
        if not isinstance(body, dict):
            raise ConfigError("request", (Problem("", "the body is not a JSON object"),))
        return operation(body), 200
    except EtlError as error:
        level = logging.WARNING if error.http_status < 500 else logging.ERROR
        log.log(level, "%s: %s", type(error).__name__, error)
        return _body(type(error).__name__, str(error), error), error.http_status
    except Exception:
        log.exception("unexpected error")
        return _body("InternalError", "unexpected error; the function's log has it", None), 500


def text_field(body: dict[str, Any], name: str, pattern: str = "") -> str:
    """A required text field of a request.

    Raises:
        ConfigError: it is missing or not text.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value:
        found = "nothing" if value is None else type(value).__name__
        raise ConfigError(
            "request", (Problem(name, "is required and has to be text", found, pattern or None),)
        )
    return value


def number_field(body: dict[str, Any], name: str) -> int:
    """A required whole number of a request.

    Raises:
        ConfigError: it is missing or not a whole number.
    """
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        found = "nothing" if value is None else type(value).__name__
        raise ConfigError("request", (Problem(name, "is required and has to be a whole number", found),))
    return value


def _body(kind: str, message: str, error: EtlError | None) -> dict[str, Any]:
    problems = [problem.to_json() for problem in problems_of(error)] if isinstance(error, ConfigError) else []
    return {"error": {"type": kind, "message": message, "problems": problems}}
