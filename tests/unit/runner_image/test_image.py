"""The image and the template, as far as they can be looked at without Docker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from etl_runner.execution.beam import pipeline
from etl_runner.planning.launch import launch_of
from tests.unit.planning.test_launch import SETTINGS, URI, header
from tools.base_images.dockerfile import uses
from tools.template import main, template_spec

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "runner_image" / "Dockerfile").read_text()
ENV = dict(re.findall(r"^\s*(?:ENV )?(\w+)=([^\s\\]+)", DOCKERFILE, re.MULTILINE))
IMAGE = "europe-docker.pkg.dev/p/etl/runner:1.2"


def test_the_worker_is_of_the_version_that_is_locked() -> None:
    lock = (ROOT / "uv.lock").read_text()
    locked = re.search(r'name = "apache-beam"\nversion = "([^"]+)"', lock)
    assert locked is not None
    assert re.search(
        rf"^FROM apache/beam_python3\.11_sdk:{re.escape(locked[1])}(@\S+)? AS beam$", DOCKERFILE, re.MULTILINE
    )
    # Interpreter and boot binary are of one minor version.
    assert re.search(r"^FROM python:3\.11\.", DOCKERFILE, re.MULTILINE)


def test_the_environment_is_what_boot_and_launcher_ask_for() -> None:
    assert ENV["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"
    assert "uv venv --seed" in DOCKERFILE, "boot asks pip for the version of Beam"
    script = ENV["FLEX_TEMPLATE_PYTHON_PY_FILE"].removeprefix("/app/")
    assert (ROOT / script).is_file()
    assert re.search(rf"^COPY .*{re.escape(script)} ", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["/opt/apache/beam/boot"]' in DOCKERFILE


def test_the_last_stage_compiles_nothing_and_no_base_images_tag_moves() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert not re.search(r"apt-get|gcc|pip install|uv ", last)
    bases = [use.image for use in uses(DOCKERFILE)][1:]
    assert all(image.tag not in (None, "latest") for image in bases)


def test_no_start_compiles_what_it_imports() -> None:
    # The user of the job may write nothing, and uv compiles nothing that it is not told to.
    assert re.search(r"uv pip install [^&]*--compile-bytecode", DOCKERFILE)
    assert re.search(r"^RUN python -m compileall -q /app/src /app/runner_image$", DOCKERFILE, re.MULTILINE)


def test_the_job_sheds_root_and_runs_a_file_of_the_image() -> None:
    terraform = (ROOT / "infra" / "terraform" / "runner.tf").read_text()
    found = re.search(r"command = (\[.*\])", terraform)
    assert found is not None
    command = json.loads(found[1])
    assert command[:4] == ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
    assert (ROOT / command[-1]).is_file()
    assert command[-1] in DOCKERFILE


def container_spec() -> dict[str, Any]:
    """ContainerSpec of the discovery document, unknown fields refused."""
    path = files("googleapiclient") / "discovery_cache" / "documents" / "dataflow.v1b3.json"
    schemas = json.loads(path.read_text())["schemas"]

    def closed(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            return {"$ref": f"#/$defs/{node['$ref']}"}
        kept: dict[str, Any] = {key: node[key] for key in ("type", "enum") if key in node}
        if "items" in node:
            kept["items"] = closed(node["items"])
        if "properties" in node:
            kept["properties"] = {name: closed(each) for name, each in node["properties"].items()}
            kept["additionalProperties"] = False
        return kept

    return {"$ref": "#/$defs/ContainerSpec", "$defs": {name: closed(each) for name, each in schemas.items()}}


def test_the_template_is_a_container_spec() -> None:
    spec = json.loads(template_spec(IMAGE))
    validator = jsonschema.Draft202012Validator(container_spec())
    validator.validate(spec)
    assert spec["image"] == IMAGE
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**spec, "metadata": {**spec["metadata"], "paramters": []}})


def test_the_template_declares_exactly_what_is_launched_and_what_the_pipeline_reads() -> None:
    parameters = json.loads(template_spec(IMAGE))["metadata"]["parameters"]
    launch = launch_of(header(), URI, SETTINGS)
    assert launch is not None
    assert {each["name"] for each in parameters} == set(launch.parameters)
    for each in parameters:
        for rule in each.get("regexes", ()):
            assert re.search(rule, launch.parameters[each["name"]])
    own = {each["name"] for each in parameters} & {"plan_uri", "settings"}
    assert own == {"plan_uri", "settings"}


@pytest.mark.parametrize("image", ["", "runner", "registry/runner", "registry/runner:latest"])
def test_a_template_of_an_image_that_may_change_is_refused(
    image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([image, str(tmp_path / "t.json")]) == 2
    assert not list(tmp_path.iterdir())
    assert "make template" in capsys.readouterr().err or image


def test_the_template_is_written(tmp_path: Path) -> None:
    assert main([IMAGE, str(tmp_path / "t.json")]) == 0
    assert json.loads((tmp_path / "t.json").read_text())["image"] == IMAGE


def test_the_launchers_command_says_what_is_wrong() -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "runner_image" / "pipeline.py"), "--runner=FnApiRunner"]
    done = subprocess.run([*command, "--plan_uri=gs://x"], env=environ, capture_output=True, text=True)
    assert done.returncode == pipeline.FINAL
    assert "plan_uri: does not name a plan" in done.stderr


def test_beam_stays_out_of_what_functions_load() -> None:
    code = (
        "import sys, etl_runner.operations, etl_runner.planning.planner, etl_runner.planning.launch, "
        "etl_runner.gcp.dataflow, etl_runner.execution.entry; "
        "sys.exit(any(name.startswith('apache_beam') for name in sys.modules))"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=environ).returncode == 0
