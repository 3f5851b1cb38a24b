"""Both engines through the workflow, to the table."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from etl_runner.cli.deployment import cloud_deployment
from etl_runner.cli.main import app
from etl_runner.planning.launch import job_name
from local import rest
from local.dataflow import job as dataflow_job
from local.demo_large.memory import sdk_workers
from local.stack import Stack
from tests.conftest import Database
from tests.integration.exactness.lab import Lab, orders, sentence, until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]
SECONDS = 400
"""A Beam pipeline starts processes that import a lot."""
READING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
"""The server's other databases are other tests'."""


@pytest.fixture
def lab(stack: Stack, postgres: Database, tmp_path: Path) -> Iterator[Lab]:
    password = tmp_path / "password"
    password.write_text(postgres.password)
    made = Lab(stack, postgres, password)
    yield made
    made.close()


def ok(lab: Lab) -> Any:
    """The receipt of a run through the workflow that ends well."""
    ended = lab.run(timeout=SECONDS)
    assert ended.state == "SUCCEEDED", ended
    return ended.result


@pytest.mark.parametrize("engine", ["cloud_run", "dataflow"])
def test_a_table_lands_exactly_on_either_engine(lab: Lab, engine: str) -> None:
    orders(lab, 400, engine=engine, unit_rows=50)
    lab.database.execute("ANALYZE orders")
    receipt = ok(lab)
    assert receipt["engine"] == engine
    assert receipt["units"] >= 4
    lab.check_equal("id, version, note")
    if engine == "dataflow":
        (job,) = lab.stack.dataflow.jobs(job_name(receipt["run_id"]))
        said = job.log_of(1).read_text()
        assert f"[source_id={lab.source_id} run_id={receipt['run_id']} epoch=1 unit=u" in said
    # And again: what is new, and nothing twice.
    lab.database.execute(
        "INSERT INTO orders SELECT i, 1, clock_timestamp(), 'new' FROM generate_series(401, 450) AS i"
    )
    assert ok(lab)["rows_loaded"] == 50
    lab.check_equal("id, version, note")


def test_a_plan_at_the_threshold_chooses_dataflow_by_itself(lab: Lab) -> None:
    orders(lab, 300)
    lab.database.execute("ANALYZE orders")
    # What the planner believes is what counts: the catalog's estimate.
    lab.database.execute("UPDATE pg_class SET reltuples = 300 * 1e4 WHERE oid = 'orders'::regclass")
    receipt = ok(lab)
    assert receipt["engine"] == "dataflow", receipt["engine_reason"]
    assert "not fewer than the threshold 1,000,000" in receipt["engine_reason"]
    lab.check_equal()
    (job,) = lab.stack.dataflow.jobs(job_name(receipt["run_id"]))
    assert (job.to_json()["currentState"], job.attempts) == ("JOB_STATE_DONE", 1)


def test_a_row_that_does_not_fit_fails_the_run_by_name_and_loads_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dataflow would start two more pipelines, of some seconds each; that it does is test_cancel's.
    monkeypatch.setattr(dataflow_job, "ATTEMPTS", 2)
    orders(lab, 100, engine="dataflow", unit_rows=25)
    lab.database.execute("ALTER TABLE orders ADD COLUMN day date DEFAULT '2020-01-01'")
    lab.database.execute("UPDATE orders SET day = 'infinity' WHERE id = 77; ANALYZE orders")
    ended = lab.run(timeout=SECONDS)
    said = sentence(ended)
    (job,) = lab.stack.dataflow.jobs(job_name(ended.execution))
    assert (job.to_json()["currentState"], job.attempts) == ("JOB_STATE_FAILED", 2)
    assert "unit u" in said
    assert "row " in said
    assert "column 'day'" in said
    assert lab.loaded() == []
    lab.settled()


def test_a_killed_pipeline_is_started_again_and_each_row_is_there_once(lab: Lab) -> None:
    orders(lab, 400, engine="dataflow", unit_rows=50)
    lab.database.execute("ANALYZE orders")
    execution = lab.stack.start_run(lab.source_id)
    name = job_name(execution.rsplit("/", 1)[1])
    job = until(lambda: next(iter(lab.stack.dataflow.jobs(name)), None), "the job", 120)
    pid = until(lambda: job.pid, "its pipeline", 60)
    os.killpg(pid, signal.SIGKILL)
    ended = lab.stack.wait_run(execution, SECONDS)
    assert ended.state == "SUCCEEDED", ended
    assert job.attempts == 2
    lab.check_equal()


def test_worker_processes_are_killed_while_their_pipeline_lives_and_each_row_is_there_once(lab: Lab) -> None:
    orders(lab, 40)
    lab.database.execute("UPDATE orders SET updated_at = updated_at - interval '1 day'")
    slow = "SELECT id, version, updated_at, note || coalesce(pg_sleep(0.1)::text, '') AS note FROM orders"
    lab.put(query=slow, timestamp_column="updated_at", engine="dataflow")
    execution = lab.stack.start_run(lab.source_id)
    name = job_name(execution.rsplit("/", 1)[1])
    job = until(lambda: next(iter(lab.stack.dataflow.jobs(name)), None), "the job", 120)
    pipeline = until(lambda: job.pid, "its pipeline", 60)
    until(lambda: lab.database.query(READING), "a unit to be read", 200)
    workers = sdk_workers(pipeline)
    assert workers
    assert pipeline not in workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    ended = lab.stack.wait_run(execution, SECONDS)
    assert ended.state == "SUCCEEDED", ended
    assert job.attempts == 2
    assert ended.result["rows_loaded"] == 40
    lab.check_equal()


def test_a_cancelled_run_takes_its_dataflow_job_with_it(lab: Lab) -> None:
    orders(lab, 20)
    lab.database.execute("UPDATE orders SET updated_at = updated_at - interval '1 day'")
    slow = "SELECT id, version, updated_at, note || coalesce(pg_sleep(1)::text, '') AS note FROM orders"
    lab.put(query=slow, timestamp_column="updated_at", engine="dataflow")
    execution = lab.stack.start_run(lab.source_id)
    run_id = execution.rsplit("/", 1)[1]
    # Planning asks the query too, before there is a job.
    job = until(lambda: next(iter(lab.stack.dataflow.jobs(job_name(run_id))), None), "the job", 120)
    until(lambda: lab.database.query(READING), "a unit to be read", 200)
    deployment = cloud_deployment(lab.stack.settings)
    done = CliRunner().invoke(app, ["cancel", run_id, "--json"], obj=deployment)
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["outcome"]) == (0, "cancelled"), answer
    assert [name.rsplit("/", 1)[1] for name in answer["stopped"]] == [run_id, job.id]
    assert lab.stack.wait_run(execution, 60).state == "CANCELLED"
    until(lambda: not job.active, "the job's end")
    assert job.to_json()["currentState"] == "JOB_STATE_CANCELLED"
    assert lab.loaded() == []


def test_the_api_refuses_what_dataflow_refuses(stack: Stack) -> None:
    names = stack.layout.names
    url = f"{stack.dataflow.endpoint}/v1b3/projects/{names.project}/locations/{names.location}"
    launch = {"jobName": "a", "containerSpecGcsPath": stack.layout.dataflow_template, "parameters": {}}

    def refused(**changes: Any) -> str:
        status, answer = rest.call(
            "POST", f"{url}/flexTemplates:launch", {"launchParameter": {**launch, **changes}}
        )
        assert status == 400
        return str(answer["error"]["message"])

    assert "missing parameter plan_uri" in refused()
    assert "unrecognized parameter plan" in refused(parameters={"plan": "x"})
    assert "job name" in refused(jobName="Etl_1")
    assert "Unable to open template" in refused(containerSpecGcsPath="gs://none/t.json")
    assert "Unknown name" in refused(environment={"num_workers": 1})
    assert rest.call("GET", f"{url}/jobs/none")[0] == 404
    assert rest.call("GET", f"{url}/jobs?name=none")[1] == {}
    assert rest.call("GET", f"{stack.dataflow.endpoint}/v1b3/other")[0] == 404
