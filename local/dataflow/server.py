"""The API's HTTP surface and the jobs behind it, kept in memory."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from etl_runner.jsontypes import JsonObject
from local.cloud_run.errors import ApiError
from local.dataflow.job import Job, Launcher
from local.dataflow.request import Request
from local.http_server import JsonServer

ReadObject = Callable[[str], bytes | None]
"""The content of a ``gs://`` URI, or None when there is no such object."""

_LAUNCH = ("containerSpecGcsPath", "environment", "jobName", "parameters")
_ENVIRONMENT = (
    "additionalExperiments",
    "additionalUserLabels",
    "autoscalingAlgorithm",
    "ipConfiguration",
    "kmsKeyName",
    "machineType",
    "maxWorkers",
    "network",
    "numWorkers",
    "sdkContainerImage",
    "serviceAccountEmail",
    "stagingLocation",
    "subnetwork",
    "tempLocation",
)
# Clients of Google's send an enum as its number, with $alt=json;enum-encoding=int, and take either.
_FILTERS = {"1": "ALL", "2": "TERMINATED", "3": "ACTIVE"}
_CANCELLED = ("JOB_STATE_CANCELLED", 5)
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_PATH = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/(flexTemplates:launch|jobs(?:/([^/]+))?)")


class DataflowServer:
    """Dataflow on loopback."""

    def __init__(self, launcher: Launcher, read_object: ReadObject, logs: Path, *, port: int = 0) -> None:
        """Start serving.

        Args:
            launcher: what stands in for every template's image.
            read_object: Cloud Storage, where the templates are.
            logs: folder for the jobs' outputs, ``<job>/attempt-<n>.log``.
            port: of 127.0.0.1; any free one when 0.
        """
        self._launcher = launcher
        self._read_object = read_object
        self._logs = logs
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._http = JsonServer(self._handle, port)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        return self._http.endpoint

    def jobs(self, name: str | None = None) -> list[Job]:
        """The jobs (of that name), active ones first, of these and of the others the newest first."""
        with self._lock:
            found = [job for job in reversed(self._jobs.values()) if name in (None, job.request.name)]
        return sorted(found, key=lambda job: not job.active)

    def stop(self) -> None:
        """Stop serving and cancel what runs."""
        self._http.stop()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        for job in jobs:
            job.join()

    def _handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        try:
            match = _PATH.fullmatch(path)
            if match is None:
                raise ApiError(404, f"Method {method} {path} is not part of this server.")
            project, location, what, job_id = match.groups()
            if what == "flexTemplates:launch" and method == "POST":
                return 200, self._launch(project, location, _json(body))
            if job_id is not None and method in ("GET", "PUT"):
                job = self._job(project, location, job_id)
                if method == "PUT":
                    _update(job, _json(body))
                return 200, job.to_json()
            if what == "jobs" and method == "GET":
                return 200, self._list(project, location, query)
            raise ApiError(405, f"Method {method} {path} is not part of this server.")
        except ApiError as error:
            return error.code, error.to_json()

    def _launch(self, project: str, location: str, body: JsonObject) -> JsonObject:
        _known(body, ("launchParameter", "validateOnly"), "request")
        launch = body.get("launchParameter")
        if not isinstance(launch, dict):
            raise ApiError(400, "launch_parameter: is required")
        _known(launch, _LAUNCH, "launch_parameter")
        environment = launch.get("environment") or {}
        _known(environment, _ENVIRONMENT, "launch_parameter.environment")
        name = str(launch.get("jobName") or "")
        if not _NAME.fullmatch(name):
            raise ApiError(400, f"The job name {name!r} is invalid: it has to match {_NAME.pattern}")
        image = self._check(str(launch.get("containerSpecGcsPath") or ""), launch.get("parameters") or {})
        request = Request(project, location, name, image, launch.get("parameters") or {}, environment)
        job = Job(request, self._launcher, self._logs)
        if body.get("validateOnly"):
            return {}
        with self._lock:
            if any(each.active and each.request.name == name for each in self._jobs.values()):
                raise ApiError(409, f"There is already an active job named {name}.")
            self._jobs[job.id] = job
        job.start()
        return {"job": job.to_json()}

    def _check(self, template: str, parameters: JsonObject) -> str:
        """The template's image; its parameters are those that it declares."""
        content = self._read_object(template) if template.startswith("gs://") else None
        if content is None:
            raise ApiError(400, f"Unable to open template file: {template}.")
        spec = json.loads(content)
        declared = {each["name"]: each for each in spec["metadata"]["parameters"]}
        unknown = sorted(set(parameters) - set(declared))
        if unknown:
            raise ApiError(400, f"The template parameters are invalid: unrecognized parameter {unknown[0]}")
        for name, each in declared.items():
            value = parameters.get(name)
            if value is None and not each.get("isOptional"):
                raise ApiError(400, f"The template parameters are invalid: missing parameter {name}")
            if value is not None and not all(re.search(rule, value) for rule in each.get("regexes", ())):
                raise ApiError(400, f"The template parameters are invalid: {name} does not match its pattern")
        return str(spec["image"])

    def _job(self, project: str, location: str, job_id: str) -> Job:
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or (job.request.project, job.request.location) != (project, location):
            raise ApiError(404, f"({job_id}): Information about job {job_id} could not be found.")
        return job

    def _list(self, project: str, location: str, query: dict[str, str]) -> JsonObject:
        _known(query, ("$alt", "filter", "name", "pageSize", "pageToken", "view"), "query")
        state = query.get("filter", "ALL")
        wanted = {"TERMINATED": (False,), "ACTIVE": (True,)}.get(_FILTERS.get(state, state), (True, False))
        place = (project, location)
        found = [
            job.to_json()
            for job in self.jobs(query.get("name"))
            if job.active in wanted and (job.request.project, job.request.location) == place
        ]
        # The service leaves an empty list out.
        return {"jobs": found} if found else {}


def _update(job: Job, body: JsonObject) -> None:
    _known(body, ("requestedState",), "job")
    if body.get("requestedState") not in _CANCELLED:
        raise ApiError(400, "requested_state: only JOB_STATE_CANCELLED can be requested of a batch job here")
    if not job.cancel():
        # Beam's runner for Java tells this refusal by these words: DataflowPipelineJob.cancel.
        raise ApiError(400, f"Workflow modification failed: the job {job.id} has terminated.")


def _json(body: bytes) -> JsonObject:
    try:
        value = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError(400, f"Invalid JSON payload received. {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "Invalid JSON payload received. The root is not an object.")
    return value


def _known(value: JsonObject, allowed: Iterable[str], where: str) -> None:
    unknown = sorted(set(value) - set(allowed))
    if unknown:
        raise ApiError(400, f"Invalid JSON payload received. Unknown name \"{unknown[0]}\" at '{where}'.")
