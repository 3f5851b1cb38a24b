"""Cloud Run jobs as the official clients see them: real processes, retries, timeouts, cancellation."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import Aborted, BadRequest, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2

from local.cloud_run import CloudRunServer, Image
from local.cloud_run.job import JobSpec

pytestmark = pytest.mark.stack

PARENT = "projects/p/locations/l"
JOB = f"{PARENT}/jobs/runner"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudRunServer]:
    folder = tmp_path_factory.mktemp("run")
    image = Image([sys.executable, "-c"], env={"PATH": os.environ["PATH"]}, workdir=folder)
    server = CloudRunServer(image, folder / "logs")
    yield server
    server.stop()


def _client(kind: Any, server: CloudRunServer) -> Any:
    return kind(
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        transport="rest",
        client_options={"api_endpoint": server.endpoint},
    )


@pytest.fixture(scope="module")
def jobs(server: CloudRunServer) -> Any:
    return _client(run_v2.JobsClient, server)


@pytest.fixture(scope="module")
def executions(server: CloudRunServer) -> Any:
    return _client(run_v2.ExecutionsClient, server)


@pytest.fixture
def run(server: CloudRunServer, jobs: Any) -> Callable[..., Any]:
    """Deploys a script as the job, runs it, and gives the operation."""

    def start(script: str, *, spec: dict[str, Any] | None = None, **overrides: Any) -> Any:
        server.deploy("p", "l", "runner", JobSpec(args=(script,), **(spec or {})))
        return jobs.run_job(request={"name": JOB, "overrides": overrides})

    return start


def _wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(1000):
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_every_task_gets_its_place_and_the_overridden_environment(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    script = (
        "import os,sys; e=os.environ; open(e['OUT']+'/'+e['CLOUD_RUN_TASK_INDEX'],'w').write("
        "' '.join([e['CLOUD_RUN_JOB'],e['CLOUD_RUN_EXECUTION'],e['CLOUD_RUN_TASK_COUNT'],"
        "e['CLOUD_RUN_TASK_ATTEMPT'],e['A'],e['B'],*sys.argv[1:]]))"
    )
    override = {
        "args": [script, "x"],
        "env": [{"name": "B", "value": "new"}, {"name": "OUT", "value": str(tmp_path)}],
    }
    operation = run(
        "raise SystemExit(1)",
        spec={"env": {"A": "kept", "B": "old"}},
        container_overrides=[override],
        task_count=3,
        timeout="60s",
    )
    execution = operation.result(timeout=30)
    assert (execution.succeeded_count, execution.failed_count, execution.task_count) == (3, 0, 3)
    assert execution.template.timeout.total_seconds() == 60
    assert execution.conditions[0].state.name == "CONDITION_SUCCEEDED"
    name = execution.name.rsplit("/", 1)[1]
    seen = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert seen == {str(i): f"runner {name} 3 0 kept new x" for i in range(3)}


def test_nothing_of_the_servers_own_environment_reaches_a_task(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    operation = run("import os; assert 'SECRET_OF_THE_HOST' not in os.environ", spec={"max_retries": 0})
    assert operation.result(timeout=30).succeeded_count == 1


def test_a_task_that_fails_is_run_again(run: Callable[..., Any], server: CloudRunServer) -> None:
    script = "import os,sys; n=int(os.environ['CLOUD_RUN_TASK_ATTEMPT']); print('attempt',n); sys.exit(2-n)"
    execution = run(script).result(timeout=30)
    assert (execution.succeeded_count, execution.retried_count) == (1, 2)
    tasks = list(_client(run_v2.TasksClient, server).list_tasks(parent=execution.name))
    assert [(task.index, task.retried, task.last_attempt_result.exit_code) for task in tasks] == [(0, 2, 0)]
    logs = [server.jobs.execution(execution.name).log_of(0, n).read_text() for n in range(3)]
    assert logs == ["attempt 0\n", "attempt 1\n", "attempt 2\n"]


def test_a_task_that_always_fails_fails_the_operation_after_the_others_ended(
    run: Callable[..., Any], executions: Any
) -> None:
    operation = run(
        "import os,sys; sys.exit(int(os.environ['CLOUD_RUN_TASK_INDEX'] == '0'))",
        spec={"max_retries": 1, "parallelism": 1},
        task_count=3,
    )
    with pytest.raises(Aborted, match=r"runner-\w{5}-task0 failed with message: The container exited"):
        operation.result(timeout=30)
    execution = executions.get_execution(name=operation.metadata.name)
    assert (execution.succeeded_count, execution.failed_count, execution.retried_count) == (2, 1, 1)
    assert execution.conditions[0].execution_reason.name == "NON_ZERO_EXIT_CODE"


def test_an_attempt_that_takes_too_long_is_killed(run: Callable[..., Any], server: CloudRunServer) -> None:
    operation = run("import time; time.sleep(600)", spec={"max_retries": 1}, timeout="0.2s")
    with pytest.raises(Aborted, match="The configured timeout was reached"):
        operation.result(timeout=30)
    assert server.jobs.execution(operation.metadata.name).pids == {}


def test_a_killed_task_is_run_again(run: Callable[..., Any], server: CloudRunServer) -> None:
    operation = run("import os,time; os.environ['CLOUD_RUN_TASK_ATTEMPT'] == '0' and time.sleep(600)")
    execution = server.jobs.execution(operation.metadata.name)
    os.kill(_wait_for(lambda: execution.pids)[0], signal.SIGKILL)
    result = operation.result(timeout=30)
    assert (result.succeeded_count, result.retried_count) == (1, 1)


def test_a_cancelled_execution_is_a_response_that_counts_the_cancelled(
    run: Callable[..., Any], server: CloudRunServer, executions: Any
) -> None:
    operation = run("import time; time.sleep(600)", spec={"parallelism": 1}, task_count=2)
    execution = server.jobs.execution(operation.metadata.name)
    _wait_for(lambda: execution.pids)
    executions.cancel_execution(name=execution.name)
    result = operation.result(timeout=30)
    assert (result.cancelled_count, result.succeeded_count) == (2, 0)
    assert result.conditions[0].execution_reason.name == "CANCELLED"
    assert execution.pids == {}
    with pytest.raises(BadRequest, match="has completed"):
        executions.cancel_execution(name=execution.name)


def test_jobs_are_created_shown_and_changed_through_the_api(jobs: Any) -> None:
    container = {"image": "img", "command": [sys.executable], "args": ["-c", "pass"]}
    template = {"template": {"containers": [container], "max_retries": 2, "timeout": "30s"}, "task_count": 2}
    created = jobs.create_job(parent=PARENT, job_id="made", job={"template": template}).result(timeout=5)
    assert created.name == f"{PARENT}/jobs/made"
    assert jobs.run_job(name=created.name).result(timeout=30).succeeded_count == 2
    created.template.task_count = 1
    jobs.update_job(job=run_v2.Job(name=created.name, template=created.template)).result(timeout=5)
    shown = jobs.get_job(name=created.name)
    assert (shown.template.task_count, shown.template.template.max_retries, shown.generation) == (1, 2, 2)
    assert created.name in [job.name for job in jobs.list_jobs(parent=PARENT)]


def test_executions_are_listed_newest_first_page_by_page(run: Callable[..., Any], executions: Any) -> None:
    names = [run("pass").result(timeout=30).name for _ in range(3)]
    listed = list(executions.list_executions(request={"parent": JOB, "page_size": 2}))
    assert [execution.name for execution in listed][:3] == names[::-1]


def test_what_is_not_there_or_not_known_is_refused(
    jobs: Any, executions: Any, run: Callable[..., Any]
) -> None:
    with pytest.raises(NotFound, match="of kind 'JOB'"):
        jobs.run_job(name=f"{PARENT}/jobs/none")
    with pytest.raises(NotFound, match="of kind 'EXECUTION'"):
        executions.get_execution(name=f"{JOB}/executions/none")
    with pytest.raises(BadRequest, match=r"overrides\.taskCount"):
        run("pass", task_count=20_000)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"taskcount": 2}, 'Unknown name "taskcount"'),
        ({"timeout": 60}, "duration such as '3600s'"),
        ({"containerOverrides": [{"env": {"A": "b"}}]}, "env"),
        ({"containerOverrides": [{"env": [{"name": "A", "value": 1}]}]}, "not a string"),
    ],
)
def test_malformed_overrides_are_named(
    server: CloudRunServer, overrides: dict[str, Any], message: str
) -> None:
    from google.auth.transport.requests import AuthorizedSession

    server.deploy("p", "l", "runner", JobSpec())
    session = AuthorizedSession(AnonymousCredentials())  # type: ignore[no-untyped-call]
    answer = session.post(f"{server.endpoint}/v2/{JOB}:run", json={"overrides": overrides})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
