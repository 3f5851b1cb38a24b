"""Starting a run and asking after it: the workflow's executions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from etl_runner.settings import Settings

ExecutionState = Literal["active", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Execution:
    """One execution of the workflow. Its id is the run's id, unless it was started for a run that has one."""

    name: str
    state: ExecutionState
    result: Any = None
    """What the workflow returned, once it has succeeded."""
    error: str | None = None
    """The sentence of the error that ended it."""
    error_code: int | None = None
    """The HTTP status of that error, where it came from a function or a service."""
    given_run_id: str | None = None

    @property
    def run_id(self) -> str:
        return self.given_run_id or self.name.rpartition("/")[2]


class Executions(Protocol):
    """Executions of the deployment's workflow."""

    def start(self, source_id: str, run_id: str | None = None) -> Execution:
        """Start a run of the source; ``run_id``: that of a run for which a request was left."""

    def get(self, execution: Execution) -> Execution:
        """The execution as it is now."""

    def find(self, run_id: str) -> Execution | None:
        """The execution of a run; None where there is none, or none that is active and has another id."""

    def cancel(self, execution: Execution) -> None:
        """Cancel an execution; one that is over stays as it is."""


_LOOK_THROUGH = 2_000
"""Executions, newest first, among which one with another id than its run's is looked for."""


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

    def start(self, source_id: str, run_id: str | None = None) -> Execution:
        from etl_runner.gcp.faults import translated

        argument = json.dumps({"source_id": source_id, **({"run_id": run_id} if run_id else {})})
        with translated(f"start {self._parent}"):
            return _read(self._api().create_execution(parent=self._parent, execution={"argument": argument}))

    def get(self, execution: Execution) -> Execution:
        from etl_runner.gcp.faults import translated

        with translated(f"look at {execution.name}"):
            return _read(self._api().get_execution(name=execution.name))

    def find(self, run_id: str) -> Execution | None:
        from google.api_core.exceptions import InvalidArgument, NotFound
        from google.cloud.workflows.executions_v1 import ExecutionView, ListExecutionsRequest

        from etl_runner.gcp.faults import translated

        with translated(f"looking for the execution of run {run_id}"):
            try:
                return _read(self._api().get_execution(name=f"{self._parent}/executions/{run_id}"))
            except (NotFound, InvalidArgument):  # a run that was given its id
                pass
            request = ListExecutionsRequest(parent=self._parent, view=ExecutionView.FULL, page_size=100)
            for number, execution in enumerate(self._api().list_executions(request=request)):
                found = _read(execution)
                if found.run_id == run_id and found.state == "active":
                    return found
                if number == _LOOK_THROUGH:
                    break
        return None

    def cancel(self, execution: Execution) -> None:
        from google.api_core.exceptions import FailedPrecondition

        from etl_runner.gcp.faults import translated

        with translated(f"cancelling {execution.name}"):
            try:
                self._api().cancel_execution(name=execution.name)
            except FailedPrecondition:
                return  # it is over

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
    message, code = _error(execution.error.payload, execution.error.context)
    return Execution(
        name=execution.name,
        state=_STATES.get(execution.state.name, "active"),
        result=json.loads(execution.result) if execution.result else None,
        error=message,
        error_code=code,
        given_run_id=_given_run_id(execution.argument),
    )


def _given_run_id(argument: str) -> str | None:
    try:
        value = json.loads(argument or "null")
    except ValueError:
        return None
    run_id = value.get("run_id") if isinstance(value, dict) else None
    return str(run_id) if run_id else None


def _error(payload: str, context: str) -> tuple[str | None, int | None]:
    """Sentence and HTTP status in an execution's error.

    The payload is the JSON of whatever was raised; an HTTP error carries the answer's body, in which our
    functions say ``{"error": {"message"}}``.
    https://cloud.google.com/workflows/docs/reference/syntax/error-types#http-errors
    """
    try:
        raised = json.loads(payload)
    except ValueError:
        return payload or context or None, None
    if not isinstance(raised, dict):
        return str(raised), None
    body = raised.get("body")
    inner = body.get("error") if isinstance(body, dict) else None
    told = inner.get("message") if isinstance(inner, dict) else None
    code = raised.get("code")
    return str(told or raised.get("message") or payload), code if isinstance(code, int) else None
