"""etl-runner files and files replay."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner import jsontypes
from etl_runner.events.arrivals import Arrival, Arrivals, SetAside
from etl_runner.events.receive import Incoming
from etl_runner.events.unreadable import UnreadableEvents
from tests.unit.cli.conftest import FakeDeployment

SALES = Arrival("gs://lake/in/a.csv", "in/a.csv", "7", 10, "2026-01-01T00:00:00+00:00", "gcs", "e", "2026")


@pytest.fixture
def sales(deployment: FakeDeployment) -> FakeDeployment:
    """A deployment with a source of files."""
    deployment.config.create(
        "connections/lake.json",
        jsontypes.dumps({"source_type": "gcs", "bucket": "gs://lake/in", "use_runner_account": True}),
    )
    document = {"source_type": "gcs", "connection": "lake", "file_pattern": "*.csv"}
    more = {"load_type": "transactional", "dest_table_name": "sales"}
    deployment.config.create("sources/sales.json", jsontypes.dumps({**document, **more}))
    return deployment


def set_aside(deployment: FakeDeployment, kind: Any = "poisonous") -> Arrivals:
    arrivals = Arrivals(deployment.state, "sales")
    arrivals.set_aside(SetAside(SALES, kind, "no Parquet file", 3, "2026-01-01T00:00:00+00:00"))
    return arrivals


def test_it_shows_what_waits_what_was_set_aside_and_the_tables_day(sales: FakeDeployment) -> None:
    arrivals = set_aside(sales)
    waiting = Arrival("gs://lake/in/b.csv", "in/b.csv", "8", 20, SALES.time, "gcs", "e", "2026")
    arrivals.note(waiting)
    arrivals.note_failure(waiting.hash, "r1", "2026-01-01T00:00:00+00:00", "a bad row")
    code, answer = sales.json("files", "sales")
    assert code == 0
    assert [one["uri"] for one in answer["waiting"]] == ["gs://lake/in/b.csv"]
    assert (answer["waiting"][0]["attempts"], answer["waiting"][0]["reason"]) == (1, "a bad row")
    assert [(one["uri"], one["reason"]) for one in answer["set_aside"]] == [(SALES.uri, "no Parquet file")]
    assert answer["table"]["operations_in_24_hours"] == 0
    page = sales.invoke("files", "list", "sales").stdout
    assert "1 files wait, 1 are set aside, 0 are loaded" in page


def test_replayed_files_arrive_again(sales: FakeDeployment) -> None:
    arrivals = set_aside(sales)
    code, answer = sales.json("files", "replay", "sales", SALES.uri)
    assert (code, answer["replayed"]) == (0, [SALES.uri])
    assert arrivals.hashes() == {SALES.hash}
    assert arrivals.all_set_aside() == []


def test_what_cannot_be_replayed_is_said(sales: FakeDeployment) -> None:
    set_aside(sales, "deleted")
    assert sales.json("files", "replay", "sales", SALES.uri)[0] == 3
    assert sales.json("files", "replay", "sales")[0] == 3
    assert sales.json("files", "nobody")[0] == 6


def test_events_that_could_not_be_read_are_shown_and_forgotten(sales: FakeDeployment) -> None:
    request = Incoming("POST", {"content-type": "text/plain"}, {}, b"junk")
    UnreadableEvents(sales.state).keep(request, "the body is not JSON", "2026-01-01T00:00:00+00:00")
    assert "the body is not JSON" in sales.invoke("files", "unreadable").stdout
    code, answer = sales.json("files", "unreadable", "--forget")
    assert (code, [event["body"] for event in answer["unreadable"]]) == (0, ["junk"])
    assert sales.json("files", "unreadable")[1]["unreadable"] == []
