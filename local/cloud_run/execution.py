"""One execution of a job: its tasks, their attempts, and how the API shows them."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from etl_runner.jsontypes import JsonObject
from local.cloud_run.job import Image, JobSpec
from local.processes import Child, ProcessFailedError

_TYPE = "type.googleapis.com/google.cloud.run.v2."
_STOP_GRACE_SECONDS = 10.0  # from SIGTERM to SIGKILL
_POLL_SECONDS = 0.02
_MAX_PARALLEL = 100  # what the service allows when the job says nothing depends on the region's quota
# google.rpc.Code
_ABORTED = 10


def now() -> str:
    """The time as the API writes it."""
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Task:
    """One task; ``attempt`` counts from 0 and is the number of retries so far."""

    index: int
    attempt: int = 0
    state: str = "pending"
    """pending, running, succeeded, failed or cancelled"""
    message: str = ""
    exit_code: int = 0
    term_signal: int = 0
    started: str | None = None
    completed: str | None = None
    child: Child | None = field(default=None, repr=False)


class Execution:
    """Runs its tasks in threads of its own; ``on_change`` is called, without locks, after every step."""

    def __init__(
        self, job: str, name: str, spec: JobSpec, image: Image, logs: Path, on_change: Callable[[], None]
    ) -> None:
        self.job = job
        self.name = name
        self.spec = spec
        self.operation = f"{job.rsplit('/jobs/', 1)[0]}/operations/{uuid.uuid4()}"
        self.tasks = [Task(index) for index in range(spec.task_count)]
        self._image = image
        self._logs = logs
        self._on_change = on_change
        self._uid = str(uuid.uuid4())
        self._created = now()
        self._completed: str | None = None
        self._cancelled = threading.Event()
        self._retries = 0
        self._thread = threading.Thread(target=self._run, name=self.id, daemon=True)

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[1]

    @property
    def done(self) -> bool:
        """Whether every task has ended."""
        return self._completed is not None

    @property
    def pids(self) -> dict[int, int]:
        """Task index to process id, of the tasks whose process is running."""
        return {t.index: t.child.pid for t in self.tasks if t.child is not None and t.child.running}

    def start(self) -> None:
        """Run the tasks in the background."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop the tasks that run and start no others. Safe to repeat."""
        self._cancelled.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(timeout)

    def log_of(self, index: int, attempt: int) -> Path:
        """Where an attempt's output is."""
        return self._logs / self.id / f"task-{index}-attempt-{attempt}.log"

    def _run(self) -> None:
        with ThreadPoolExecutor(
            max_workers=min(self.spec.parallelism or len(self.tasks), _MAX_PARALLEL)
        ) as pool:
            list(pool.map(self._run_task, self.tasks))
        self._completed = now()
        self._on_change()

    def _run_task(self, task: Task) -> None:
        while not self._cancelled.is_set():
            task.started = task.started or now()
            task.state = "running"
            failure = self._attempt(task)
            if self._cancelled.is_set():
                break
            if failure is None:
                self._end(task, "succeeded")
                return
            task.message = failure
            if task.attempt >= self.spec.max_retries:
                self._end(task, "failed")
                return
            task.attempt += 1
            self._retries += 1
            self._on_change()
        self._end(task, "cancelled")

    def _end(self, task: Task, state: str) -> None:
        task.state = state
        task.completed = now()
        self._on_change()

    def _attempt(self, task: Task) -> str | None:
        """One attempt; None when it succeeded, else what went wrong in the service's words."""
        env = {
            **self._image.env,
            **self.spec.env,
            "CLOUD_RUN_JOB": self.job.rsplit("/", 1)[1],
            "CLOUD_RUN_EXECUTION": self.id,
            "CLOUD_RUN_TASK_INDEX": str(task.index),
            "CLOUD_RUN_TASK_COUNT": str(self.spec.task_count),
            "CLOUD_RUN_TASK_ATTEMPT": str(task.attempt),
        }
        command = [*(self.spec.command or self._image.entry_point), *self.spec.args]
        try:
            task.child = Child.start(
                f"{self.id}-task{task.index}",
                command,
                log=self.log_of(task.index, task.attempt),
                env=env,
                cwd=self._image.workdir,
            )
        except ProcessFailedError as error:
            return f"The container failed to start: {error}"
        self._on_change()
        deadline = time.monotonic() + self.spec.timeout
        while (code := task.child.wait(_POLL_SECONDS)) is None:
            if self._cancelled.is_set():
                task.child.stop(_STOP_GRACE_SECONDS)
                return "The execution was cancelled."
            if time.monotonic() > deadline:
                task.child.stop(_STOP_GRACE_SECONDS)
                return "The configured timeout was reached."
        task.exit_code, task.term_signal = (code, 0) if code >= 0 else (0, -code)
        if code == 0:
            return None
        if code < 0:
            return f"The container exited abnormally with signal {-code}."
        return "The container exited with an error."

    def to_json(self) -> JsonObject:
        """The Execution resource."""
        states = [task.state for task in self.tasks]
        counts = {
            "runningCount": states.count("running"),
            "succeededCount": states.count("succeeded"),
            "failedCount": states.count("failed"),
            "cancelledCount": states.count("cancelled"),
            "retriedCount": self._retries,
        }
        resource: JsonObject = {
            "name": self.name,
            "uid": self._uid,
            "generation": "1",
            "createTime": self._created,
            "startTime": self._created,
            "updateTime": self._completed or now(),
            "job": self.job.rsplit("/", 1)[1],
            "parallelism": self.spec.parallelism,
            "taskCount": self.spec.task_count,
            "template": self.spec.task_template(),
            "reconciling": not self.done,
            "conditions": [self._condition(states)],
            "observedGeneration": "1",
            "logUri": (self._logs / self.id).as_uri(),
            **{name: count for name, count in counts.items() if count},
        }
        if self._completed is not None:
            resource["completionTime"] = self._completed
        return resource

    def _condition(self, states: list[str]) -> JsonObject:
        condition: JsonObject = {"type": "Completed", "lastTransitionTime": self._completed or self._created}
        if not self.done:
            return condition | {"state": "CONDITION_RECONCILING"}
        if "failed" in states:
            return condition | {
                "state": "CONDITION_FAILED",
                "message": self._failure(),
                "executionReason": "NON_ZERO_EXIT_CODE",
            }
        if "cancelled" in states:
            return condition | {
                "state": "CONDITION_FAILED",
                "message": "The execution was cancelled.",
                "executionReason": "CANCELLED",
            }
        return condition | {"state": "CONDITION_SUCCEEDED"}

    def _failure(self) -> str:
        task = next(task for task in self.tasks if task.state == "failed")
        return f"Task {self.id}-task{task.index} failed with message: {task.message}"

    def task_json(self, task: Task) -> JsonObject:
        """A Task resource."""
        resource: JsonObject = {
            "name": f"{self.name}/tasks/{self.id}-task{task.index}",
            "uid": str(uuid.uuid5(uuid.UUID(self._uid), str(task.index))),
            "job": self.job.rsplit("/", 1)[1],
            "execution": self.id,
            "index": task.index,
            "retried": task.attempt,
            "maxRetries": self.spec.max_retries,
            "timeout": f"{self.spec.timeout:g}s",
            "logUri": self.log_of(task.index, task.attempt).as_uri(),
            "conditions": [{"type": "Completed", "state": _CONDITION_OF[task.state]}],
        }
        if task.started is not None:
            resource |= {"startTime": task.started}
        if task.completed is not None:
            resource |= {"completionTime": task.completed}
            status = {"code": 0 if task.state == "succeeded" else _ABORTED, "message": task.message}
            resource["lastAttemptResult"] = {
                "status": status,
                "exitCode": task.exit_code,
                "termSignal": task.term_signal,
            }
        return resource

    def operation_json(self) -> JsonObject:
        """The long-running operation that ``jobs.run`` answers with.

        A failed task makes it an error. A cancelled execution does not: it is a response whose
        ``cancelledCount`` tells, so a caller has to look at the counts.
        """
        execution = {"@type": _TYPE + "Execution", **self.to_json()}
        operation: JsonObject = {"name": self.operation, "metadata": execution, "done": self.done}
        if self.done:
            if any(task.state == "failed" for task in self.tasks):
                operation["error"] = {"code": _ABORTED, "message": self._failure()}
            else:
                operation["response"] = execution
        return operation


_CONDITION_OF = {
    "pending": "CONDITION_PENDING",
    "running": "CONDITION_RECONCILING",
    "succeeded": "CONDITION_SUCCEEDED",
    "failed": "CONDITION_FAILED",
    "cancelled": "CONDITION_FAILED",
}
