"""The environment of the runner image, made by the Dockerfile's own commands in a folder of this machine, and
its programs as the containers call them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2_grpc

from etl_runner.execution.entry import FINAL
from tests.engines.runner_end import LogCollector
from tests.unit.runner_image.test_image import DOCKERFILE, ENV, ROOT

pytestmark = pytest.mark.slow
SECONDS = 240


@dataclass(frozen=True)
class Environment:
    """A fresh environment of the exported lock, and what its maker said."""

    python: Path
    said: str

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """A program in it, with nothing in the environment but what the image sets and ``env``."""
        variables = {
            **ENV,
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT / "src"),
            **env,
        }
        return subprocess.Popen(
            [str(self.python), *arguments],
            env=variables,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Exit code and output."""
        with self.start(*arguments, **env) as process:
            said, _ = process.communicate(timeout=SECONDS)
            return process.returncode, said


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """What the build stage does, but for its folders and for uv's cache, which is this machine's."""
    folder = tmp_path_factory.mktemp("image")
    beside = ROOT / ".local" / "uv" / "bin" / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    assert uv is not None, "make setup installs uv"
    found = re.search(r"^RUN (uv export .*?[^\\])\n(?=\S)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found is not None
    command = found[1].replace("\\\n", " ")
    assert command.rstrip().endswith("uv pip check --python /opt/venv/bin/python")
    for old, new in (
        ("/opt/venv", str(folder / "venv")),
        ("/usr/local/bin/python", sys.executable),
        ("--no-cache ", ""),
        ("uv ", f"{uv} "),
    ):
        assert old in command
        command = command.replace(old, new)
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder)
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr[-4000:]
    yield Environment(folder / "venv" / "bin" / "python", done.stderr)
    shutil.rmtree(folder)  # half a gigabyte


def test_the_locked_packages_fit_each_other(environment: Environment) -> None:
    assert "All installed packages are compatible" in environment.said
    # Beam's boot asks pip for what is installed.
    code, said = environment.run("-m", "pip", "freeze")
    assert code == 0
    locked = re.search(r'name = "apache-beam"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text())
    assert locked is not None
    assert f"apache-beam=={locked[1]}\n" in said
    assert not re.search(r"^(pytest|mypy|ruff|pandas)==", said, re.MULTILINE)


def test_the_jobs_program_says_what_it_lacks(environment: Environment) -> None:
    code, said = environment.run("runner_image/job.py", ETL_PLAN_URI="gs://staging/plan.jsonl")
    assert code == FINAL
    line = json.loads(said.splitlines()[-1])
    assert line["severity"] == "ERROR"
    assert "ETL_PROJECT: is not set" in line["message"]


def test_the_launchers_program_says_what_it_lacks(environment: Environment) -> None:
    script = ENV["FLEX_TEMPLATE_PYTHON_PY_FILE"].removeprefix("/app/")
    code, said = environment.run(script, "--runner=DataflowRunner", "--plan_uri=gs://staging")
    assert code == FINAL
    assert "plan_uri: does not name a plan" in said


class Runner(LogCollector, beam_fn_api_pb2_grpc.BeamFnControlServicer):  # type: ignore[misc]
    """Dataflow's end of a worker: waits for it, lets it go, and keeps what it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[str] = []
        self.came = threading.Event()

    def Control(self, request_iterator: object, context: grpc.ServicerContext) -> Iterator[object]:
        self.workers.append(str(dict(context.invocation_metadata())["worker_id"]))
        self.came.set()
        yield from ()


def test_a_worker_starts_as_beams_boot_starts_it(environment: Environment, tmp_path: Path) -> None:
    runner = Runner()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(runner, server)
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(runner, server)
    address = f'url: "127.0.0.1:{server.add_insecure_port("127.0.0.1:0")}"'
    server.start()
    # https://github.com/apache/beam/blob/master/sdks/python/container/boot.go (launchSDKProcess)
    options = {"options": {"plan_uri": "gs://staging/plan.jsonl", "settings": "{}", "job_name": "etl-1"}}
    (tmp_path / "options.json").write_text(json.dumps(options))
    process = environment.start(
        "-m",
        "apache_beam.runners.worker.sdk_worker_main",
        WORKER_ID="sdk-0-0",
        PIPELINE_OPTIONS_FILE=str(tmp_path / "options.json"),
        SEMI_PERSISTENT_DIRECTORY=str(tmp_path),
        LOGGING_API_SERVICE_DESCRIPTOR=address,
        CONTROL_API_SERVICE_DESCRIPTOR=address,
        RUNNER_CAPABILITIES="beam:protocol:control_response_elements_embedding:v1",
    )
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        server.stop(None)
    assert runner.came.is_set(), said
    assert (process.returncode, runner.workers) == (0, ["sdk-0-0"]), said
    assert any(line.startswith("Pipeline_options: ") and "etl-1" in line for line in runner.lines)
    assert not any("main session" in line for line in runner.lines)
