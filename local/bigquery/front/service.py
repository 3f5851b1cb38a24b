"""What the front does with each request, apart from HTTP itself."""

from __future__ import annotations

import http
import json
import re
import urllib.parse
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from etl_runner.jsontypes import JsonObject
from local.bigquery.front import messages, rules
from local.bigquery.front.facts import Facts, Strictness
from local.bigquery.front.faults import Fault, Faults
from local.bigquery.front.loadjob import LoadJob, TableName
from local.bigquery.front.messages import Answer
from local.bigquery.front.registry import JobRegistry
from local.bigquery.front.rules_request import job_id_problem, labels_problem
from local.bigquery.front.storage import SourceObjects
from local.bigquery.front.upstream import Upstream

_API = "/bigquery/v2/projects/"
_STATUS_OF_REASON = {"accessDenied": 403, "notFound": 404, "duplicate": 409}
_WITHOUT_LOCATION = ("US", "EU")


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``target`` is the path with its query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urllib.parse.urlsplit(self.target).path

    def parameter(self, name: str) -> str | None:
        found = urllib.parse.parse_qs(urllib.parse.urlsplit(self.target).query).get(name)
        return found[0] if found else None

    def document(self) -> JsonObject:
        """The JSON body.

        Raises:
            ValueError: it is not a JSON object.
        """
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - what json.loads raises too
        return value


class Service:
    """The rules of the front over one local-bigquery."""

    def __init__(
        self,
        upstream: Upstream,
        objects: SourceObjects,
        registry: JobRegistry,
        faults: Faults,
        *,
        location: str,
        strictness: Strictness,
    ) -> None:
        self._upstream = upstream
        self._objects = objects
        self._registry = registry
        self._faults = faults
        self._location = location
        self._strictness = strictness
        self._routes: tuple[tuple[str, re.Pattern[str], Callable[..., Answer]], ...] = tuple(
            (method, re.compile(_API + pattern + r"\Z"), handler)
            for method, pattern, handler in (
                ("POST", r"(?P<project>[^/]+)/jobs", self._insert_job),
                ("GET", r"(?P<project>[^/]+)/jobs/(?P<job_id>[^/]+)", self._get_job),
                ("POST", r"(?P<project>[^/]+)/jobs/(?P<job_id>[^/]+)/cancel", self._cancel_job),
                ("DELETE", r"(?P<project>[^/]+)/jobs/(?P<job_id>[^/]+)/delete", self._about_job),
                ("GET", r"(?P<project>[^/]+)/queries/(?P<job_id>[^/]+)", self._query_results),
                ("POST", r"(?P<project>[^/]+)/queries", self._query),
                ("GET", r"(?P<project>[^/]+)/datasets/(?P<dataset>[^/]+)/tables/[^/]+", self._table),
                ("PATCH", r"(?P<project>[^/]+)/datasets/(?P<dataset>[^/]+)/tables/[^/]+", self._table),
                ("PUT", r"(?P<project>[^/]+)/datasets/(?P<dataset>[^/]+)/tables/[^/]+", self._table),
                ("POST", r"(?P<project>[^/]+)/datasets/(?P<dataset>[^/]+)/tables", self._table),
            )
        )

    def answer(self, request: Request, fault: Fault | None) -> Answer:
        """The answer to a request; ``fault`` is one that applies to jobs (slow_job, fail_job)."""
        for method, pattern, handler in self._routes:
            match = pattern.match(request.path)
            if method == request.method and match:
                names = {key: urllib.parse.unquote(value) for key, value in match.groupdict().items()}
                if handler == self._insert_job:
                    return self._insert_job(request, fault=fault, **names)
                return handler(request, **names)
        return self._forward(request)

    def _forward(self, request: Request) -> Answer:
        return self._upstream.send(request.method, request.target, request.body or None, request.headers)

    # -- jobs

    def _insert_job(self, request: Request, project: str, fault: Fault | None = None) -> Answer:
        try:
            body = request.document()
        except ValueError as error:
            return messages.error(400, "parseError", f"Invalid JSON payload received. {error}")
        configuration = body.get("configuration") or {}
        if configuration.get("dryRun"):
            return self._dry_run(request, project, body)
        reference = dict(body.get("jobReference") or {})
        reference["jobId"] = job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        reference["projectId"] = project
        body = {**body, "jobReference": reference}
        problem = job_id_problem(job_id) or labels_problem(configuration.get("labels") or {})
        if problem:
            return messages.error(400, "invalid", problem)
        if self._taken(project, job_id):
            return self._duplicate(project, job_id)
        location = self._job_location(project, body)
        if fault is not None and fault.action == "fail_job":
            return self._fail(project, job_id, location, configuration, fault.error_reason, fault.message)
        if "load" in configuration:
            refusal = self._refusal(body, location)
            if refusal is not None and refusal.rule.status is not None:
                return messages.error(refusal.rule.status, refusal.rule.reason, refusal.message)
            if refusal is not None:
                return self._fail(
                    project, job_id, location, configuration, refusal.rule.reason, refusal.message
                )
        else:
            elsewhere = self._destination_elsewhere(configuration, location)
            if elsewhere is not None:
                return elsewhere
        if not self._registry.claim(project, job_id, location):
            return self._duplicate(project, job_id)
        if fault is not None and fault.action == "slow_job":
            self._faults.slow_down(project, job_id, fault)
        answer = self._upstream.send(
            "POST", request.target, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return self._shown(answer, project, job_id, location, poll=False)

    def _dry_run(self, request: Request, project: str, body: JsonObject) -> Answer:
        """A dry run is where its job would be: as asked for, else where the first table is that it reads."""
        answer = self._forward(request)
        if answer.status != http.HTTPStatus.OK:
            return answer
        job = json.loads(answer.body)
        location = self._job_location(project, {**body, "jobReference": body.get("jobReference") or {}})
        tables = (job.get("statistics", {}).get("query") or {}).get("referencedTables") or ()
        if tables and not (body.get("jobReference") or {}).get("location"):
            found = self._dataset(tables[0]["projectId"], tables[0]["datasetId"])
            location = location if found is None else str(found.get("location") or "US")
        return Answer.json(messages.located(job, location))

    def _taken(self, project: str, job_id: str) -> bool:
        if self._registry.failed(project, job_id) is not None:
            return True
        return self._upstream.get_json(f"{_API}{project}/jobs/{job_id}") is not None

    def _job_location(self, project: str, body: JsonObject) -> str:
        """The job's location: as asked for, else the destination dataset's, else the stand-in's own.

        BigQuery finds the location of a query from the datasets that it names; the stand-in has one place
        for all of them.
        """
        asked = body["jobReference"].get("location")
        if asked:
            return str(asked)
        configuration = body.get("configuration") or {}
        for kind in ("load", "query", "copy"):
            table = (configuration.get(kind) or {}).get("destinationTable")
            if table and table.get("datasetId"):
                found = self._dataset(table.get("projectId") or project, table["datasetId"])
                if found is not None:
                    return str(found.get("location") or "US")
        return self._location

    def _destination_elsewhere(self, configuration: JsonObject, location: str) -> Answer | None:
        table = (configuration.get("query") or {}).get("destinationTable")
        if not table or not table.get("datasetId"):
            return None
        name = f"{table.get('projectId')}:{table['datasetId']}"
        found = self._dataset(str(table.get("projectId")), table["datasetId"])
        if found is not None and str(found.get("location") or "US").casefold() == location.casefold():
            return None
        return messages.error(
            404, "notFound", f"Not found: Dataset {name} was not found in location {location}"
        )

    def _refusal(self, body: JsonObject, location: str) -> rules.Refusal | None:
        job = LoadJob(body)
        facts = Facts(
            job=job,
            location=location,
            objects=self._objects,
            strictness=self._strictness,
            look_up_table=lambda name: self._upstream.get_json(
                f"{_API}{name.project}/datasets/{name.dataset}/tables/{urllib.parse.quote(name.table)}"
            ),
            look_up_dataset=self._dataset_of,
            run_query=lambda sql: self._upstream.query(job.destination.project, sql),
        )
        return rules.refusal(job, facts)

    def _dataset_of(self, name: TableName) -> JsonObject | None:
        return self._dataset(name.project, name.dataset)

    def _dataset(self, project: str, dataset: str) -> JsonObject | None:
        found: JsonObject | None = self._upstream.get_json(f"{_API}{project}/datasets/{dataset}")
        return found

    def _fail(
        self, project: str, job_id: str, location: str, configuration: JsonObject, reason: str, message: str
    ) -> Answer:
        resource = messages.failed_job(project, job_id, location, configuration, reason, message)
        if not self._registry.fail(project, job_id, location, resource):
            return self._duplicate(project, job_id)
        return Answer.json(resource)

    def _duplicate(self, project: str, job_id: str) -> Answer:
        return messages.error(409, "duplicate", f"Already Exists: Job {project}:{job_id}")

    def _known(self, request: Request, project: str, job_id: str) -> tuple[str, Answer | None]:
        """A job's location, and 404 when the request asks elsewhere.

        Outside the US and EU multi-regions the location must be given (REST: jobs.get, location).
        """
        location = self._registry.location(project, job_id) or self._location
        asked = request.parameter("location")
        right = asked.casefold() == location.casefold() if asked else location.upper() in _WITHOUT_LOCATION
        if right:
            return location, None
        where = f"{asked}." if asked else ""
        return location, messages.error(404, "notFound", f"Not found: Job {project}:{where}{job_id}")

    def _about_job(self, request: Request, project: str, job_id: str) -> Answer:
        _, elsewhere = self._known(request, project, job_id)
        return elsewhere or self._forward(request)

    def _get_job(self, request: Request, project: str, job_id: str) -> Answer:
        location, elsewhere = self._known(request, project, job_id)
        if elsewhere is not None:
            return elsewhere
        failed = self._registry.failed(project, job_id)
        answer = Answer.json(failed) if failed is not None else self._forward(request)
        return self._shown(answer, project, job_id, location, poll=True)

    def _cancel_job(self, request: Request, project: str, job_id: str) -> Answer:
        location, elsewhere = self._known(request, project, job_id)
        if elsewhere is not None:
            return elsewhere
        failed = self._registry.failed(project, job_id)
        if failed is not None:
            return Answer.json({"kind": "bigquery#jobCancelResponse", "job": failed})
        answer = self._forward(request)
        if answer.status != http.HTTPStatus.OK:
            return answer
        document = json.loads(answer.body)
        return Answer.json({**document, "job": messages.located(document["job"], location)})

    def _shown(self, answer: Answer, project: str, job_id: str, location: str, *, poll: bool) -> Answer:
        """A job resource from upstream as the client sees it."""
        if answer.status != http.HTTPStatus.OK:
            return answer
        job = messages.located(json.loads(answer.body), location)
        slow = self._faults.is_slow(project, job_id, poll=poll)
        return Answer.json(messages.running(job) if slow else job)

    # -- queries

    def _query_results(self, request: Request, project: str, job_id: str) -> Answer:
        location, elsewhere = self._known(request, project, job_id)
        if elsewhere is not None:
            return elsewhere
        failed = self._registry.failed(project, job_id)
        if failed is not None:
            result = failed["status"]["errorResult"]
            status = _STATUS_OF_REASON.get(result["reason"], 400)
            return messages.error(status, result["reason"], result["message"])
        if self._faults.is_slow(project, job_id, poll=True):
            reference = {"projectId": project, "jobId": job_id, "location": location}
            kind = "bigquery#getQueryResultsResponse"
            return Answer.json({"kind": kind, "jobReference": reference, "jobComplete": False})
        return self._relocated(self._forward(request), location)

    def _query(self, request: Request, project: str) -> Answer:
        try:
            body = request.document()
        except ValueError as error:
            return messages.error(400, "parseError", f"Invalid JSON payload received. {error}")
        location = str(body.get("location") or self._location)
        problem = labels_problem(body.get("labels") or {})
        if problem:
            return messages.error(400, "invalid", problem)
        answer = self._forward(request)
        if answer.status == http.HTTPStatus.OK:
            job_id = (json.loads(answer.body).get("jobReference") or {}).get("jobId")
            if job_id:
                self._registry.claim(project, job_id, location)
        return self._relocated(answer, location)

    def _relocated(self, answer: Answer, location: str) -> Answer:
        if answer.status != http.HTTPStatus.OK:
            return answer
        document = json.loads(answer.body)
        if document.get("jobReference"):
            document["jobReference"]["location"] = location
        if "location" in document:
            document["location"] = location
        return Answer.json(document)

    # -- tables

    def _table(self, request: Request, project: str, dataset: str) -> Answer:
        """A table is where its dataset is; local-bigquery says US."""
        answer = self._forward(request)
        if answer.status != http.HTTPStatus.OK:
            return answer
        found = self._dataset(project, dataset)
        if found is None:
            return answer
        return Answer.json({**json.loads(answer.body), "location": found.get("location") or "US"})
