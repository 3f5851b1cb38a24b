from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from etl_runner.cli.status import follow
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


class _Enough(Exception):
    """Ends a loop that has no other end."""


def test_watching_gives_a_document_a_look_and_follows_the_run(
    deployment: FakeDeployment, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(2))
    looks: list[Callable[[], None]] = [
        lambda: deployment.put_manifest(0, rows=70),
        lambda: deployment.put_manifest(1, rows=5),
        deployment.finish,
    ]

    def sleep(seconds: float) -> None:
        assert seconds == 0.5
        if not looks:
            raise _Enough
        looks.pop(0)()

    with pytest.raises(_Enough):
        follow(deployment, ["orders"], 0.5, as_json=True, sleep=sleep)  # type: ignore[arg-type]
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    progress = [document["sources"][0]["progress"] for document in documents]
    assert [(one["units_done"], one["rows"]) for one in progress[:3]] == [(0, 0), (1, 70), (2, 75)]
    assert progress[3] is None
    assert documents[3]["sources"][0]["last"]["outcome"] == "ok"


def test_watching_shows_a_page_that_says_how_far_and_how_fast(
    deployment: FakeDeployment, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(4))
    deployment.put_manifest(0, rows=70)

    def sleep(seconds: float) -> None:
        raise _Enough

    with pytest.raises(_Enough):
        follow(deployment, ["orders"], 2.0, as_json=False, sleep=sleep)  # type: ignore[arg-type]
    page = capsys.readouterr().out
    assert "1/4 units, 70 rows, 0 rows/s" in page


def test_an_interrupted_watch_ends_quietly_and_says_that_the_run_goes_on(
    deployment: FakeDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add_source()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "__kwdefaults__", {"sleep": interrupt})
    result = deployment.invoke("status", "--watch", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout.splitlines()[0])["sources"][0]["source_id"] == "orders"
    assert "goes on" in result.stderr
