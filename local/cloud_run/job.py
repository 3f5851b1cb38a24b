"""What a job is: read from the API's JSON, every unknown field refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from etl_runner.jsontypes import JsonObject
from local.cloud_run.errors import ApiError

MAX_TASKS = 10_000
_DURATION = re.compile(r"(\d+(?:\.\d{1,9})?)s")


@dataclass(frozen=True)
class Image:
    """What stands in for a container image.

    ``entry_point`` is the command line that a job without a ``command`` of its own executes, ``env`` what
    every container has from the start (PATH and the like), ``workdir`` where it starts.
    """

    entry_point: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    workdir: Path = Path()


@dataclass(frozen=True)
class JobSpec:
    """The task template with the execution template's numbers. ``timeout`` is in seconds, of one attempt."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    image: str = ""
    task_count: int = 1
    parallelism: int = 0
    """At most so many tasks at a time; 0: all of them."""
    max_retries: int = 3
    timeout: float = 600.0

    @classmethod
    def from_json(cls, job: JsonObject) -> JobSpec:
        """Read a Job resource.

        Raises:
            ApiError: 400, naming the field.
        """
        known(
            job,
            ("name", "labels", "annotations", "launchStage", "template", "client", "clientVersion"),
            "job",
        )
        execution = _object(job, "template", "job")
        known(execution, ("labels", "annotations", "parallelism", "taskCount", "template"), "job.template")
        task = _object(execution, "template", "job.template")
        where = "job.template.template"
        known(task, ("containers", "maxRetries", "timeout", "serviceAccount", "executionEnvironment"), where)
        containers = task.get("containers") or []
        if len(containers) != 1:
            raise ApiError(400, f"{where}.containers: exactly one container is supported")
        (container,) = containers
        known(container, ("name", "image", "command", "args", "env", "resources"), f"{where}.containers[0]")
        return cls(
            command=tuple(container.get("command") or ()),
            args=tuple(container.get("args") or ()),
            env=_env(container.get("env") or (), f"{where}.containers[0].env"),
            image=container.get("image", ""),
            task_count=_count(execution.get("taskCount", 1), "job.template.taskCount"),
            parallelism=int(execution.get("parallelism", 0)),
            max_retries=int(task.get("maxRetries", cls.max_retries)),
            timeout=_seconds(task["timeout"], f"{where}.timeout") if "timeout" in task else cls.timeout,
        )

    def to_json(self) -> JsonObject:
        """The ExecutionTemplate that the API shows."""
        return {
            "taskCount": self.task_count,
            "parallelism": self.parallelism,
            "template": self.task_template(),
        }

    def task_template(self) -> JsonObject:
        """The TaskTemplate that the API shows."""
        container = {
            "image": self.image,
            "command": list(self.command),
            "args": list(self.args),
            "env": [{"name": name, "value": value} for name, value in self.env.items()],
        }
        return {"containers": [container], "maxRetries": self.max_retries, "timeout": f"{self.timeout:g}s"}

    def overridden(self, overrides: JsonObject) -> JobSpec:
        """The template of one execution: ``args`` replace, ``env`` merges, the numbers replace.

        https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/run#Overrides

        Raises:
            ApiError: 400, naming the field.
        """
        known(overrides, ("containerOverrides", "taskCount", "timeout"), "overrides")
        spec = self
        containers = overrides.get("containerOverrides") or []
        if len(containers) > 1:
            raise ApiError(400, "overrides.containerOverrides: the job has one container")
        for container in containers:
            where = "overrides.containerOverrides[0]"
            known(container, ("name", "args", "env", "clearArgs"), where)
            if container.get("clearArgs"):
                spec = replace(spec, args=())
            if container.get("args"):
                spec = replace(spec, args=tuple(container["args"]))
            spec = replace(spec, env={**spec.env, **_env(container.get("env") or (), f"{where}.env")})
        if overrides.get("taskCount"):
            spec = replace(spec, task_count=_count(overrides["taskCount"], "overrides.taskCount"))
        if "timeout" in overrides:
            spec = replace(spec, timeout=_seconds(overrides["timeout"], "overrides.timeout"))
        return spec


def known(value: JsonObject, allowed: Iterable[str], where: str) -> None:
    """Refuse fields that are not in ``allowed``, as the API refuses names that it does not know."""
    if not isinstance(value, dict):
        raise ApiError(400, f"{where}: is not an object")
    unknown = sorted(set(value) - set(allowed))
    if unknown:
        raise ApiError(400, f"Invalid JSON payload received. Unknown name \"{unknown[0]}\" at '{where}'.")


def _object(value: JsonObject, name: str, where: str) -> JsonObject:
    inner = value.get(name)
    if not isinstance(inner, dict):
        raise ApiError(400, f"{where}.{name}: is required")
    return inner


def _env(entries: Iterable[JsonObject], where: str) -> dict[str, str]:
    env: dict[str, str] = {}
    for entry in entries:
        known(entry, ("name", "value"), where)
        value = entry.get("value", "")
        if not isinstance(value, str):
            raise ApiError(400, f"{where}: the value of {entry.get('name')} is not a string")
        env[entry["name"]] = value
    return env


def _count(value: object, where: str) -> int:
    if not isinstance(value, int) or not 1 <= value <= MAX_TASKS:
        raise ApiError(400, f"{where}: is not a number between 1 and {MAX_TASKS}")
    return value


def _seconds(value: object, where: str) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ApiError(400, f"{where}: is not a duration such as '3600s'")
    return float(match[1])
