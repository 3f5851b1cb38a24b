"""An error as an execution shows it."""

from __future__ import annotations

from local.workflows.errors import WorkflowError
from local.workflows.values import to_json


def payload(error: WorkflowError) -> str:
    """The error as the execution's ``error.payload`` has it: JSON text."""
    return to_json(error.value)


def context(error: WorkflowError) -> str:
    """The error as ``error.context`` has it: what happened, and the call stack below it."""
    value = error.value
    message = value.get("message") if isinstance(value, dict) else None
    if error.tags and isinstance(message, str):
        head = message if "HttpError" in error.tags else f"{error.tags[0]}: {message}"
    else:
        head = f"RuntimeError: {payload(error)}"
    lines = [
        f'in step "{frame.step}", routine "{frame.routine}", line: {frame.line}' for frame in error.frames
    ]
    return "\n".join([head, *lines])
