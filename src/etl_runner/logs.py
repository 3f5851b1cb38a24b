"""JSON lines that Cloud Logging understands and groups by run.

Field names: https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

_SEVERITIES = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARNING",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "CRITICAL",
}
_LIBRARIES = ("google", "urllib3", "grpc", "pg8000")
"""Chatty below WARNING, and not about the run."""

_REQUEST: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})  # noqa: B039 - never mutated


@contextmanager
def log_fields(fields: Mapping[str, Any]) -> Iterator[None]:
    """Let every line of this request bear ``fields``: one process serves many runs."""
    token = _REQUEST.set(fields)
    try:
        yield
    finally:
        _REQUEST.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: severity, time, message, the process's context, the record's own fields.

    A record's fields are given as ``extra={"fields": {...}}``. With ``run_id`` in the context, all lines
    of a run share one trace and one operation, which is what the Logs Explorer groups by.
    """

    def __init__(self, context: Mapping[str, Any] | None = None, project: str | None = None) -> None:
        super().__init__()
        self._context = {key: value for key, value in (context or {}).items() if value is not None}
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "severity": _SEVERITIES.get(record.levelno, "DEFAULT"),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "message": record.getMessage(),
            "logger": record.name,
            **self._context,
            **_REQUEST.get(),
            **getattr(record, "fields", {}),
        }
        run_id = line.get("run_id")
        if run_id is not None:
            line["logging.googleapis.com/operation"] = {"id": str(run_id), "producer": "etl-runner"}
            if self._project is not None:
                # A trace id is 32 hexadecimal digits; the same run gives the same one in every process.
                trace = hashlib.blake2b(str(run_id).encode(), digest_size=16).hexdigest()
                line["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{trace}"
        if record.exc_info:
            # Error Reporting finds the stack in the message.
            line["message"] += "\n" + self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(
    context: Mapping[str, Any] | None = None,
    *,
    project: str | None = None,
    level: int = logging.INFO,
    stream: TextIO | None = None,
) -> None:
    """Send all logging of this process to ``stream`` (standard output) as JSON lines.

    Args:
        context: fields that every line bears, such as ``run_id``, ``source_id``, ``task``.
        project: the project that traces belong to.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(context, project))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
