"""The Executions API, through Google's own client; and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import workflows_v1
from google.cloud.workflows import executions_v1
from google.cloud.workflows.executions_v1.services.executions.transports import ExecutionsGrpcTransport
from google.cloud.workflows_v1.services.workflows.transports import WorkflowsGrpcTransport

from local.workflows import serve
from local.workflows.__main__ import main
from local.workflows.clock import SystemClock
from local.workflows.errors import DefinitionError
from local.workflows.service import WorkflowsServer
from tests.workflow.servers import FakeClock

ROOT = Path(__file__).parents[2]
State = executions_v1.Execution.State
DEFINITION = """
main:
  params: [args]
  steps:
    - look:
        switch:
          - condition: ${args == null}
            return: nothing
          - condition: ${"fail" in args}
            next: inner
          - condition: ${"sleep" in args}
            next: rest
    - echo:
        return:
          args: ${args}
          run: ${sys.get_env("GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID")}
          workflow: ${sys.get_env("GOOGLE_CLOUD_WORKFLOW_ID")}
          project: ${sys.get_env("GOOGLE_CLOUD_PROJECT_ID")}
          location: ${sys.get_env("GOOGLE_CLOUD_LOCATION")}
          own: ${sys.get_env("OWN")}
    - inner:
        call: sub
        args:
          what: ${args.fail}
    - rest:
        call: sys.sleep
        args:
          seconds: 1000
        next: rest
sub:
  params: [what]
  steps:
    - break_down:
        raise:
          message: ${what}
          code: 9
"""


class Waiting(FakeClock):
    """A sleep that ends with the execution's cancellation only."""

    def sleep(self, seconds: float, cancelled: threading.Event) -> None:
        super().sleep(seconds, cancelled)
        assert cancelled.wait(60)


Starter = Callable[..., tuple[WorkflowsServer, Any, Any]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    with ExitStack() as stack:

        def run(definition: str = DEFINITION, **options: Any) -> tuple[WorkflowsServer, Any, Any]:
            path = tmp_path / "w.yaml"
            path.write_text(definition)
            options = {"name": "w", "project": "p", "location": "l", "env": {"OWN": "mine"}, **options}
            server = serve(path, clock=Waiting(), **options)
            stack.callback(server.stop)
            channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
            stack.callback(channel.close)
            return (
                server,
                executions_v1.ExecutionsClient(transport=ExecutionsGrpcTransport(channel=channel)),
                workflows_v1.WorkflowsClient(transport=WorkflowsGrpcTransport(channel=channel)),
            )

        yield run


def finished(server: WorkflowsServer, client: Any, name: str) -> Any:
    execution = server.executions.get(name.rpartition("/")[2])
    assert execution is not None
    assert execution.done.wait(30)
    return client.get_execution(name=name)


def created(client: Any, parent: str, argument: Any = None) -> Any:
    text = "" if argument is None else json.dumps(argument)
    return client.create_execution(parent=parent, execution={"argument": text})


def test_an_execution_from_creation_to_result(start: Starter) -> None:
    server, client, _ = start()
    first = created(client, server.parent, {"n": 1})
    execution_id = first.name.rpartition("/")[2]
    assert first.name == f"projects/p/locations/l/workflows/w/executions/{execution_id}"
    assert first.start_time.timestamp() == 1_700_000_000
    done = finished(server, client, first.name)
    assert done.state == State.SUCCEEDED
    assert json.loads(done.result) == {
        "args": {"n": 1},
        "run": execution_id,
        "workflow": "w",
        "project": "p",
        "location": "l",
        "own": "mine",
    }
    assert json.loads(done.argument) == {"n": 1}
    assert done.end_time.timestamp() == 1_700_000_000
    assert [(step.routine, step.step) for step in done.status.current_steps] == [("main", "echo")]
    assert not done.error.payload


def test_an_execution_without_an_argument(start: Starter) -> None:
    server, client, _ = start()
    assert finished(server, client, created(client, server.parent).name).result == '"nothing"'


def test_a_failed_execution_says_why_and_where(start: Starter) -> None:
    server, client, _ = start()
    done = finished(server, client, created(client, server.parent, {"fail": "no such table"}).name)
    assert done.state == State.FAILED
    assert json.loads(done.error.payload) == {"message": "no such table", "code": 9}
    assert 'in step "break_down", routine "sub"' in done.error.context
    assert 'in step "inner", routine "main"' in done.error.context
    elements = [(element.routine, element.step) for element in done.error.stack_trace.elements]
    assert elements == [("sub", "break_down"), ("main", "inner")]
    assert done.error.stack_trace.elements[0].position.line > 0
    assert done.result == ""


def test_a_running_execution_shows_its_step_and_can_be_cancelled_once(start: Starter) -> None:
    server, client, _ = start()
    name = created(client, server.parent, {"sleep": True}).name
    execution = server.executions.get(name.rpartition("/")[2])
    assert execution is not None
    assert client.get_execution(name=name).state == State.ACTIVE
    cancelled = client.cancel_execution(name=name)
    assert cancelled.state == State.CANCELLED
    assert cancelled.end_time is not None
    with pytest.raises(exceptions.FailedPrecondition):
        client.cancel_execution(name=name)
    assert client.get_execution(name=name).state == State.CANCELLED


def test_executions_are_listed_newest_first_in_pages(start: Starter) -> None:
    ids = iter(f"e{number}" for number in range(5))
    server, client, _ = start(new_id=lambda: next(ids))
    for number in range(5):
        finished(server, client, created(client, server.parent, {"n": number}).name)
    request = executions_v1.ListExecutionsRequest(parent=server.parent, page_size=2)
    pages = [
        [item.name.rpartition("/")[2] for item in page.executions]
        for page in client.list_executions(request).pages
    ]
    assert pages == [["e4", "e3"], ["e2", "e1"], ["e0"]]
    basic = next(iter(client.list_executions(parent=server.parent)))
    assert (basic.state, basic.result, basic.argument) == (State.SUCCEEDED, "", "")
    full = executions_v1.ListExecutionsRequest(parent=server.parent, view=executions_v1.ExecutionView.FULL)
    assert json.loads(next(iter(client.list_executions(full))).argument) == {"n": 4}


@pytest.mark.parametrize("argument", ["{", "9223372036854775808", json.dumps("x" * 32768)])
def test_an_argument_that_can_not_be_used(start: Starter, argument: str) -> None:
    server, client, _ = start()
    with pytest.raises(exceptions.InvalidArgument):
        client.create_execution(parent=server.parent, execution={"argument": argument})
    assert list(client.list_executions(parent=server.parent)) == []


def test_what_is_not_there(start: Starter) -> None:
    server, client, _ = start()
    with pytest.raises(exceptions.NotFound):
        created(client, "projects/p/locations/l/workflows/other")
    with pytest.raises(exceptions.NotFound):
        client.get_execution(name=f"{server.parent}/executions/none")
    with pytest.raises(exceptions.NotFound):
        client.cancel_execution(name=f"{server.parent}/executions/none")


def test_the_workflow_itself_can_be_read(start: Starter) -> None:
    server, _, workflows = start()
    found = workflows.get_workflow(name=server.parent)
    assert found.source_contents == DEFINITION
    assert found.state == workflows_v1.Workflow.State.ACTIVE
    assert dict(found.user_env_vars) == {"OWN": "mine"}


def test_nothing_is_served_that_could_not_run(start: Starter) -> None:
    with pytest.raises(DefinitionError):
        start("main:\n  steps:\n    - a:\n        next: b\n")
    with pytest.raises(ValueError, match="connectors of dataflow, run"):
        start((ROOT / "workflows" / "etl.yaml").read_text())
    with pytest.raises(ValueError, match="GOOGLE_X"):
        start(env={"GOOGLE_X": "1"})


def test_a_fault_of_the_interpreter_fails_the_execution(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("local.workflows.engine.evaluate", broken)
    server, client, _ = start()
    done = finished(server, client, created(client, server.parent).name)
    assert done.state == State.FAILED
    assert json.loads(done.error.payload)["tags"] == ["SystemError"]


def test_a_wait_ends_with_the_cancellation() -> None:
    cancelled = threading.Event()
    cancelled.set()
    SystemClock().sleep(10_000, cancelled)
    SystemClock(sleep_factor=0).sleep(10_000, threading.Event())


# -- the command line -----------------------------------------------------------------------------------


def test_check_accepts_the_projects_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(ROOT / "workflows" / "etl.yaml")]) == 0
    assert "valid" in capsys.readouterr().out


def test_check_names_step_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("main:\n  steps:\n    - a:\n        call: http.psot\n    - b:\n        next: c\n")
    assert main(["--check", str(path)]) == 1
    errors = capsys.readouterr().err
    assert 'line 4, step "a" of "main": unknown function http.psot' in errors
    assert 'line 6, step "b" of "main"' in errors


def test_check_of_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err


def test_the_server_as_a_process(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(DEFINITION)
    options = [
        "--definition",
        str(path),
        "--name",
        "w",
        "--project",
        "p",
        "--location",
        "l",
        "--env",
        "OWN=a=b",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "local.workflows", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.rpartition(":")[2])
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            client = executions_v1.ExecutionsClient(transport=ExecutionsGrpcTransport(channel=channel))
            name = created(client, "projects/p/locations/l/workflows/w", {"n": 1}).name
            execution = client.get_execution(name=name)
            while execution.state == State.ACTIVE:
                execution = client.get_execution(name=name)
        assert json.loads(execution.result)["own"] == "a=b"
    finally:
        process.terminate()
        assert process.wait(30) == 0
        if process.stdout is not None:
            process.stdout.close()
