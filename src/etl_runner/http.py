"""HTTP around the functions: JSON in, one call, JSON out; errors as their status and one body.

The body of every error is ``{"error": {"type", "message", "problems": [{path, message, ...}]}}``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from etl_runner.errors import ConfigError, EtlError, Problem, problems_of

log = logging.getLogger(__name__)

Answer = tuple[dict[str, Any], int]


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
