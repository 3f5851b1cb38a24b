"""The Admin API's HTTP surface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etl_runner.jsontypes import JsonObject
from local.cloud_run.errors import ApiError
from local.cloud_run.job import Image, JobSpec
from local.cloud_run.service import CloudRunJobs
from local.http_server import JsonServer

_LOCATION = r"projects/[^/]+/locations/[^/]+"
_JOB = rf"{_LOCATION}/jobs/[^/:]+"
_EXECUTION = rf"{_JOB}/executions/[^/:]+"
_TASK = rf"{_EXECUTION}/tasks/[^/:]+"
_OPERATION = rf"{_LOCATION}/operations/[^/:]+"
_DEFAULT_PAGE = 100
_MAX_WAIT_SECONDS = 600.0

Call = Callable[[str, dict[str, str], JsonObject], JsonObject]


class CloudRunServer:
    """Cloud Run jobs on loopback, for clients made with ``transport="rest"`` and this ``api_endpoint``."""

    def __init__(self, image: Image, logs: Path, *, port: int = 0) -> None:
        """Start serving.

        Args:
            image: what stands in for every job's container image.
            logs: folder for the tasks' outputs, ``<execution>/task-<index>-attempt-<n>.log``.
            port: of 127.0.0.1; any free one when 0.
        """
        self.jobs = CloudRunJobs(image, logs)
        self._routes = self._build_routes()
        self._http = JsonServer(self._handle, port)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        return self._http.endpoint

    def deploy(self, project: str, location: str, job: str, spec: JobSpec) -> str:
        """Create or change a job; its full name."""
        return self.jobs.deploy(f"projects/{project}/locations/{location}/jobs/{job}", spec).name

    def stop(self) -> None:
        """Stop serving and cancel what runs."""
        self._http.stop()
        self.jobs.stop()

    def _handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        try:
            resource = path.removeprefix("/v2/")
            for verb, pattern, call in self._routes:
                if verb == method and (match := pattern.fullmatch(resource)):
                    return 200, call(match[1], query, _json(body))
            return 404, ApiError(404, f"Method {method} {path} is not part of this server.").to_json()
        except ApiError as error:
            return error.code, error.to_json()

    def _build_routes(self) -> list[tuple[str, re.Pattern[str], Call]]:
        jobs = self.jobs

        def list_jobs(parent: str, query: dict[str, str], _: JsonObject) -> JsonObject:
            return _page("jobs", jobs.jobs(parent), query, lambda job: job.to_json())

        def list_executions(parent: str, query: dict[str, str], _: JsonObject) -> JsonObject:
            return _page("executions", jobs.executions(parent), query, lambda e: e.to_json())

        def list_tasks(parent: str, query: dict[str, str], _: JsonObject) -> JsonObject:
            execution = jobs.execution(parent)
            return _page("tasks", execution.tasks, query, execution.task_json)

        def get_task(name: str, _: dict[str, str], __: JsonObject) -> JsonObject:
            execution, task = jobs.task(name)
            return execution.task_json(task)

        def wait(name: str, _: dict[str, str], body: JsonObject) -> JsonObject:
            text = str(body.get("timeout", f"{_MAX_WAIT_SECONDS}s"))
            return jobs.wait_operation(name, min(float(text.removesuffix("s")), _MAX_WAIT_SECONDS))

        routes: list[tuple[str, str, Call]] = [
            (
                "POST",
                rf"({_LOCATION})/jobs",
                lambda name, q, body: jobs.create(name, q.get("jobId", ""), body),
            ),
            ("GET", rf"({_LOCATION})/jobs", list_jobs),
            ("GET", rf"({_JOB})", lambda name, _, __: jobs.get(name).to_json()),
            ("PATCH", rf"({_JOB})", lambda name, _, body: jobs.patch(name, body)),
            ("POST", rf"({_JOB}):run", lambda name, _, body: jobs.run(name, body)),
            ("GET", rf"({_JOB})/executions", list_executions),
            ("GET", rf"({_EXECUTION})", lambda name, _, __: jobs.execution(name).to_json()),
            ("POST", rf"({_EXECUTION}):cancel", lambda name, _, __: jobs.cancel(name)),
            ("GET", rf"({_EXECUTION})/tasks", list_tasks),
            ("GET", rf"({_TASK})", get_task),
            ("GET", rf"({_OPERATION})", lambda name, _, __: jobs.operation(name)),
            ("POST", rf"({_OPERATION}):wait", wait),
        ]
        return [(verb, re.compile(pattern), call) for verb, pattern, call in routes]


def _json(body: bytes) -> JsonObject:
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiError(400, f"Invalid JSON payload received. {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "Invalid JSON payload received. The root is not an object.")
    return value


def _page(
    key: str, items: Sequence[Any], query: dict[str, str], to_json: Callable[[Any], JsonObject]
) -> JsonObject:
    start = int(query.get("pageToken") or 0)
    size = int(query.get("pageSize") or 0) or _DEFAULT_PAGE
    page: JsonObject = {key: [to_json(item) for item in items[start : start + size]]}
    if start + size < len(items):
        page["nextPageToken"] = str(start + size)
    return page
