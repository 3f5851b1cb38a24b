"""workflows/etl.yaml from end to end, against scripted functions and a scripted job service."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.workflows.definition import load
from local.workflows.engine import Engine
from local.workflows.errors import DefinitionError, WorkflowError
from local.workflows.http_calls import HttpClient
from tests.workflow.servers import FakeClock, Reply, Request, Script, ScriptedServer

ETL = Path(__file__).parents[2] / "workflows" / "etl.yaml"
JOB = "/v2/projects/p/locations/europe-west1/jobs/etl-runner:run"
OPERATION = "projects/p/locations/europe-west1/operations/o1"
HANDLE = {"source_id": "orders", "run_id": "run-1", "epoch": 7}
OPENED = Reply(200, {"status": "opened", **HANDLE})
PLAN = {
    "engine": "cloud_run",
    "plan_uri": "gs://s/plan.jsonl",
    "units": 4,
    "tasks": 2,
    "timeout_seconds": 7200,
}
RECEIPT = {"run_id": "run-1", "outcome": "ok", "rows": 12}
DONE = Reply(200, {"status": "done", "outcome": "ok", "receipt": RECEIPT})
PENDING = Reply(200, {"status": "pending", "retry_after_seconds": 20})
UNAVAILABLE = Reply(503, {"error": {"type": "RetryableError", "message": "come back"}})
FAILED = Reply(
    200,
    {
        "status": "done",
        "outcome": "failed",
        "receipt": {"outcome": "failed", "reason": "unit 3 has no manifest"},
    },
)


def refused(message: str) -> Reply:
    return Reply(422, {"error": {"type": "PermanentError", "message": message, "problems": []}})


@dataclass
class Chain:
    """The workflow with everything that it calls."""

    script: Script
    clock: FakeClock
    server: ScriptedServer
    env: dict[str, str] = field(default_factory=dict)

    def run(self, argument: Any = None) -> Any:
        engine = Engine(
            load(ETL.read_text(), name="etl.yaml"),
            {
                "GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID": "run-1",
                "GOOGLE_CLOUD_PROJECT_ID": "p",
                "GOOGLE_CLOUD_LOCATION": "europe-west1",
                "TRIGGER_URL": f"{self.server.url}/trigger",
                "PLAN_URL": f"{self.server.url}/plan",
                "FINALIZE_URL": f"{self.server.url}/finalize",
                "JOB_NAME": "etl-runner",
                **self.env,
            },
            self.clock,
            HttpClient("workflows@p.iam.gserviceaccount.com"),
            {"run": self.server.url, "dataflow": self.server.url},
        )
        return json.loads(engine.run({"source_id": "orders"} if argument is None else argument))

    def fails(self) -> WorkflowError:
        with pytest.raises(WorkflowError) as caught:
            self.run()
        return caught.value

    def to(self, path: str) -> list[Request]:
        return [request for request in self.server.requests if request.path == path]

    def paths(self) -> list[str]:
        return [request.path for request in self.server.requests]


@pytest.fixture
def chain() -> Iterator[Chain]:
    script = Script(
        {
            "/trigger": [OPENED],
            "/plan": [Reply(200, PLAN)],
            "/finalize": [DONE],
            JOB: [Reply(200, {"name": OPERATION, "done": False})],
            f"/v2/{OPERATION}": [
                Reply(200, {"name": OPERATION, "done": True, "response": {"succeededCount": 2}})
            ],
        }
    )
    server = ScriptedServer(script)
    yield Chain(script, FakeClock(), server)
    server.stop()


def claims(request: Request) -> dict[str, Any]:
    kind, token = request.headers["Authorization"].split()
    assert kind == "Bearer"
    payload = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(found, dict)
    return found


def test_a_run_goes_through_plan_job_and_finalize(chain: Chain) -> None:
    assert chain.run() == RECEIPT
    assert chain.paths() == ["/trigger", "/plan", JOB, f"/v2/{OPERATION}", "/finalize"]
    assert chain.to("/trigger")[0].body == {"source_id": "orders", "run_id": "run-1"}
    assert chain.to("/plan")[0].body == HANDLE
    assert chain.to("/finalize")[0].body == HANDLE
    assert chain.to(JOB)[0].body == {
        "overrides": {
            "containerOverrides": [{"env": [{"name": "ETL_PLAN_URI", "value": "gs://s/plan.jsonl"}]}],
            "taskCount": 2,
        }
    }


@pytest.mark.parametrize("function", ["trigger", "plan", "finalize"])
def test_each_function_gets_a_token_for_its_own_url(chain: Chain, function: str) -> None:
    chain.run()
    found = claims(chain.to(f"/{function}")[0])
    assert found["aud"] == f"{chain.server.url}/{function}"
    assert found["email"] == "workflows@p.iam.gserviceaccount.com"
    assert found["exp"] > found["iat"]


def test_project_and_location_of_the_job_can_be_others(chain: Chain) -> None:
    chain.env = {"PROJECT": "other", "LOCATION": "us-east1", "JOB_NAME": "j"}
    path = "/v2/projects/other/locations/us-east1/jobs/j:run"
    chain.script.replies[path] = chain.script.replies[JOB]
    assert chain.run() == RECEIPT
    assert len(chain.to(path)) == 1


def test_a_held_source_is_skipped(chain: Chain) -> None:
    skipped = {"status": "skipped", "holder": {"run_id": "other", "phase": "extracting", "until": "soon"}}
    chain.script.replies["/trigger"] = [Reply(200, skipped)]
    assert chain.run() == skipped
    assert chain.paths() == ["/trigger"]


def test_a_run_that_is_over_returns_its_receipt(chain: Chain) -> None:
    chain.script.replies["/trigger"] = [Reply(200, {"status": "done", "receipt": RECEIPT})]
    assert chain.run() == RECEIPT
    assert chain.paths() == ["/trigger"]


@pytest.mark.parametrize("engine", ["none", "bigquery"])
def test_nothing_to_extract_needs_no_job(chain: Chain, engine: str) -> None:
    chain.script.replies["/plan"] = [Reply(200, {**PLAN, "engine": engine, "units": 0, "tasks": 0})]
    assert chain.run() == RECEIPT
    assert chain.paths() == ["/trigger", "/plan", "/finalize"]


@pytest.mark.parametrize("path", ["/trigger", "/plan", "/finalize"])
@pytest.mark.parametrize("fault", [UNAVAILABLE, Reply(429, {}), Reply(500, b"oops", "text/html"), None])
def test_what_may_pass_is_repeated(chain: Chain, path: str, fault: Reply | None) -> None:
    chain.script.replies[path][:0] = [fault, fault]
    assert chain.run() == RECEIPT
    assert len(chain.to(path)) == 3
    assert chain.clock.sleeps[:2] == [1, 2] or path != "/trigger"


def test_an_unreachable_function_is_repeated_until_the_retries_are_used_up(chain: Chain) -> None:
    chain.env = {"TRIGGER_URL": "http://127.0.0.1:9"}
    assert chain.fails().tags == ("ConnectionFailedError",)
    assert chain.clock.sleeps == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_refusal_of_the_trigger_is_final(chain: Chain) -> None:
    chain.script.replies["/trigger"] = [Reply(400, {"error": {"message": "orders.yaml: 2 problems"}})]
    error = chain.fails()
    assert error.value["code"] == 400
    assert error.value["body"]["error"]["message"] == "orders.yaml: 2 problems"
    assert chain.paths() == ["/trigger"]


def test_a_refusal_of_the_plan_is_not_repeated_and_closes_the_run(chain: Chain) -> None:
    chain.script.replies["/plan"] = [refused("table orders has no column updated")]
    chain.script.replies["/finalize"] = [
        Reply(200, {"status": "done", "outcome": "failed", "receipt": {"reason": "no column updated"}})
    ]
    error = chain.fails()
    assert chain.paths() == ["/trigger", "/plan", "/finalize"]
    failure = {"step": "plan", "message": "table orders has no column updated", "code": 422}
    assert chain.to("/finalize")[0].body == {**HANDLE, "failure": failure}
    assert error.value["message"] == "no column updated"
    assert error.value["failure"] == failure


def job_failed(message: str) -> Reply:
    return Reply(200, {"name": OPERATION, "done": True, "error": {"code": 9, "message": message}})


def test_a_failed_job_closes_the_run_with_the_receipts_reason(chain: Chain) -> None:
    chain.script.replies[f"/v2/{OPERATION}"] = [job_failed("Task etl-0 failed with exit code 1")]
    chain.script.replies["/finalize"] = [FAILED]
    error = chain.fails()
    failure = chain.to("/finalize")[0].body["failure"]
    assert failure == {"step": "extract", "message": "Task etl-0 failed with exit code 1", "code": None}
    assert error.value["message"] == "unit 3 has no manifest"
    assert error.value["outcome"] == "failed"
    assert error.value["receipt"] == {"outcome": "failed", "reason": "unit 3 has no manifest"}
    assert error.frames[0].step == "not_ok"


def test_a_job_that_can_not_be_started_closes_the_run(chain: Chain) -> None:
    chain.script.replies[JOB] = [Reply(403, {"error": {"message": "run.jobs.runWithOverrides denied"}})]
    chain.script.replies["/finalize"] = [FAILED]
    chain.fails()
    failure = chain.to("/finalize")[0].body["failure"]
    assert failure == {"step": "extract", "message": "run.jobs.runWithOverrides denied", "code": 403}


def test_an_unknown_engine_closes_the_run(chain: Chain) -> None:
    chain.script.replies["/plan"] = [Reply(200, {**PLAN, "engine": "abacus"})]
    chain.script.replies["/finalize"] = [FAILED]
    chain.fails()
    failure = chain.to("/finalize")[0].body["failure"]
    assert failure["step"] == "extract"
    assert "engine abacus" in failure["message"]


def test_the_job_is_given_the_plans_time(chain: Chain) -> None:
    chain.script.replies[f"/v2/{OPERATION}"] = [Reply(200, {"name": OPERATION, "done": False})]
    chain.script.replies["/finalize"] = [FAILED]
    started = chain.clock.now()
    chain.fails()
    assert chain.clock.now() - started == PLAN["timeout_seconds"]
    assert "7200" in chain.to("/finalize")[0].body["failure"]["message"]


def test_the_runs_deadline_bounds_the_job(chain: Chain) -> None:
    chain.env = {"MAX_RUN_SECONDS": "600"}
    chain.script.replies[f"/v2/{OPERATION}"] = [Reply(200, {"name": OPERATION, "done": False})]
    chain.script.replies["/finalize"] = [FAILED]
    started = chain.clock.now()
    chain.fails()
    assert chain.clock.now() - started == 600


def test_a_pending_commit_is_asked_for_again(chain: Chain) -> None:
    chain.script.replies["/finalize"] = [PENDING, PENDING, PENDING, DONE]
    assert chain.run() == RECEIPT
    assert [request.body for request in chain.to("/finalize")] == [HANDLE] * 4
    assert chain.clock.sleeps[-3:] == [20, 20, 20]


def test_the_overall_timeout_ends_the_waiting_and_rolls_forward(chain: Chain) -> None:
    chain.env = {"MAX_RUN_SECONDS": "60"}
    chain.script.replies["/finalize"] = [PENDING, PENDING, PENDING, PENDING, DONE]
    assert chain.run() == RECEIPT
    bodies = [request.body for request in chain.to("/finalize")]
    assert bodies[:3] == [HANDLE] * 3
    assert bodies[3]["failure"]["step"] == "finalize"
    assert "time is used up" in bodies[3]["failure"]["message"]


def test_a_commit_that_stays_pending_ends_the_failure_path_too(chain: Chain) -> None:
    chain.env = {"MAX_RUN_SECONDS": "60"}
    later = Reply(200, {"status": "pending", "retry_after_seconds": 1800})
    chain.script.replies["/finalize"] = [PENDING, PENDING, PENDING, PENDING, later]
    started = chain.clock.now()
    error = chain.fails()
    assert "closing the run failed" in error.value["message"]
    assert error.value["run"] == HANDLE
    assert chain.clock.now() - started <= 60 + 25200


def test_the_failure_path_is_repeated(chain: Chain) -> None:
    chain.script.replies["/plan"] = [refused("no")]
    chain.script.replies["/finalize"] = [UNAVAILABLE, UNAVAILABLE, PENDING, UNAVAILABLE, FAILED]
    assert chain.fails().value["message"] == "unit 3 has no manifest"
    assert len(chain.to("/finalize")) == 5


def test_both_failures_are_told_when_closing_fails(chain: Chain) -> None:
    chain.script.replies["/plan"] = [refused("the first thing")]
    chain.script.replies["/finalize"] = [refused("the second thing")]
    message = chain.fails().value["message"]
    assert "the first thing" in message
    assert "the second thing" in message


def test_a_run_that_was_rolled_forward_ends_well(chain: Chain) -> None:
    chain.script.replies["/finalize"] = [refused("the commit is claimed by another"), DONE]
    assert chain.run() == RECEIPT
    assert chain.to("/finalize")[1].body["failure"]["step"] == "finalize"


@pytest.mark.parametrize("outcome", ["failed", "abandoned"])
def test_an_outcome_other_than_ok_fails_the_execution(chain: Chain, outcome: str) -> None:
    chain.script.replies["/finalize"] = [
        Reply(200, {"status": "done", "outcome": outcome, "receipt": {"outcome": outcome}})
    ]
    error = chain.fails()
    assert error.value["message"] == f"the run is {outcome}"
    assert error.value["failure"] is None
    assert len(chain.to("/finalize")) == 1


def test_an_error_page_is_cut_short(chain: Chain) -> None:
    chain.script.replies["/plan"] = [Reply(404, {"error": {"message": "x" * 100_000}})]
    chain.script.replies["/finalize"] = [FAILED]
    chain.fails()
    assert len(chain.to("/finalize")[0].body["failure"]["message"]) == 2000


def test_a_run_needs_its_source(chain: Chain) -> None:
    with pytest.raises(WorkflowError) as caught:
        chain.run({})
    assert caught.value.tags == ("KeyError",)
    assert "source_id" in caught.value.value["message"]
    assert not chain.server.requests


@pytest.mark.parametrize(
    "break_it",
    [
        lambda text: text.replace("timeout: ${timeout}", "timeout: 3600"),
        lambda text: text.replace("next: run_job", "next: run_jobs"),
        lambda text: text.replace("predicate: ${worth_repeating}", "predicate: ${worth_repeting}"),
        lambda text: text.replace("${opened.epoch}", "${opend.epoch}"),
        lambda text: text.replace("jobs.run", "jobs.start"),
        lambda text: text.replace("result: ended", "results: ended"),
    ],
)
def test_a_slip_in_the_definition_is_found_before_anything_runs(break_it: Callable[[str], str]) -> None:
    broken = break_it(ETL.read_text())
    assert broken != ETL.read_text()
    with pytest.raises(DefinitionError):
        load(broken)


# -- the distributed engine -------------------------------------------------------------------------------

LAUNCH = {
    "job_name": "etl-run-1",
    "template": "gs://a/etl.json",
    "parameters": {"plan_uri": "gs://s/plan.jsonl"},
    "environment": {"numWorkers": 3},
}
JOBS = "/v1b3/projects/p/locations/europe-west1/jobs"
LAUNCHES = "/v1b3/projects/p/locations/europe-west1/flexTemplates:launch"


def in_state(state: str, name: str = "etl-run-1", job_id: str = "j1") -> dict[str, str]:
    return {"id": job_id, "name": name, "currentState": f"JOB_STATE_{state}"}


@pytest.fixture
def dataflow(chain: Chain) -> Chain:
    chain.script.replies["/plan"] = [Reply(200, {**PLAN, "engine": "dataflow", "dataflow": LAUNCH})]
    chain.script.replies[JOBS] = [Reply(200, {})]
    chain.script.replies[LAUNCHES] = [Reply(200, {"job": in_state("QUEUED")})]
    chain.script.replies[f"{JOBS}/j1"] = [
        Reply(200, in_state("QUEUED")),
        Reply(200, in_state("RUNNING")),
        Reply(200, in_state("DONE")),
    ]
    return chain


def cancels(chain: Chain) -> list[Any]:
    return [r.body for r in chain.server.requests if r.method == "PUT" and r.path == f"{JOBS}/j1"]


def test_a_large_plan_goes_to_dataflow(dataflow: Chain) -> None:
    assert dataflow.run() == RECEIPT
    paths = [path.partition("?")[0] for path in dataflow.paths()]
    assert paths == ["/trigger", "/plan", JOBS, LAUNCHES, *[f"{JOBS}/j1"] * 3, "/finalize"]
    looked = dataflow.server.requests[2].path
    assert "name=etl-run-1" in looked
    assert "filter=ALL" in looked
    assert dataflow.to(LAUNCHES)[0].body == {
        "launchParameter": {
            "jobName": "etl-run-1",
            "containerSpecGcsPath": "gs://a/etl.json",
            "parameters": {"plan_uri": "gs://s/plan.jsonl"},
            "environment": {"numWorkers": 3},
        }
    }
    assert dataflow.to("/finalize")[0].body == HANDLE
    assert cancels(dataflow) == []


@pytest.mark.parametrize("state", ["RUNNING", "DONE", "PENDING"])
def test_a_job_of_the_runs_name_is_adopted(dataflow: Chain, state: str) -> None:
    others = in_state("RUNNING", name="etl-run-11", job_id="other")
    dataflow.script.replies[JOBS] = [Reply(200, {"jobs": [others, in_state(state)]})]
    assert dataflow.run() == RECEIPT
    assert dataflow.to(LAUNCHES) == []


@pytest.mark.parametrize("fault", [Reply(409, {"error": {"message": "name taken"}}), Reply(500, {})])
def test_a_launch_without_an_answer_adopts_what_is_there(dataflow: Chain, fault: Reply) -> None:
    dataflow.script.replies[LAUNCHES] = [fault]
    dataflow.script.replies[JOBS] = [Reply(200, {}), Reply(200, {"jobs": [in_state("RUNNING")]})]
    assert dataflow.run() == RECEIPT
    assert len(dataflow.to(LAUNCHES)) == 1


def test_a_launch_that_is_refused_closes_the_run(dataflow: Chain) -> None:
    dataflow.script.replies[LAUNCHES] = [Reply(403, {"error": {"message": "dataflow.jobs.create denied"}})]
    dataflow.script.replies["/finalize"] = [FAILED]
    dataflow.fails()
    failure = dataflow.to("/finalize")[0].body["failure"]
    assert failure == {"step": "extract", "message": "dataflow.jobs.create denied", "code": 403}
    assert cancels(dataflow) == []


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "DRAINED", "UPDATED"])
def test_every_other_end_of_the_job_closes_the_run(dataflow: Chain, state: str) -> None:
    dataflow.script.replies[f"{JOBS}/j1"] = [Reply(200, in_state(state))]
    dataflow.script.replies["/finalize"] = [FAILED]
    assert dataflow.fails().value["message"] == "unit 3 has no manifest"
    failure = dataflow.to("/finalize")[0].body["failure"]
    assert failure["message"] == f"the Dataflow job j1 ended as JOB_STATE_{state}"


def test_a_job_that_takes_too_long_is_cancelled(dataflow: Chain) -> None:
    dataflow.script.replies[f"{JOBS}/j1"] = [Reply(200, in_state("RUNNING"))]
    dataflow.script.replies["/finalize"] = [FAILED]
    started = dataflow.clock.now()
    dataflow.fails()
    assert 7200 - 30 <= dataflow.clock.now() - started <= 7200
    assert cancels(dataflow) == [{"requestedState": "JOB_STATE_CANCELLED"}]
    assert "time was used up" in dataflow.to("/finalize")[0].body["failure"]["message"]


def test_the_runs_deadline_bounds_the_dataflow_job(dataflow: Chain) -> None:
    dataflow.env = {"MAX_RUN_SECONDS": "600"}
    dataflow.script.replies[f"{JOBS}/j1"] = [Reply(200, in_state("RUNNING"))]
    dataflow.script.replies["/finalize"] = [FAILED]
    started = dataflow.clock.now()
    dataflow.fails()
    assert dataflow.clock.now() - started <= 600


def test_a_job_that_can_not_be_followed_is_cancelled_and_the_first_reason_is_told(dataflow: Chain) -> None:
    dataflow.script.replies[f"{JOBS}/j1"] = [Reply(403, {"error": {"message": "jobs.get denied"}})]
    dataflow.script.replies["/finalize"] = [FAILED]
    dataflow.fails()
    assert cancels(dataflow) == [{"requestedState": "JOB_STATE_CANCELLED"}]
    assert dataflow.to("/finalize")[0].body["failure"]["message"] == "jobs.get denied"


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_a_job_of_the_runs_name_that_ended_badly_is_not_started_again(dataflow: Chain, state: str) -> None:
    dataflow.script.replies[JOBS] = [Reply(200, {"jobs": [in_state(state)]})]
    dataflow.script.replies[f"{JOBS}/j1"] = [Reply(200, in_state(state))]
    dataflow.script.replies["/finalize"] = [FAILED]
    dataflow.fails()
    assert dataflow.to(LAUNCHES) == []
    failure = dataflow.to("/finalize")[0].body["failure"]
    assert failure["message"] == f"the Dataflow job j1 ended as JOB_STATE_{state}"


@pytest.mark.parametrize("fault", [Reply(503, {}), Reply(429, {}), None])
def test_a_poll_that_fails_in_passing_gives_no_job_up(dataflow: Chain, fault: Reply | None) -> None:
    dataflow.script.replies[f"{JOBS}/j1"] = [
        Reply(200, in_state("RUNNING")),
        fault,
        Reply(200, in_state("DONE")),
    ]
    assert dataflow.run() == RECEIPT
    assert cancels(dataflow) == []


def test_a_cancel_that_is_refused_leaves_the_first_reason(dataflow: Chain) -> None:
    dataflow.script.replies[f"{JOBS}/j1"] = [
        Reply(403, {"error": {"message": "jobs.get denied"}}),
        Reply(400, {"error": {"message": "the job j1 has terminated"}}),
    ]
    dataflow.script.replies["/finalize"] = [FAILED]
    dataflow.fails()
    assert cancels(dataflow) == [{"requestedState": "JOB_STATE_CANCELLED"}]
    assert dataflow.to("/finalize")[0].body["failure"]["message"] == "jobs.get denied"


def test_a_day_of_polling_stays_within_the_limit_of_steps(dataflow: Chain) -> None:
    plan = {**PLAN, "engine": "dataflow", "dataflow": LAUNCH, "timeout_seconds": 86400}
    dataflow.script.replies["/plan"] = [Reply(200, plan)]
    dataflow.script.replies[f"{JOBS}/j1"] = [
        *[Reply(200, in_state("RUNNING"))] * 2_800,
        Reply(200, in_state("DONE")),
    ]
    assert dataflow.run() == RECEIPT
