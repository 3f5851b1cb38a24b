"""The Workflow Executions API over gRPC, and ``GetWorkflow``, for the official clients.

States, results, errors and times are those of ``google.cloud.workflows.executions.v1``; what is refused is
refused with that API's status codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from google.cloud.workflows.executions_v1.types import executions as api
from google.cloud.workflows_v1.types import workflows as workflows_api

from local.workflows.clock import Clock, SystemClock
from local.workflows.connectors import METHODS
from local.workflows.definition import load
from local.workflows.executions import REVISION, ArgumentError, Deployment, Execution, Executions

_EXECUTIONS = "google.cloud.workflows.executions.v1.Executions"
_WORKFLOWS = "google.cloud.workflows.v1.Workflows"
_PAGE = 100


class WorkflowsServer:
    """A running server; ``port`` is where, ``stop()`` ends it and cancels what still runs."""

    def __init__(self, server: grpc.Server, port: int, executions: Executions) -> None:
        self._server = server
        self.port = port
        self.executions = executions

    @property
    def parent(self) -> str:
        """The workflow's resource name: the parent of its executions."""
        return self.executions.deployment.resource

    def wait(self) -> None:
        """Block until the server ends."""
        self._server.wait_for_termination()

    def stop(self) -> None:
        """Cancel running executions and close the port."""
        self.executions.cancel_all()
        self._server.stop(grace=None).wait()


def serve(
    definition: Path,
    *,
    name: str,
    project: str,
    location: str,
    env: Mapping[str, str] | None = None,
    endpoints: Mapping[str, str] | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
    clock: Clock | None = None,
    new_id: Callable[[], str] | None = None,
) -> WorkflowsServer:
    """Check a definition and serve its executions on ``host:port`` (0: a free one).

    ``env`` are the workflow's environment variables; ``endpoints`` holds the root URL of each service
    whose connectors the definition calls, e.g. ``{"run": "http://127.0.0.1:8081"}``.

    Raises:
        DefinitionError: the definition can not be run.
        ValueError: an endpoint is missing, or an environment variable's name is reserved.
        OSError: the port is taken.
    """
    checked = load(definition.read_text(), name=str(definition))
    services = {METHODS[connector].service for connector in checked.connectors}
    missing = sorted(services - set(endpoints or {}))
    if missing:
        raise ValueError(f"{definition} calls connectors of {', '.join(missing)}: name their endpoints")
    reserved = sorted(key for key in env or {} if key.startswith(("GOOGLE", "WORKFLOWS")))
    if reserved:
        raise ValueError(f"names of environment variables may not begin so: {', '.join(reserved)}")
    deployment = Deployment(checked, name, project, location, dict(env or {}), dict(endpoints or {}))
    time_source = clock or SystemClock()
    executions = (
        Executions(deployment, time_source, new_id) if new_id else Executions(deployment, time_source)
    )
    server = grpc.server(futures.ThreadPoolExecutor(8, thread_name_prefix="workflows-api"))
    server.add_generic_rpc_handlers(_handlers(executions))
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} of {host} can not be used") from error
    server.start()
    return WorkflowsServer(server, bound, executions)


def _handlers(executions: Executions) -> tuple[grpc.GenericRpcHandler, ...]:
    service = _Service(executions)
    calls: dict[str, tuple[Any, Any, Any]] = {
        "CreateExecution": (service.create, api.CreateExecutionRequest, api.Execution),
        "GetExecution": (service.get, api.GetExecutionRequest, api.Execution),
        "ListExecutions": (service.list, api.ListExecutionsRequest, api.ListExecutionsResponse),
        "CancelExecution": (service.cancel, api.CancelExecutionRequest, api.Execution),
    }
    workflow: dict[str, tuple[Any, Any, Any]] = {
        "GetWorkflow": (service.workflow, workflows_api.GetWorkflowRequest, workflows_api.Workflow),
    }
    return tuple(
        grpc.method_handlers_generic_handler(
            full_name,
            {
                method: grpc.unary_unary_rpc_method_handler(
                    run, request_deserializer=request.deserialize, response_serializer=response.serialize
                )
                for method, (run, request, response) in methods.items()
            },
        )
        for full_name, methods in ((_EXECUTIONS, calls), (_WORKFLOWS, workflow))
    )


class _Service:
    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._deployment = executions.deployment

    def create(self, request: Any, call: grpc.ServicerContext) -> Any:
        self._check_parent(request.parent, call)
        try:
            execution = self._executions.create(request.execution.argument, dict(request.execution.labels))
        except ArgumentError as error:
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return self._message(execution, full=True)

    def get(self, request: Any, call: grpc.ServicerContext) -> Any:
        basic = request.view == api.ExecutionView.BASIC
        return self._message(self._find(request.name, call), full=not basic)

    def list(self, request: Any, call: grpc.ServicerContext) -> Any:
        self._check_parent(request.parent, call)
        if request.filter or request.order_by:
            call.abort(grpc.StatusCode.UNIMPLEMENTED, "filter and order_by are not supported here")
        if request.page_token and not request.page_token.isdecimal():
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, "the page token is not one of this list's")
        start = int(request.page_token or 0)
        size = min(request.page_size or _PAGE, 1000)
        everything = self._executions.newest_first()
        page = everything[start : start + size]
        full = request.view == api.ExecutionView.FULL
        return api.ListExecutionsResponse(
            executions=[self._message(execution, full=full) for execution in page],
            next_page_token=str(start + size) if start + size < len(everything) else "",
        )

    def cancel(self, request: Any, call: grpc.ServicerContext) -> Any:
        execution = self._find(request.name, call)
        if not self._executions.cancel(execution):
            call.abort(grpc.StatusCode.FAILED_PRECONDITION, f"the execution is {execution.state}")
        return self._message(execution, full=True)

    def workflow(self, request: Any, call: grpc.ServicerContext) -> Any:
        self._check_parent(request.name, call)
        definition = self._deployment.definition
        return workflows_api.Workflow(
            name=self._deployment.resource,
            state=workflows_api.Workflow.State.ACTIVE,
            revision_id=REVISION,
            service_account=self._deployment.service_account,
            source_contents=definition.source,
            user_env_vars=dict(self._deployment.env),
            labels={"source-sha256": hashlib.sha256(definition.source.encode()).hexdigest()[:16]},
        )

    def _check_parent(self, name: str, call: grpc.ServicerContext) -> None:
        if name != self._deployment.resource:
            call.abort(grpc.StatusCode.NOT_FOUND, f"workflow {name!r} was not found")

    def _find(self, name: str, call: grpc.ServicerContext) -> Execution:
        parent, _, execution_id = name.rpartition("/executions/")
        execution = self._executions.get(execution_id) if parent == self._deployment.resource else None
        if execution is None:
            call.abort(grpc.StatusCode.NOT_FOUND, f"execution {name!r} was not found")
        assert execution is not None  # noqa: S101 - abort raises
        return execution

    def _message(self, execution: Execution, *, full: bool) -> Any:
        message = api.Execution(
            name=f"{self._deployment.resource}/executions/{execution.id}",
            start_time=_timestamp(execution.started),
            state=getattr(api.Execution.State, execution.state),
            workflow_revision_id=REVISION,
            labels=dict(execution.labels),
        )
        ended = execution.ended
        if ended is not None:
            message.end_time = _timestamp(ended)
            message.duration = _timestamp(ended) - _timestamp(execution.started)
        if not full:
            return message
        message.argument = execution.argument
        message.result = execution.result
        if execution.current is not None:
            step = {"routine": execution.current.routine, "step": execution.current.step}
            message.status = api.Execution.Status(current_steps=[step])
        failure = execution.failure
        if failure is not None:
            elements = [
                {"routine": frame.routine, "step": frame.step, "position": {"line": frame.line}}
                for frame in failure.frames
            ]
            message.error = api.Execution.Error(
                payload=failure.payload, context=failure.context, stack_trace={"elements": elements}
            )
        return message


def _timestamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
