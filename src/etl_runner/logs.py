"""JSON lines that Cloud Logging understands and groups by run.

Field names: https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
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

TRACE, SPAN = "_trace", "_span"
"""Fields that say which request a line belongs to."""
_LABELS = ("source_id", "run_id", "epoch", "unit")
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_LEGACY = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]+))?(?:;o=[0-9]+)?")

_REQUEST: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})  # noqa: B039 - never mutated


def trace_fields(headers: Mapping[str, str]) -> dict[str, str]:
    """The trace that a request belongs to, as fields of its lines; nothing where it names none.

    ``traceparent`` (https://www.w3.org/TR/trace-context/#traceparent-header) comes before
    ``X-Cloud-Trace-Context`` (https://cloud.google.com/trace/docs/trace-context#legacy-http-header), whose
    span is decimal.
    """
    parent = _PARENT.fullmatch(headers.get("traceparent", "").strip())
    if parent is not None and set(parent[1]) != {"0"}:
        return {TRACE: parent[1], SPAN: parent[2]}
    legacy = _LEGACY.fullmatch(headers.get("X-Cloud-Trace-Context", "").strip())
    if legacy is None:
        return {}
    fields = {TRACE: legacy[1].lower()}
    if legacy[2] is not None and int(legacy[2]) < 2**64:
        fields[SPAN] = f"{int(legacy[2]):016x}"
    return fields


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
        request_trace, span = line.pop(TRACE, None), line.pop(SPAN, None)
        labels = {f"etl_{name}": str(line[name]) for name in _LABELS if line.get(name) is not None}
        if labels:
            line["logging.googleapis.com/labels"] = labels
        run_id = line.get("run_id")
        if run_id is not None:
            line["logging.googleapis.com/operation"] = {"id": str(run_id), "producer": "etl-runner"}
            if self._project is not None and request_trace is None:
                # No request to belong to: all of the run's own lines are one trace. A trace id is 32
                # hexadecimal digits; the same run gives the same one in every process.
                trace = hashlib.blake2b(str(run_id).encode(), digest_size=16).hexdigest()
                line["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{trace}"
        if request_trace is not None and self._project is not None:
            # Cloud Logging shows these lines under the request's own.
            line["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{request_trace}"
            if span is not None:
                line["logging.googleapis.com/spanId"] = span
        if record.exc_info:
            # Error Reporting finds the stack in the message.
            line["message"] += "\n" + self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class NamedFormatter(logging.Formatter):
    """Text whose first line names source, run, epoch and unit, for handlers that take nothing but a text."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        fields = {**_REQUEST.get(), **getattr(record, "fields", {})}
        named = " ".join(f"{name}={fields[name]}" for name in _LABELS if fields.get(name) is not None)
        text = super().formatMessage(record)
        return f"{text} [{named}]" if named else text


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
