"""What ``etl-runner cancel`` tells Dataflow, over the official client and HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.gcp.clients import dataflow_jobs_client
from etl_runner.gcp.engines import AllEngines, DataflowJobs
from etl_runner.planning.launch import job_name
from etl_runner.settings import Settings
from local import rest
from local.dataflow import DataflowServer, Launcher
from local.dataflow.job import Job
from tests.integration.exactness.lab import until
from tests.unit.planning.test_launch import SETTINGS, URI
from tools.template import template_spec

Serve = Callable[[str], DataflowServer]
PROJECT, LOCATION = SETTINGS.project, SETTINGS.location


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server whose pipelines are Python programs of a line."""
    servers: list[DataflowServer] = []

    def start(program: str) -> DataflowServer:
        launcher = Launcher([sys.executable, "-c", program], workdir=tmp_path)
        servers.append(DataflowServer(launcher, lambda _: template_spec("registry/runner:1"), tmp_path))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def settings_of(server: DataflowServer) -> Settings:
    return replace(SETTINGS, dataflow_endpoint=server.endpoint)


def launch(server: DataflowServer, run_id: str) -> Job:
    """Have a run's job started as the workflow does."""
    url = f"{server.endpoint}/v1b3/projects/{PROJECT}/locations/{LOCATION}/flexTemplates:launch"
    parameters = {"plan_uri": URI, "settings": "{}", "sdk_container_image": "registry/runner:1"}
    name = job_name(run_id)
    body = {"jobName": name, "containerSpecGcsPath": "gs://a/etl.json", "parameters": parameters}
    assert rest.call("POST", url, {"launchParameter": body})[0] == 200
    return server.jobs(name)[0]


def engine_of(server: DataflowServer, client: Any = None) -> DataflowJobs:
    settings = settings_of(server)
    return DataflowJobs(settings, lambda: client or dataflow_jobs_client(settings))


def test_a_job_that_always_fails_is_tried_four_times(serve: Serve) -> None:
    job = launch(serve("raise SystemExit(1)"), "run-1")
    until(lambda: not job.active, "the job's end")
    assert (job.attempts, job.to_json()["currentState"]) == (4, "JOB_STATE_FAILED")


def test_the_runs_job_is_cancelled_and_no_other(serve: Serve) -> None:
    server = serve("import time; time.sleep(600)")
    mine, other = launch(server, "run-1"), launch(server, "run-10")
    place = f"projects/{PROJECT}/locations/{LOCATION}/jobs"
    assert engine_of(server).stop("run-1", 1) == (f"{place}/{mine.id}",)
    assert mine.to_json()["requestedState"] == "JOB_STATE_CANCELLED"
    until(lambda: not mine.active, "the job's end")
    assert mine.to_json()["currentState"] == "JOB_STATE_CANCELLED"
    assert mine.pid is None
    assert other.active
    # Asked again, there is nothing left to stop.
    assert engine_of(server).stop("run-1", 1) == ()


def test_a_job_that_ends_while_it_is_cancelled_is_none_to_stop(serve: Serve, tmp_path: Path) -> None:
    server = serve("import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)")
    job = launch(server, "run-1")

    class Slow:
        """The official client; between its two calls, the job ends."""

        def __init__(self) -> None:
            self._client = dataflow_jobs_client(settings_of(server))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        def list_jobs(self, request: Any) -> list[Any]:
            found = list(self._client.list_jobs(request=request))
            assert [each.id for each in found] == [job.id]
            (tmp_path / "go").touch()
            job.join()
            return found

    assert engine_of(server, Slow()).stop("run-1", 1) == ()
    assert job.to_json()["currentState"] == "JOB_STATE_DONE"


def test_where_dataflow_is_not_deployed_its_api_is_not_asked() -> None:
    def asked() -> Any:
        raise AssertionError("a request for nothing")

    assert DataflowJobs(replace(SETTINGS, dataflow_template=None), asked).stop("run-1", 1) == ()


def test_a_refusal_and_an_outage_are_told(serve: Serve) -> None:
    server = serve("pass")
    settings = settings_of(server)
    elsewhere = replace(settings, dataflow_endpoint=f"{server.endpoint}/none")
    with pytest.raises(PermanentError, match="stopping the Dataflow job of run run-1"):
        DataflowJobs(elsewhere, lambda: dataflow_jobs_client(elsewhere)).stop("run-1", 1)
    server.stop()
    with pytest.raises(RetryableError, match="stopping the Dataflow job of run run-1"):
        engine_of(server).stop("run-1", 1)


def test_an_engine_that_cannot_be_asked_spares_none_of_the_others(serve: Serve) -> None:
    class Down:
        def stop(self, run_id: str, epoch: int) -> tuple[str, ...]:
            raise RetryableError("Cloud Run is down")

    server = serve("import time; time.sleep(600)")
    job = launch(server, "run-1")
    with pytest.raises(RetryableError, match="Cloud Run is down"):
        AllEngines((Down(), engine_of(server))).stop("run-1", 1)
    until(lambda: not job.active, "the job's end")
