"""Answers in BigQuery's shape."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from etl_runner.jsontypes import JsonObject, dumps

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/json; charset=UTF-8"}
    )

    @classmethod
    def json(cls, value: object, status: int = 200) -> Answer:
        return cls(status, dumps(value))


def error(status: int, reason: str, message: str) -> Answer:
    """An error answer: https://cloud.google.com/bigquery/docs/error-messages."""
    return Answer.json(
        {
            "error": {
                "code": status,
                "message": message,
                "errors": [{"message": message, "domain": "global", "reason": reason}],
                "status": _STATUS_NAMES.get(status, "UNKNOWN"),
            }
        },
        status,
    )


def failed_job(
    project: str, job_id: str, location: str, configuration: JsonObject, reason: str, message: str
) -> JsonObject:
    """The resource of a job that is DONE with an error."""
    kind = next((key for key in ("load", "query", "copy", "extract") if key in configuration), "load")
    now = str(int(time.time() * 1000))
    result = {"reason": reason, "message": message}
    resource: JsonObject = {
        "kind": "bigquery#job",
        "id": f"{project}:{location}.{job_id}",
        "selfLink": f"/bigquery/v2/projects/{project}/jobs/{job_id}?location={location}",
        "jobReference": {"projectId": project, "jobId": job_id, "location": location},
        "configuration": {**configuration, "jobType": kind.upper()},
        "status": {"state": "DONE", "errorResult": result, "errors": [result]},
        "statistics": {"creationTime": now, "startTime": now, "endTime": now},
        "user_email": "local-bigquery@localhost",
    }
    return resource


def located(job: JsonObject, location: str) -> JsonObject:
    """A job resource with its location put right."""
    reference = {**job.get("jobReference", {}), "location": location}
    name = f"{reference.get('projectId')}:{location}.{reference.get('jobId')}"
    path = f"/bigquery/v2/projects/{reference.get('projectId')}/jobs/{reference.get('jobId')}"
    link = f"{path}?location={location}"
    return {**job, "jobReference": reference, "id": name, "selfLink": link}


def running(job: JsonObject) -> JsonObject:
    """A job resource as it looks while the job runs."""
    statistics = {
        key: value for key, value in job.get("statistics", {}).items() if key in ("creationTime", "startTime")
    }
    return {**job, "status": {"state": "RUNNING"}, "statistics": statistics}
