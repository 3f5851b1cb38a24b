"""The job as it is submitted to Dataflow: the template's program with the runner of the cloud, as a process,
with the arguments and the environment that the launcher gives it; Dataflow and Cloud Storage are local.
"""

from __future__ import annotations

import base64
import bz2
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud import storage
from google.cloud.dataflow_v1beta3 import AutoscalingAlgorithm, Job, JobType, WorkerIPAddressConfiguration

from etl_runner.jsontypes import JsonObject
from etl_runner.planning.launch import launch_of
from etl_runner.planning.plan import Workers
from etl_runner.settings import Settings
from local.dataflow.request import Request, launcher_arguments
from tests.unit.events import signing
from tests.unit.planning.test_launch import SETTINGS, WORKERS, header
from tests.unit.runner_image.test_image import ENV
from tests.workflow.servers import Reply, ScriptedServer
from tests.workflow.servers import Request as Seen

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ENV["FLEX_TEMPLATE_PYTHON_PY_FILE"].removeprefix("/app/")
TOKEN = {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}


@pytest.fixture
def api() -> Iterator[ScriptedServer]:
    """Dataflow's jobs.create, and where a key becomes a token."""

    def answer(request: Seen) -> Reply:
        if request.path == "/token":
            return Reply(200, TOKEN)
        return Reply(200, {**request.body, "id": "2026-01-01_00_00_00-1"})

    server = ScriptedServer(answer)
    yield server
    server.stop()


@pytest.fixture
def key(api: ScriptedServer, tmp_path: Path) -> Path:
    """Credentials of the launcher's machine; without any, Beam asks the metadata server for a long time."""
    account = {
        "type": "service_account",
        "project_id": "p",
        "client_email": "launcher@p.iam.gserviceaccount.com",
        "private_key": signing.key("launcher")
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode(),
        "token_uri": f"{api.url}/token",
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(account))
    return path


def arguments_of(bucket: str, workers: Workers) -> list[str]:
    """From a plan's header to the launcher's command line."""
    settings = replace(SETTINGS, staging_bucket=bucket, dataflow_temp=f"gs://{bucket}/dataflow")
    launch = launch_of(replace(header(), workers=workers), f"gs://{bucket}/runs/run1/7/plan.jsonl", settings)
    assert launch is not None
    image = workers.image
    request = Request(
        "test-project", "europe-west1", launch.job_name, image, launch.parameters, launch.environment
    )
    return launcher_arguments(request)


Submit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def submit(gcs_endpoint: str, key: Path, tmp_path: Path) -> Submit:
    """Runs the program in a folder of its own, with nothing in the environment but what the image sets."""

    def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        environ = {
            **{name: value for name, value in ENV.items() if name != "PATH"},
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(tmp_path),
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "STORAGE_EMULATOR_HOST": gcs_endpoint,
        }
        command = [sys.executable, str(PROGRAM), *arguments]
        done = subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done

    return run


def staged(bucket: storage.Bucket) -> dict[str, bytes]:
    """What was put into the bucket, by name."""
    return {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs()}


def check_pipeline(pipeline: bytes, image: str) -> None:
    """Code runs in our image, brings no files along, and is named where it lies instead of being pickled."""
    components = beam_runner_api_pb2.Pipeline.FromString(pipeline).components
    environments = list(components.environments.values())
    images = {
        beam_runner_api_pb2.DockerPayload.FromString(each.payload).container_image for each in environments
    }
    assert images == {image}
    assert not any(each.dependencies for each in environments)
    steps = {each.unique_name: each.spec for each in components.transforms.values()}
    assert steps["Spread"].urn == "beam:transform:reshuffle:v1"
    for name in ("Read units", "Extract"):
        code = beam_runner_api_pb2.ParDoPayload.FromString(steps[name].payload).do_fn.payload
        pickled = bz2.decompress(base64.b64decode(code))
        assert b"etl_runner.execution.beam" in pickled
        # How cloudpickle carries classes and functions whose modules it does not expect on the workers.
        assert not re.search(rb"__main__|_make_skeleton_class|_make_function|_builtin_type", pickled)


def check_job(job: JsonObject, bucket: str, pipeline: str, workers: Workers) -> None:
    """The job as Dataflow gets it."""
    typed = Job.from_json(json.dumps(job))
    (pool,) = typed.environment.worker_pools
    assert (typed.name, typed.type_) == ("etl-run1", JobType.JOB_TYPE_BATCH)
    assert {"etl_source": "orders", "etl_run": "run1"}.items() <= dict(typed.labels).items()
    assert [each.container_image for each in pool.sdk_harness_container_images] == [workers.image]
    assert pool.worker_harness_container_image == workers.image
    assert not pool.packages
    assert (pool.num_workers, pool.autoscaling_settings.max_num_workers) == (workers.count, workers.count)
    assert pool.autoscaling_settings.algorithm == AutoscalingAlgorithm.AUTOSCALING_ALGORITHM_NONE
    assert (pool.machine_type, pool.num_threads_per_worker) == (workers.machine_type, workers.threads)
    assert pool.subnetwork == SETTINGS.dataflow_subnetwork
    assert pool.ip_configuration == WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert typed.environment.service_account_email == SETTINGS.dataflow_service_account
    assert typed.environment.temp_storage_prefix.startswith(f"storage.googleapis.com/{bucket}/dataflow/temp/")
    experiments = set(typed.environment.experiments)
    assert {"use_runner_v2", "beam_fn_api"} <= experiments
    one = {"no_use_multiple_sdk_containers"} if workers.processes == 1 else {"use_multiple_sdk_containers"}
    assert experiments & {"no_use_multiple_sdk_containers", "use_multiple_sdk_containers"} == one
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert not options.get("save_main_session")
    assert options["pipelineUrl"] == pipeline
    assert options["plan_uri"] == f"gs://{bucket}/runs/run1/7/plan.jsonl"
    assert Settings.from_env(json.loads(options["settings"])).staging_bucket == bucket


def test_the_launcher_stages_a_job_without_a_pickled_session(
    gcs_bucket: storage.Bucket, api: ScriptedServer, submit: Submit
) -> None:
    workers = replace(WORKERS, count=1, processes=1, threads=3)
    place = f"gs://{gcs_bucket.name}/dataflow/staging/template_launches/job_object"
    submit([*arguments_of(gcs_bucket.name, workers), f"--template_location={place}"])
    found = staged(gcs_bucket)
    # No main session, no wheel, no source archive.
    assert sorted(name.rsplit("/", 1)[1] for name in found) == ["job_object", "pipeline.pb"]
    (name,) = (name for name in found if name.endswith("pipeline.pb"))
    check_pipeline(found[name], workers.image)
    job = json.loads(found[place.removeprefix(f"gs://{gcs_bucket.name}/")])
    check_job(job, gcs_bucket.name, f"gs://{gcs_bucket.name}/{name}", workers)
    # The service makes the job of it; the program asks for nothing.
    assert not [request for request in api.requests if request.path.startswith("/v1b3/")]


def test_a_job_that_is_submitted_directly_is_the_same(
    gcs_bucket: storage.Bucket, api: ScriptedServer, submit: Submit
) -> None:
    # Beam speaks HTTP to this name only.
    endpoint = api.url.replace("127.0.0.1", "localhost")
    submit([*arguments_of(gcs_bucket.name, WORKERS), f"--dataflow_endpoint={endpoint}"])
    found = staged(gcs_bucket)
    ((name, pipeline),) = found.items()
    check_pipeline(pipeline, WORKERS.image)
    (request,) = (request for request in api.requests if request.path.startswith("/v1b3/"))
    assert (request.method, request.path.partition("?")[0]) == (
        "POST",
        "/v1b3/projects/test-project/locations/europe-west1/jobs",
    )
    check_job(request.body, gcs_bucket.name, f"gs://{gcs_bucket.name}/{name}", WORKERS)
