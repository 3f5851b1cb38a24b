"""The request to Dataflow: names, parameters and environment as API, template and pipeline know them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.gcp.clients import get_json
from etl_runner.gcp.dataflow import dataflow_fleet
from etl_runner.planning.launch import JOB_NAME, job_name, launch_of
from etl_runner.planning.plan import PlanHeader, Workers
from etl_runner.planning.workers import Fleet
from etl_runner.settings import VARIABLES, Settings
from etl_runner.state.memory import MemoryObjectStore
from tests.unit.execution.worlds import make_plan
from tests.workflow.servers import Reply, Request, ScriptedServer

URI = "gs://staging/runs/run1/7/plan.jsonl"
SETTINGS = Settings.from_env(
    {
        **{name: f"a-{name.lower()}" for name in VARIABLES.values() if name.startswith("ETL_")},
        **dict.fromkeys(("ETL_ROW_THRESHOLD", "ETL_UNIT_ROWS", "ETL_MAX_TASKS", "ETL_TASK_SLOTS"), "7"),
        "ETL_DATAFLOW_MAX_WORKERS": "3",
        "ETL_DATAFLOW_TEMPLATE": "gs://artifacts/templates/etl.json",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
    }
)
WORKERS = Workers(3, "n2-standard-4", 4, 2, "registry/etl-runner:1")


def header(**changes: Any) -> PlanHeader:
    return make_plan(1, engine="dataflow", workers=WORKERS, **changes).header


def environment_schema() -> dict[str, Any]:
    """FlexTemplateRuntimeEnvironment of the discovery document; other fields are refused."""
    document = files("googleapiclient") / "discovery_cache" / "documents" / "dataflow.v1b3.json"
    found = json.loads(document.read_text())["schemas"]["FlexTemplateRuntimeEnvironment"]["properties"]
    known = ("type", "enum", "items", "additionalProperties")
    fields = {name: {key: each[key] for key in known if key in each} for name, each in found.items()}
    return {"type": "object", "properties": fields, "additionalProperties": False}


@pytest.mark.parametrize("workers", [WORKERS, replace(WORKERS, count=1, processes=1, threads=3)])
def test_the_environment_is_that_of_the_discovery_document(workers: Workers) -> None:
    launch = launch_of(replace(header(), workers=workers), URI, SETTINGS)
    assert launch is not None
    schema = environment_schema()
    jsonschema.Draft202012Validator(schema).validate(launch.environment)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**launch.environment, "max_workers": 3})


def test_the_plan_decides_the_machines_and_the_settings_the_place() -> None:
    launch = launch_of(header(), URI, SETTINGS)
    assert launch is not None
    assert launch.template == "gs://artifacts/templates/etl.json"
    assert launch.environment == {
        "numWorkers": 3,
        "maxWorkers": 3,
        "autoscalingAlgorithm": "AUTOSCALING_ALGORITHM_NONE",
        "machineType": "n2-standard-4",
        "serviceAccountEmail": "a-etl_dataflow_service_account",
        "subnetwork": "a-etl_dataflow_subnetwork",
        "kmsKeyName": "a-etl_dataflow_kms_key",
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "tempLocation": "a-etl_dataflow_temp/temp",
        "stagingLocation": "a-etl_dataflow_temp/staging",
        "additionalUserLabels": {"etl_source": "orders", "etl_run": "run1"},
    }
    assert launch.parameters["sdk_container_image"] == "registry/etl-runner:1"
    assert launch.parameters["number_of_worker_harness_threads"] == "2"


def test_what_is_not_set_is_left_to_dataflow() -> None:
    bare = replace(
        SETTINGS,
        dataflow_temp=None,
        dataflow_service_account=None,
        dataflow_subnetwork=None,
        dataflow_kms_key=None,
    )
    launch = launch_of(header(), URI, bare)
    assert launch is not None
    assert launch.environment["tempLocation"] == "gs://a-etl_staging_bucket/dataflow/temp"
    left_out = {"serviceAccountEmail", "subnetwork", "ipConfiguration", "kmsKeyName"}
    assert not left_out & set(launch.environment)


def test_a_single_process_is_asked_for_where_the_source_allows_few_readers() -> None:
    launch = launch_of(replace(header(), workers=replace(WORKERS, processes=1, threads=3)), URI, SETTINGS)
    assert launch is not None
    assert launch.environment["additionalExperiments"] == ["no_use_multiple_sdk_containers"]
    assert launch.parameters["number_of_worker_harness_threads"] == "3"


def test_the_workers_get_the_whole_deployment() -> None:
    launch = launch_of(header(), URI, SETTINGS)
    assert launch is not None
    assert Settings.from_env(json.loads(launch.parameters["settings"])) == SETTINGS


def test_other_engines_launch_nothing_and_a_lost_template_is_told() -> None:
    assert launch_of(make_plan(1).header, URI, SETTINGS) is None
    with pytest.raises(PermanentError, match="ETL_DATAFLOW_TEMPLATE is not set any more"):
        launch_of(header(), URI, replace(SETTINGS, dataflow_template=None))


@given(st.text(max_size=100))
def test_every_run_id_gives_one_valid_job_name(run_id: str) -> None:
    assert JOB_NAME.fullmatch(job_name(run_id))
    assert job_name(run_id) == job_name(run_id)


@given(st.text(max_size=60), st.text(max_size=60))
def test_two_runs_never_share_a_job_name(one: str, other: str) -> None:
    assert (job_name(one) == job_name(other)) == (one == other)


def test_an_execution_id_stands_in_the_name() -> None:
    run_id = "0b5f2d6e-9f43-4f0e-9c67-21d7a1d3a7cf"
    assert job_name(run_id) == f"etl-{run_id}"


@pytest.mark.parametrize(
    ("uri", "content", "reason"),
    [
        (None, None, "ETL_DATAFLOW_TEMPLATE is not set"),
        ("gs://artifacts", None, "does not name an object"),
        ("gs://artifacts/etl.json", None, "does not exist"),
        ("gs://artifacts/etl.json", b"{", "does not name an image"),
        ("gs://artifacts/etl.json", b'{"metadata": {}}', "does not name an image"),
    ],
)
def test_what_dataflow_lacks_is_one_sentence(uri: str | None, content: bytes | None, reason: str) -> None:
    store = MemoryObjectStore()
    if content is not None:
        store.create("etl.json", content)
    found = dataflow_fleet(replace(SETTINGS, dataflow_template=uri), lambda _: store, answers(200))
    assert isinstance(found, str)
    assert reason in found


def test_the_workers_run_the_templates_image() -> None:
    store = MemoryObjectStore()
    store.create("templates/etl.json", b'{"image": "registry/etl-runner:9"}')
    settings = replace(SETTINGS, dataflow_subnetwork=None)
    bucket = {"artifacts": store}.__getitem__
    fleet = dataflow_fleet(settings, bucket, answers(200))
    assert fleet == Fleet("a-etl_dataflow_machines", 3, 7, "registry/etl-runner:9")


NO_API = {"error": {"message": "it is disabled", "details": [{"reason": "SERVICE_DISABLED"}]}}
DENIED = {"error": {"message": "denied", "details": [{"reason": "IAM_PERMISSION_DENIED"}]}}
HOSTED = "https://www.googleapis.com/compute/v1/projects/host/regions/eu1/subnetworks/workers"


def prerequisites(dataflow: Reply | None, compute: Reply | None = None, **changes: Any) -> Any:
    """What the planner is told when Google's APIs answer so, and the paths that were asked."""

    def answer(request: Request) -> Reply | None:
        return dataflow if request.path.startswith("/v1b3/") else compute

    server = ScriptedServer(answer)
    store = MemoryObjectStore()
    store.create("templates/etl.json", b'{"image": "registry/etl-runner:9"}')
    settings = replace(
        SETTINGS,
        project="p",
        location="eu1",
        dataflow_subnetwork=None,
        dataflow_endpoint=server.url,
        admin_endpoint=server.url,
    )
    try:
        found = dataflow_fleet(replace(settings, **changes), lambda _: store, get_json)
    finally:
        server.stop()
    return found, [request.path.partition("?")[0] for request in server.requests]


@pytest.mark.parametrize(
    ("dataflow", "compute", "subnetwork", "sentence"),
    [
        (
            *(Reply(403, NO_API), None, None),
            "the Dataflow API is disabled in project p (ETL_PROJECT; gcloud services enable "
            "dataflow.googleapis.com --project p)",
        ),
        (
            *(Reply(404, {"error": {"message": "unknown location"}}), None, None),
            "Dataflow does not serve ETL_LOCATION, eu1 (unknown location)",
        ),
        (
            *(Reply(200, {}), None, "workers"),
            "ETL_DATAFLOW_SUBNETWORK is not regions/<region>/subnetworks/<name> or its URL (workers)",
        ),
        (
            *(Reply(200, {}), None, "regions/us1/subnetworks/workers"),
            "ETL_DATAFLOW_SUBNETWORK is in us1, and ETL_LOCATION is eu1",
        ),
        (
            *(Reply(200, {}), Reply(404, {}), "regions/eu1/subnetworks/workers"),
            "the subnetwork regions/eu1/subnetworks/workers (ETL_DATAFLOW_SUBNETWORK) does not exist",
        ),
        (
            *(Reply(200, {}), Reply(200, {"privateIpGoogleAccess": False}), HOSTED),
            f"the subnetwork {HOSTED} (ETL_DATAFLOW_SUBNETWORK) has no Private Google Access, without which "
            "workers with private addresses reach no Google API",
        ),
        (
            *(Reply(200, {}), Reply(403, NO_API), HOSTED),
            "the Compute Engine API is disabled in project p (ETL_PROJECT; gcloud services enable "
            "compute.googleapis.com --project p)",
        ),
    ],
)
def test_a_prerequisite_that_is_missing_is_one_sentence_with_the_setting(
    dataflow: Reply, compute: Reply | None, subnetwork: str | None, sentence: str
) -> None:
    found, _ = prerequisites(dataflow, compute, dataflow_subnetwork=subnetwork)
    assert found == sentence


@pytest.mark.parametrize("answer", [Reply(200, {}), Reply(403, DENIED), Reply(503, b"no JSON"), None])
def test_what_cannot_be_asked_is_not_said_to_be_missing(answer: Reply | None) -> None:
    found, asked = prerequisites(
        answer, Reply(200, {"privateIpGoogleAccess": True}), dataflow_subnetwork=HOSTED
    )
    assert isinstance(found, Fleet)
    assert asked == [
        "/compute/v1/projects/host/regions/eu1/subnetworks/workers",
        "/v1b3/projects/p/locations/eu1/jobs",
    ]


def test_a_template_that_cannot_be_read_now_is_read_later() -> None:
    class Down(MemoryObjectStore):
        def read(self, name: str) -> Any:
            raise RetryableError("Cloud Storage is down")

    with pytest.raises(RetryableError, match="is down"):
        dataflow_fleet(SETTINGS, lambda _: Down(), answers(200))


def answers(status: int) -> Callable[[str, str], tuple[int, Any]]:
    """Every API answers so."""
    return lambda *_: (status, {})


def test_every_setting_has_its_variable() -> None:
    assert {each.name for each in fields(Settings)} == set(VARIABLES)
