from __future__ import annotations

from datetime import UTC, datetime

from etl_runner.errors import PermanentError
from etl_runner.events.budget import TableOperations
from etl_runner.planning.plan import Plan
from etl_runner.state.document import State

from .conftest import FakeDeployment, make_plan


def test_the_budget_of_the_table_and_the_cost_are_told(deployment: FakeDeployment) -> None:
    deployment.add_source()
    now = datetime.now(UTC)
    TableOperations(deployment.state, lambda: now).note("p.d.orders", "etl_other_1_r_1")
    code, answer = deployment.json("plan", "orders")
    assert code == 0
    assert answer["table_operations"] == {"planned": 1, "used": 1, "limit": 1500, "left": 1498}
    assert answer["cost"]["dollars"] > 0
    page = deployment.invoke("plan", "orders").stdout
    assert "1, after 1 of 1,500 within a day" in page


def test_the_page_says_what_a_run_would_do(deployment: FakeDeployment) -> None:
    deployment.add_source()
    page = deployment.invoke("plan", "orders").stdout
    for text in (
        "p.d.orders in EU",
        "to be created with 2 columns, partitioned by DAY of at",
        "(beginning, 2026-01-02 03:04:05+00] of at",
        "1h",
        "about 100 (pg_class)",
        "cloud_run: below the threshold of 1,000,000 rows",
        "timestamp with time zone",
        "u00001",
        "session 4711 holds the window back",
    ):
        assert text in page


def test_nothing_is_written(deployment: FakeDeployment) -> None:
    deployment.add_source()
    before = [list(bucket.list("")) for bucket in (deployment.config, deployment.state, deployment.staging)]
    assert deployment.invoke("plan", "orders").exit_code == 0
    after = [list(bucket.list("")) for bucket in (deployment.config, deployment.state, deployment.staging)]
    assert before == after
    assert deployment.executions.started == []


def test_json_has_the_whole_plan_and_every_unit(deployment: FakeDeployment) -> None:
    deployment.add_source()
    deployment.fixed_planner.plan = make_plan(25)
    code, answer = deployment.json("plan", "orders")
    assert code == 0
    assert len(answer["units"]) == answer["plan"]["units"] == 25
    assert answer["plan"]["engine"] == "cloud_run"
    assert not answer["plan"].keys() & {"run_id", "epoch", "created"}


def test_many_units_are_cut_short_on_the_page(deployment: FakeDeployment) -> None:
    deployment.add_source()
    deployment.fixed_planner.plan = make_plan(25)
    page = deployment.invoke("plan", "orders", "--units", "3").stdout
    assert "and 22 more" in page
    assert "u00003" not in page


def test_a_held_slot_and_a_pause_are_shown(deployment: FakeDeployment) -> None:
    deployment.add_source()
    deployment.hold()
    assert "held by run r1, extracting" in deployment.invoke("plan", "orders").stdout
    deployment.put_state(State(paused="row mismatch"))
    assert "row mismatch" in deployment.invoke("plan", "orders").stdout


def test_a_refusal_is_one_message(deployment: FakeDeployment) -> None:
    deployment.add_source()
    deployment.fixed_planner.plan = PermanentError("password authentication failed for user etl")
    result = deployment.invoke("plan", "orders")
    assert result.exit_code == 6
    assert result.stderr.strip() == "password authentication failed for user etl"
    assert result.stdout == ""


def test_a_source_that_is_not_there_is_a_configuration_error(deployment: FakeDeployment) -> None:
    code, answer = deployment.json("plan", "order")
    assert code == 3
    assert "order" in answer["error"]["message"]


def test_an_unforeseen_error_is_told_without_a_traceback(deployment: FakeDeployment) -> None:
    deployment.add_source()
    deployment.fixed_planner.plan = ZeroDivisionError("division by zero")
    result = deployment.invoke("plan", "orders")
    assert result.exit_code == 70
    assert "unforeseen ZeroDivisionError" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plan_is_the_planners_own(deployment: FakeDeployment) -> None:
    deployment.add_source()
    made = make_plan()
    deployment.fixed_planner.plan = Plan(made.header, ())
    assert "u00000" not in deployment.invoke("plan", "orders").stdout
