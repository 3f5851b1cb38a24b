"""Jobs and their executions, kept in memory."""

from __future__ import annotations

import secrets
import string
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from etl_runner.jsontypes import JsonObject
from local.cloud_run.errors import ApiError
from local.cloud_run.execution import Execution, Task, now
from local.cloud_run.job import Image, JobSpec, known

_SUFFIX = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Job:
    """A job resource."""

    name: str
    spec: JobSpec
    uid: str
    created: str
    generation: int = 1
    execution_count: int = 0

    def to_json(self) -> JsonObject:
        """The Job resource of the API."""
        return {
            "name": self.name,
            "uid": self.uid,
            "generation": str(self.generation),
            "observedGeneration": str(self.generation),
            "createTime": self.created,
            "updateTime": self.created,
            "launchStage": "GA",
            "template": self.spec.to_json(),
            "executionCount": self.execution_count,
            "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
        }


class CloudRunJobs:
    """The jobs of one server. Thread-safe; resources go in and out as the API's JSON."""

    def __init__(self, image: Image, logs: Path) -> None:
        self._image = image
        self._logs = logs
        self._jobs: dict[str, Job] = {}
        self._executions: dict[str, Execution] = {}
        self._operations: dict[str, JsonObject] = {}
        self._changed = threading.Condition()

    def deploy(self, name: str, spec: JobSpec) -> Job:
        """Create a job, or give it another template."""
        with self._changed:
            old = self._jobs.get(name)
            if old is None:
                job = Job(name, spec, uid=str(uuid.uuid4()), created=now())
            else:
                job = replace(old, spec=spec, generation=old.generation + 1)
            self._jobs[name] = job
            return job

    def create(self, parent: str, job_id: str, resource: JsonObject) -> JsonObject:
        """``jobs.create``: an operation that is done."""
        name = f"{parent}/jobs/{job_id}"
        if not job_id:
            raise ApiError(400, "jobId: is required")
        with self._changed:
            if name in self._jobs:
                raise ApiError(409, f"Resource '{job_id}' already exists.")
        return self._done(parent, self.deploy(name, JobSpec.from_json(resource)))

    def patch(self, name: str, resource: JsonObject) -> JsonObject:
        """``jobs.patch``: an operation that is done."""
        self.get(name)
        return self._done(name.rsplit("/jobs/", 1)[0], self.deploy(name, JobSpec.from_json(resource)))

    def get(self, name: str) -> Job:
        """The job.

        Raises:
            ApiError: 404.
        """
        with self._changed:
            job = self._jobs.get(name)
        if job is None:
            raise ApiError(404, f"Resource '{name.rsplit('/', 1)[1]}' of kind 'JOB' does not exist.")
        return job

    def jobs(self, parent: str) -> list[Job]:
        """The jobs of a location."""
        with self._changed:
            return [job for name, job in self._jobs.items() if name.startswith(f"{parent}/jobs/")]

    def run(self, name: str, request: JsonObject) -> JsonObject:
        """``jobs.run``: start an execution; its operation."""
        known(request, ("name", "validateOnly", "etag", "overrides"), "request")
        job = self.get(name)
        spec = job.spec.overridden(request.get("overrides") or {})
        suffix = "".join(secrets.choice(_SUFFIX) for _ in range(5))
        execution = Execution(
            name,
            f"{name}/executions/{name.rsplit('/', 1)[1]}-{suffix}",
            spec,
            self._image,
            self._logs,
            on_change=self._notify,
        )
        if request.get("validateOnly"):
            return execution.operation_json()
        with self._changed:
            self._jobs[name] = replace(self._jobs[name], execution_count=job.execution_count + 1)
            self._executions[execution.name] = execution
        execution.start()
        return execution.operation_json()

    def execution(self, name: str) -> Execution:
        """The execution.

        Raises:
            ApiError: 404.
        """
        with self._changed:
            execution = self._executions.get(name)
        if execution is None:
            raise ApiError(404, f"Resource '{name.rsplit('/', 1)[1]}' of kind 'EXECUTION' does not exist.")
        return execution

    def executions(self, parent: str) -> list[Execution]:
        """A job's executions, the newest first; ``-`` for the job means every job."""
        prefix = parent.removesuffix("-") if parent.endswith("/-") else f"{parent}/executions/"
        with self._changed:
            names = [name for name in self._executions if name.startswith(prefix)]
            return [self._executions[name] for name in reversed(names)]

    def cancel(self, name: str) -> JsonObject:
        """``executions.cancel``: its operation, which is done when the execution is."""
        execution = self.execution(name)
        if execution.done:
            raise ApiError(400, f"Execution '{execution.id}' has completed and cannot be cancelled.")
        execution.cancel()
        return execution.operation_json()

    def task(self, name: str) -> tuple[Execution, Task]:
        """A task with its execution.

        Raises:
            ApiError: 404.
        """
        execution = self.execution(name.rsplit("/tasks/", 1)[0])
        for task in execution.tasks:
            if execution.task_json(task)["name"] == name:
                return execution, task
        raise ApiError(404, f"Resource '{name.rsplit('/', 1)[1]}' of kind 'TASK' does not exist.")

    def operation(self, name: str) -> JsonObject:
        """``operations.get``.

        Raises:
            ApiError: 404.
        """
        with self._changed:
            if name in self._operations:
                return self._operations[name]
            found = [e for e in self._executions.values() if e.operation == name]
        if not found:
            raise ApiError(404, f"Operation '{name.rsplit('/', 1)[1]}' does not exist.")
        return found[0].operation_json()

    def wait_operation(self, name: str, timeout: float) -> JsonObject:
        """``operations.wait``: the operation when it is done, or as it is after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (operation := self.operation(name))["done"]:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
        return operation

    def stop(self) -> None:
        """Cancel what runs and wait for it."""
        with self._changed:
            running = [execution for execution in self._executions.values() if not execution.done]
        for execution in running:
            execution.cancel()
        for execution in running:
            execution.join()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _done(self, parent: str, job: Job) -> JsonObject:
        resource: Mapping[str, object] = {
            "@type": "type.googleapis.com/google.cloud.run.v2.Job",
            **job.to_json(),
        }
        operation: JsonObject = {
            "name": f"{parent}/operations/{uuid.uuid4()}",
            "metadata": resource,
            "done": True,
            "response": resource,
        }
        with self._changed:
            self._operations[operation["name"]] = operation
        return operation
