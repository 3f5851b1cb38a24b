"""Executions of one deployed workflow: started, followed, cancelled. They live in memory."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from local.workflows import model
from local.workflows.clock import Clock
from local.workflows.engine import Engine
from local.workflows.errors import ExecutionCancelled, Frame, WorkflowError
from local.workflows.http_calls import HttpClient
from local.workflows.limits import ARGUMENT_BYTES
from local.workflows.shown import context, payload
from local.workflows.values import INT_MAX, INT_MIN

logger = logging.getLogger(__name__)

State = Literal["ACTIVE", "SUCCEEDED", "FAILED", "CANCELLED"]
REVISION = "000001-local"


class ArgumentError(ValueError):
    """An execution's argument that the service does not accept."""


@dataclass(frozen=True)
class Failure:
    """Why an execution failed, as the API has it: JSON text, text with the call stack, the stack."""

    payload: str
    context: str
    frames: tuple[Frame, ...] = ()


@dataclass
class Execution:
    """One execution; ``started`` and ``ended`` in seconds since 1970. Changed by its thread only."""

    id: str
    argument: str
    started: float
    labels: Mapping[str, str] = field(default_factory=dict)
    state: State = "ACTIVE"
    ended: float | None = None
    result: str = ""
    failure: Failure | None = None
    current: Frame | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Deployment:
    """A workflow as it is deployed: its definition and what its executions get to see.

    ``env`` are the user's environment variables, ``endpoints`` a root URL by service for connectors.
    """

    definition: model.Definition
    name: str
    project: str
    location: str
    env: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    project_number: str = "100000000001"

    @property
    def service_account(self) -> str:
        """The identity of its requests."""
        return f"workflows@{self.project}.iam.gserviceaccount.com"

    @property
    def resource(self) -> str:
        """``projects/.../locations/.../workflows/...``."""
        return f"projects/{self.project}/locations/{self.location}/workflows/{self.name}"

    def environment(self, execution_id: str) -> dict[str, str]:
        """What ``sys.get_env`` reads: the built-in variables and the user's."""
        return {
            **self.env,
            "GOOGLE_CLOUD_LOCATION": self.location,
            "GOOGLE_CLOUD_PROJECT_ID": self.project,
            "GOOGLE_CLOUD_PROJECT_NUMBER": self.project_number,
            "GOOGLE_CLOUD_SERVICE_ACCOUNT_NAME": self.service_account,
            "GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID": execution_id,
            "GOOGLE_CLOUD_WORKFLOW_ID": self.name,
            "GOOGLE_CLOUD_WORKFLOW_REVISION_ID": REVISION,
        }


def parse_argument(text: str) -> object:
    """The argument's value; an empty text is null.

    Raises:
        ArgumentError: no JSON, above 32 KB, or with integers above 64 bits.
    """
    if len(text.encode()) > ARGUMENT_BYTES:
        raise ArgumentError(f"the argument has more than {ARGUMENT_BYTES} bytes")
    if not text:
        return None

    def integer(digits: str) -> int:
        value = int(digits)
        if not INT_MIN <= value <= INT_MAX:
            raise ArgumentError(f"{digits} in the argument does not fit into 64 bits")
        return value

    try:
        return json.loads(text, parse_int=integer)
    except json.JSONDecodeError as error:
        raise ArgumentError(f"the argument is not JSON: {error}") from error


class Executions:
    """Starts executions of one deployment, each in a thread of its own."""

    def __init__(
        self,
        deployment: Deployment,
        clock: Clock,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.deployment = deployment
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self._all: dict[str, Execution] = {}

    def create(self, argument: str, labels: Mapping[str, str] | None = None) -> Execution:
        """Start an execution.

        Raises:
            ArgumentError: an argument that can not be used; nothing was started.
        """
        value = parse_argument(argument)
        execution = Execution(self._new_id(), argument, self._clock.now(), dict(labels or {}))
        with self._lock:
            self._all[execution.id] = execution
        threading.Thread(
            target=self._run, args=(execution, value), name=f"execution-{execution.id}", daemon=True
        ).start()
        return execution

    def get(self, execution_id: str) -> Execution | None:
        """The execution of that id."""
        return self._all.get(execution_id)

    def newest_first(self) -> list[Execution]:
        """All executions, the last one started first."""
        with self._lock:
            return list(reversed(self._all.values()))

    def cancel(self, execution: Execution) -> bool:
        """Cancel an execution; False when it had already ended. Its thread ends at its next step."""
        with self._lock:
            if execution.state != "ACTIVE":
                return False
            self._end(execution, "CANCELLED")
        execution.cancelled.set()
        return True

    def cancel_all(self) -> None:
        """Cancel every execution that still runs."""
        for execution in self.newest_first():
            self.cancel(execution)

    def _run(self, execution: Execution, argument: object) -> None:
        def moved(frame: Frame) -> None:
            execution.current = frame

        engine = Engine(
            self.deployment.definition,
            self.deployment.environment(execution.id),
            self._clock,
            HttpClient(self.deployment.service_account),
            self.deployment.endpoints,
            execution.cancelled,
            moved,
        )
        try:
            result = engine.run(argument)
        except ExecutionCancelled:
            return
        except WorkflowError as error:
            self._finish(execution, "FAILED", failure=Failure(payload(error), context(error), error.frames))
        except Exception as error:
            # The thread's edge: a fault of the interpreter itself must end the execution, visibly.
            logger.exception("execution %s broke the interpreter", execution.id)
            text = json.dumps({"message": f"internal error: {error!r}", "tags": ["SystemError"]})
            self._finish(
                execution, "FAILED", failure=Failure(text, f"SystemError: internal error: {error!r}")
            )
        else:
            self._finish(execution, "SUCCEEDED", result=result)

    def _finish(
        self, execution: Execution, state: State, *, result: str = "", failure: Failure | None = None
    ) -> None:
        with self._lock:
            if execution.state == "ACTIVE":  # a cancellation that came first stands
                execution.result, execution.failure = result, failure
                self._end(execution, state)

    def _end(self, execution: Execution, state: State) -> None:
        execution.ended = self._clock.now()
        execution.state = state
        execution.done.set()
