from __future__ import annotations

from etl_runner.state.document import State

from .conftest import FakeDeployment


def test_resolve_lets_a_paused_source_run_again(deployment: FakeDeployment) -> None:
    deployment.put_state(State(epoch=3, paused="loaded 9 rows, expected 10"))
    assert deployment.json("resolve", "orders") == (
        0,
        {"source_id": "orders", "was_paused": "loaded 9 rows, expected 10"},
    )
    assert deployment.invoke("status", "orders").exit_code == 0
    assert "was not paused" in deployment.invoke("resolve", "orders").stdout


def test_reset_sets_where_the_next_run_begins(deployment: FakeDeployment) -> None:
    deployment.finish()
    code, answer = deployment.json("reset", "orders", "--to", "2026-01-01 00:00:00+00")
    assert (code, answer["after"]) == (0, {"value": "2026-01-01 00:00:00+00"})
    assert answer["before"]["value"] == "2026-01-02 03:04:05+00"
    assert deployment.json("status", "orders")[1]["sources"][0]["watermark"] == answer["after"]
    assert deployment.json("reset", "orders", "--beginning")[1]["after"] is None


def test_reset_to_both_or_neither_is_refused(deployment: FakeDeployment) -> None:
    deployment.finish()
    before = deployment.state.read("sources/orders/state.json")
    assert deployment.json("reset", "orders")[0] == 3
    assert deployment.json("reset", "orders", "--to", "x", "--beginning")[0] == 3
    assert deployment.state.read("sources/orders/state.json") == before


def test_reset_waits_for_the_holder_of_the_slot(deployment: FakeDeployment) -> None:
    deployment.hold()
    result = deployment.invoke("reset", "orders", "--beginning")
    assert result.exit_code == 6
    assert "r1" in result.stderr
