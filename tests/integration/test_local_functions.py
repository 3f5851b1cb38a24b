"""Functions under functions-framework, each in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl_runner.errors import PermanentError
from local import rest
from local.functions import FunctionServer, function_names
from local.layout import REPOSITORY
from local.processes import ProcessFailedError

pytestmark = pytest.mark.stack

_SOURCE = """
import os

import functions_framework

import etl_runner


@functions_framework.http
def main(request):
    env = os.environ
    return {"got": request.get_json(), "name": env["K_SERVICE"], "a": env["A"], "pid": os.getpid()}
"""


def _env() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "src"), "A": "1"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FunctionServer]:
    source = tmp_path / "main.py"
    source.write_text(_SOURCE)
    server = FunctionServer("hello", source, env=_env(), log=tmp_path / "log")
    server.wait()
    yield server
    server.stop()


def _ask(server: FunctionServer) -> dict[str, object]:
    status, answer = rest.call("POST", server.url, {"x": 1})
    assert status == 200, answer
    return dict(answer)


def test_a_function_gets_its_request_and_environment(server: FunctionServer) -> None:
    answer = _ask(server)
    assert (answer["got"], answer["name"], answer["a"]) == ({"x": 1}, "hello", "1")


def test_a_restart_is_another_process_on_the_same_port(server: FunctionServer) -> None:
    before, url = _ask(server)["pid"], server.url
    server.restart()
    assert server.url == url
    assert _ask(server)["pid"] != before


def test_a_function_that_is_killed_comes_back(server: FunctionServer) -> None:
    before = _ask(server)["pid"]
    os.killpg(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        try:
            after = _ask(server)["pid"]
            break
        except PermanentError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert after != before


def test_code_that_does_not_load_is_told_of(tmp_path: Path) -> None:
    source = tmp_path / "main.py"
    source.write_text("import no_such_module\n")
    server = FunctionServer("broken", source, env=_env(), log=tmp_path / "log")
    with pytest.raises(ProcessFailedError, match="no_such_module"):
        server.wait()
    server.stop()


def test_the_repositorys_functions_are_found() -> None:
    assert {"finalize", "plan", "trigger"} <= set(function_names(REPOSITORY / "functions"))
