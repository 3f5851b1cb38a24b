from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, cast

import pytest
from rich.console import Console

from etl_runner.cli.deployment import Deployment
from etl_runner.cli.execution import Execution
from etl_runner.cli.run import follow
from etl_runner.cli.watch import watch_on
from etl_runner.errors import RetryableError

from .conftest import RECEIPT, FakeDeployment, make_plan


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "__defaults__", (0.0, lambda seconds: None))


def play(deployment: FakeDeployment, *steps: tuple[Callable[[], object], Any]) -> None:
    """Let each look at the execution do something first, then give a state or an execution."""
    for action, state in steps:

        def step(action: Callable[[], object] = action, state: Any = state) -> Execution:
            action()
            return state if isinstance(state, Execution) else deployment.executions.execution(state)

        deployment.executions.script.append(step)


def nothing() -> None:
    """No change."""


def test_a_run_is_followed_to_its_receipt(deployment: FakeDeployment) -> None:
    play(
        deployment,
        (nothing, "active"),
        (deployment.hold, "active"),
        (lambda: deployment.put_plan(make_plan(2)), "active"),
        (lambda: deployment.put_manifest(0), "active"),
        (lambda: deployment.put_manifest(1), "active"),
        (lambda: deployment.hold("committing"), "active"),
        (deployment.finish, deployment.executions.execution("succeeded", result=RECEIPT)),
    )
    result = deployment.invoke("run", "orders")
    assert result.exit_code == 0
    assert deployment.executions.started == ["orders"]
    assert "150,000" in result.stdout
    assert "etl_orders_1_r1_1" in result.stdout
    said = result.stderr.splitlines()
    assert [line.split(",")[0] for line in said] == [
        "orders: starting",
        "orders: planning",
        "orders: extracting",
        "orders: extracting",
        "orders: extracting",
        "orders: committing",
        "orders: done",
    ]
    assert "1/2 units, 50 rows" in said[3]


def test_json_is_the_only_thing_on_stdout(deployment: FakeDeployment) -> None:
    play(deployment, (deployment.finish, "succeeded"))
    code, answer = deployment.json("run", "orders")
    assert code == answer["exit_code"] == 0
    assert answer["outcome"] == "ok"
    assert answer["receipt"] == RECEIPT
    assert answer["run_id"] == "r1"


def test_no_wait_only_starts(deployment: FakeDeployment) -> None:
    code, answer = deployment.json("run", "orders", "--no-wait")
    assert (code, answer["run_id"], answer["source_id"]) == (0, "r1", "orders")


def test_a_skipped_run_says_who_holds_the_slot_and_until_when(deployment: FakeDeployment) -> None:
    holder = {"run_id": "r0", "phase": "extracting", "until": "2026-01-02T04:00:00+00:00"}
    skipped = deployment.executions.execution("succeeded", result={"status": "skipped", "holder": holder})
    play(deployment, (nothing, skipped), (nothing, skipped))
    result = deployment.invoke("run", "orders")
    assert result.exit_code == 4
    assert "r0" in result.stdout
    assert "2026-01-02 04:00:00Z" in result.stdout
    assert deployment.json("run", "orders")[1]["holder"] == holder


def test_a_failed_run_ends_with_1_and_its_reason(deployment: FakeDeployment) -> None:
    failed = {**RECEIPT, "outcome": "failed", "reason": "the load job failed: bad schema"}
    play(deployment, (lambda: deployment.finish(failed), "failed"))
    result = deployment.invoke("run", "orders")
    assert result.exit_code == 1
    assert "the load job failed: bad schema" in result.stdout


@pytest.mark.parametrize(("status", "code"), [(400, 3), (422, 6), (503, 5), (None, 1)])
def test_a_run_that_never_opened_ends_with_the_code_of_its_cause(
    deployment: FakeDeployment, status: int | None, code: int
) -> None:
    play(
        deployment,
        (nothing, deployment.executions.execution("failed", error="no such source", error_code=status)),
    )
    result = deployment.invoke("run", "orders")
    assert result.exit_code == code
    assert "no such source" in result.stdout


def test_a_moment_without_answer_does_not_end_the_watching(deployment: FakeDeployment) -> None:
    def unavailable() -> None:
        raise RetryableError("503")

    play(deployment, (unavailable, "active"), (unavailable, "active"), (deployment.finish, "succeeded"))
    assert deployment.invoke("run", "orders").exit_code == 0


def test_no_answer_for_long_is_told_as_not_reachable(deployment: FakeDeployment) -> None:
    def unavailable() -> None:
        raise RetryableError("not reachable")

    play(deployment, *[(unavailable, "active")] * 9)
    assert deployment.json("run", "orders")[0] == 5


def test_an_interrupt_says_that_the_run_goes_on(deployment: FakeDeployment) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    play(deployment, (interrupt, "active"))
    result = deployment.invoke("run", "orders")
    assert result.exit_code == 130
    assert "goes on" in result.stderr


def test_a_terminal_gets_a_bar(deployment: FakeDeployment) -> None:
    play(
        deployment,
        (deployment.hold, "active"),
        (lambda: deployment.put_plan(make_plan(2)), "active"),
        (deployment.finish, "succeeded"),
    )
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=150)
    execution = deployment.executions.execution("active")
    with watch_on(console) as watch:
        ended = follow(cast(Deployment, deployment), "orders", execution, watch)
    assert ended.outcome == "ok"
    assert "orders" in drawn.getvalue()
