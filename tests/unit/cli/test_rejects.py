"""The rejects commands, on a world in memory whose first run left four rejects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_replay import rejected_world, service_of
from tests.unit.cli.conftest import FakeDeployment


@pytest.fixture
def rejecting(deployment: FakeDeployment) -> FakeDeployment:
    world = rejected_world()
    deployment.rejects = lambda source_id: service_of(world)  # type: ignore[attr-defined]
    return deployment


def test_list_shows_runs_and_rows(rejecting: FakeDeployment) -> None:
    code, document = rejecting.json("rejects", "list", "orders", "--limit", "10")
    assert code == 0
    assert [(run["run_id"], run["rows"], run["state"]) for run in document["runs"]] == [
        ("first", 4, "pending")
    ]
    assert document["table"] == "p.d.orders__rejects"
    assert len(document["rows"]) == 4
    page = rejecting.invoke("rejects", "list", "orders").stdout
    assert "pending" in page
    assert "is bad" in page


def test_lines_are_corrections(rejecting: FakeDeployment, tmp_path: Path) -> None:
    lines = rejecting.invoke("rejects", "list", "orders", "--lines").stdout.splitlines()
    values: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for number, value in enumerate(values):
        if value["record"]["id"] == "x":
            value["record"]["id"] = str(900 + number)
    file = tmp_path / "fix.jsonl"
    file.write_text("\n".join(json.dumps(value) for value in values))
    code, document = rejecting.json("rejects", "replay", "orders", "--corrections", str(file))
    assert code == 0
    assert (document["outcome"], document["rows_loaded"], document["rejected_again"]) == ("ok", 4, 0)
    code, document = rejecting.json("rejects", "replay", "orders")
    assert (code, document["outcome"]) == (0, "nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is no correction"),
        ('{"run_id": "first", "unit": "u00000", "row": 0}', "record is missing"),
        ('{"run_id": "first", "unit": "u00000", "row": 0, "record": {"id": 7}}', 'write it as text, \\"7\\"'),
        (
            '{"run_id": "first", "unit": "u00009", "row": 0, "record": {"id": "7"}}',
            "line 1 names a row that is",
        ),
        ('{"run_id": "first", "unit": "u00000", "row": 0, "record": {"no": "7"}}', "has no such column"),
    ],
)
def test_corrections_that_do_not_fit_change_nothing(
    rejecting: FakeDeployment, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "fix.jsonl"
    file.write_text(text)
    result = rejecting.invoke("rejects", "replay", "orders", "--corrections", str(file), "--json")
    assert result.exit_code == 3
    assert message in result.stdout
    _, document = rejecting.json("rejects", "list", "orders")
    assert [run["state"] for run in document["runs"]] == ["pending"]


def test_a_missing_file_and_an_unknown_run_are_named(rejecting: FakeDeployment) -> None:
    code, document = rejecting.json("rejects", "replay", "orders", "--corrections", "/nowhere/fix.jsonl")
    assert code == 3
    assert "/nowhere/fix.jsonl" in document["error"]["message"]
    code, document = rejecting.json("rejects", "replay", "orders", "--run", "other")
    assert code == 3
    assert "run other has no rejects to replay" in document["error"]["message"]
    code, document = rejecting.json("rejects", "load", "orders", "--run", "other")
    assert code == 3


def test_rejects_that_are_loaded_already_are_loaded_once(rejecting: FakeDeployment) -> None:
    code, document = rejecting.json("rejects", "load", "orders", "--run", "first")
    assert (code, document["outcome"], document["rows"]) == (0, "loaded", 4)
