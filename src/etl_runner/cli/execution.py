"""Starting a run and asking after it: the workflow's executions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from etl_runner.gcp.faults import translated
from etl_runner.settings import Settings

ExecutionState = Literal["active", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Execution:
    """One execution of the workflow. Its id is the run's id."""

    name: str
    state: ExecutionState
    result: Any = None
    """What the workflow returned, once it has succeeded."""
    error: str | None = None
    """The error that ended it."""

    @property
    def run_id(self) -> str:
        return self.name.rpartition("/")[2]


class Executions(Protocol):
    """Executions of the deployment's workflow."""

    def start(self, source_id: str) -> Execution:
        """Start a run of the source."""

    def get(self, execution: Execution) -> Execution:
        """The execution as it is now."""


class WorkflowExecutions:
    """:class:`Executions` over the Workflows Executions API.

    https://cloud.google.com/workflows/docs/reference/executions/rest
    """

    def __init__(self, settings: Settings, client: Callable[[], Any]) -> None:
        self._parent = (
            f"projects/{settings.project}/locations/{settings.location}/workflows/{settings.workflow}"
        )
        self._make_client = client
        self._client: Any = None

    def start(self, source_id: str) -> Execution:
        argument = json.dumps({"source_id": source_id})
        with translated(f"start {self._parent}"):
            return _read(self._api().create_execution(parent=self._parent, execution={"argument": argument}))

    def get(self, execution: Execution) -> Execution:
        with translated(f"look at {execution.name}"):
            return _read(self._api().get_execution(name=execution.name))

    def _api(self) -> Any:
        if self._client is None:
            self._client = self._make_client()
        return self._client


_STATES: dict[str, ExecutionState] = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "UNAVAILABLE": "failed",
}


def _read(execution: Any) -> Execution:
    return Execution(
        name=execution.name,
        state=_STATES.get(execution.state.name, "active"),
        result=json.loads(execution.result) if execution.result else None,
        error=_message(execution.error.payload, execution.error.context) if execution.error else None,
    )


def _message(payload: str, context: str) -> str | None:
    """The sentence in an execution's error: the payload is JSON whose shape depends on what was raised."""
    try:
        value = json.loads(payload)
    except ValueError:
        value = payload
    while isinstance(value, dict):
        inner = value.get("message") or value.get("body") or value.get("error")
        if inner is None:
            value = json.dumps(value)
        else:
            value = inner
    return str(value or context or "") or None
