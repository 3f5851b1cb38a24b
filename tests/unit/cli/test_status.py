from __future__ import annotations

from etl_runner.state.document import State

from .conftest import FakeDeployment, make_plan


def test_a_source_that_never_ran_is_free(deployment: FakeDeployment) -> None:
    deployment.add_source()
    code, answer = deployment.json("status")
    assert code == 0
    assert answer["sources"] == [
        {
            "source_id": "orders",
            "epoch": 0,
            "slot": None,
            "progress": None,
            "watermark": None,
            "last": None,
            "paused": None,
        }
    ]


def test_every_source_of_the_config_bucket_is_shown(deployment: FakeDeployment) -> None:
    deployment.add_source("orders")
    deployment.add_source("customers")
    result = deployment.invoke("status")
    assert result.exit_code == 0
    assert "orders" in result.stdout
    assert "customers" in result.stdout


def test_no_sources_is_said(deployment: FakeDeployment) -> None:
    result = deployment.invoke("status")
    assert (result.exit_code, "no sources" in result.stdout) == (0, True)


def test_a_running_source_shows_holder_and_progress(deployment: FakeDeployment) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(4))
    deployment.put_manifest(0, rows=70)
    code, answer = deployment.json("status", "orders")
    (one,) = answer["sources"]
    assert code == 0
    assert one["slot"] == {
        "run_id": "r1",
        "epoch": 1,
        "phase": "extracting",
        "until": "2026-01-02T04:00:00+00:00",
    }
    assert (one["progress"]["units_done"], one["progress"]["units"], one["progress"]["rows"]) == (1, 4, 70)
    page = deployment.invoke("status", "orders").stdout
    assert "extracting r1 until 2026-01-02 04:00:00Z" in page
    assert "1/4 units, 70 rows" in page


def test_the_last_outcome_and_the_watermark_are_shown(deployment: FakeDeployment) -> None:
    deployment.finish()
    page = deployment.invoke("status", "orders").stdout
    assert "free" in page
    assert "2026-01-02 03:04:05+00" in page
    assert "150,000" in page


def test_a_paused_source_asks_for_a_person(deployment: FakeDeployment) -> None:
    deployment.put_state(State(paused="loaded 9 rows, expected 10"))
    result = deployment.invoke("status", "orders")
    assert result.exit_code == 6
    assert "loaded 9 rows, expected 10" in result.stdout
    deployment.add_source()
    assert deployment.invoke("status").exit_code == 0


def test_an_impossible_id_is_a_configuration_error(deployment: FakeDeployment) -> None:
    code, answer = deployment.json("status", "../secrets")
    assert code == answer["exit_code"] == 3
    assert answer["error"]["type"] == "ConfigError"


def test_a_corrupt_state_document_asks_for_a_person(deployment: FakeDeployment) -> None:
    deployment.state.create("sources/orders/state.json", b"{}")
    code, answer = deployment.json("status", "orders")
    assert code == 6
    assert "sources/orders/state.json" in answer["error"]["message"]
