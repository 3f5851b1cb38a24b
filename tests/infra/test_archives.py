"""Each function's archive, unpacked where there is nothing but its requirements, answers as a function.

The environment is installed from PyPI, as the platform does it; nothing of the repository is on its path.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.ports import free_port
from tools.infra.modules import ROOT
from tools.setup import find_uv

# One process makes the environment for all.
pytestmark = pytest.mark.slow

FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
# What a function imports while it works, and not before.
LATER = {
    "trigger": ("commit.finalize", "commit.prepare", "events.run_events", "gcp.jobs", "config.load"),
    "plan": (
        *("config.load", "planning.planner", "planning.write_plan", "gcp.secrets", "gcp.jobs"),
        *("sources.postgres.source", "sources.mysql.source"),
    ),
    "finalize": ("commit.finalize", "commit.prepare", "events.run_events", "gcp.jobs"),
    **dict.fromkeys(
        ("file_arrival", "sweep"),
        ("commit.finalize", "events.load", "events.sns", "planning.planner", "sources.postgres.source"),
    ),
}
HEAVY = ("apache_beam", "pandas", "numpy", "pg8000", "pymysql", "pyarrow", "typer")


def unpack(name: str, target: Path) -> None:
    """The files that infra/terraform/functions.tf puts into the archive (its tests say so)."""
    target.mkdir()
    shutil.copy(ROOT / "functions" / name / "main.py", target)
    shutil.copy(ROOT / "functions" / name / "requirements.txt", target)
    endings = (".py", ".json", ".sql")
    text = (ROOT / "infra" / "terraform" / "functions.tf").read_text()
    (left_out,) = re.findall(r'^  left_out = "(.*)"$', text, re.MULTILINE)
    for path in (each for each in (ROOT / "src").glob("etl_runner/**/*") if each.suffix in endings):
        name_in_it = path.relative_to(ROOT / "src")
        if re.match(left_out, name_in_it.as_posix()):
            continue
        copy = target / name_in_it
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the requirements, which are the same for all functions, and nothing else."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    wanted = str(ROOT / "functions" / "trigger" / "requirements.txt")
    python = place / "bin" / "python"
    uv = find_uv()
    # Installing goes by this machine's own settings: mirrors, certificates, caches.
    if uv is not None:
        run(uv, "venv", "--quiet", "--python", sys.executable, str(place), env=None)
        run(uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", wanted, env=None)
    else:
        run(sys.executable, "-m", "venv", str(place), env=None)
        run(str(python), "-m", "pip", "install", "--quiet", "--requirement", wanted, env=None)
    return python


def run(*command: str, env: dict[str, str] | None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """The platform's, without a word of this repository."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(params=FUNCTIONS)
def served(request: pytest.FixtureRequest, python: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a function that is served from its archive."""
    archive = tmp_path / "archive"
    unpack(request.param, archive)
    port = free_port()
    command = [str(python), "-m", "functions_framework", "--target", "main", "--source", "main.py"]
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=archive,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                status(f"{url}/robots.txt", None)
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


def status(url: str, body: Any) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_answers_from_its_archive(served: str) -> None:
    code, body = status(served, {})
    assert code == 400
    error = json.loads(body)["error"]
    assert error["type"] == "ConfigError"
    # It came as far as its environment, which is not set here.
    assert "ETL_STATE_BUCKET" in {problem["path"] for problem in error["problems"]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_that_it_imports_is_there_and_nothing_heavy_at_its_start(
    name: str, python: Path, tmp_path: Path
) -> None:
    unpack(name, tmp_path / "archive")
    script = f"""
import importlib, json, sys
import main
heavy = sorted(set(sys.modules) & set({HEAVY!r}))
for module in {LATER[name]!r}:
    importlib.import_module("etl_runner." + module)
import google.cloud.bigquery, google.cloud.pubsub_v1, google.cloud.secretmanager, google.cloud.storage
print(json.dumps(heavy))
"""
    loaded = run(str(python), "-c", script, env=environment(), cwd=tmp_path / "archive")
    assert json.loads(loaded) == []
