"""The published schema of run events holds for events of runs that end in every way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from etl_runner.commit.close import Failure, RunKey
from etl_runner.commit.open_run import Opened
from etl_runner.events.run_events import run_event
from tests.faults.world import World

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schema/run-event.schema.json").read_text())


def _events() -> list[dict[str, Any]]:
    """Events of runs that committed, found nothing, failed, were cancelled, abandoned, and miscounted."""
    world = World()
    world.process().run("committed")
    world.process().run("nothing-new")
    for run_id, failure in (
        ("failed", Failure("extract", "gave up")),
        ("cancelled", Failure("cancel", "cancelled by somebody", cancelled=True)),
    ):
        opened = world.process().opener.open_run(run_id)
        assert isinstance(opened, Opened)
        world.process().plans.write_plan(opened.key)
        world.process().finalize(RunKey(opened.key.source_id, run_id, opened.key.epoch), failure)
    world.process().opener.open_run("abandoned")
    world.later(hours=2)
    world.rows += 1
    world.bigquery.miscount = 1
    world.process().run("miscounted")
    return world.events.published


def test_real_events_are_as_the_schema_says() -> None:
    events = _events()
    assert {event["outcome"] for event in events} == set(SCHEMA["properties"]["outcome"]["enum"])
    assert any("row_mismatch" in event for event in events)
    for event in events:
        data, attributes = run_event(event, "my-project")
        Draft202012Validator(SCHEMA).validate(json.loads(data))
        assert attributes["ce-type"] == f"etl-runner.run.{event['outcome']}"
        assert attributes["ce-id"] == f"{event['run_id']}-{event['epoch']}"
        assert attributes["ce-specversion"] == "1.0"


@pytest.mark.parametrize("change", [{"outcome": "fine"}, {"epoch": 0}, {"jobs": "one"}, {"finished": None}])
def test_the_schema_refuses_what_is_no_event(change: dict[str, Any]) -> None:
    event = {**json.loads(run_event(_events()[0], "p")[0]), **change}
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(event)
