from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from etl_runner.commit.close import Closer, RunKey
from etl_runner.commit.open_run import Opened, Opener
from etl_runner.controlplane.client import ControlPlane
from etl_runner.controlplane.wiring import BothEvents, reports
from etl_runner.errors import RetryableError
from etl_runner.events.run_events import NoRunEvents
from etl_runner.state.ledger import Ledger, LedgerEntry
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore

from .server import Issuer, Server, control_plane, status


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def server(issuer: Issuer) -> Iterator[Server]:
    with control_plane(issuer) as served:
        yield served


class World:
    """One source's state in memory, and a control plane that hears of its runs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.objects = MemoryObjectStore("state")
        self.store = StateStore(self.objects, "files")
        self.receipts = Receipts(self.objects, "files")
        self.reports = reports(ControlPlane(server.url, server.issuer.token), self.objects)
        events = BothEvents(self.reports, NoRunEvents())
        self.closer = Closer(self.store, self.receipts, events, lambda: datetime(2026, 1, 2, tzinfo=UTC))
        self.opener = Opener(self.store, self.receipts, self.closer, lambda key: None)

    def open(self, run_id: str) -> RunKey:
        opened = self.opener.open_run(run_id)
        assert isinstance(opened, Opened)
        return opened.key

    def advance(self, key: RunKey, files: int = 0) -> None:
        segment = None
        if files:
            entries = [
                LedgerEntry(f"gs://b/f{n}", str(n), n, "2026-01-01T00:00:00.000000Z", n, "loaded", key.run_id)
                for n in range(files)
            ]
            segment = Ledger(self.objects, "files").write(key.run_id, key.epoch, entries)
        receipt = {"rows_read": 7, "rows_loaded": 6, "rejects": 1, "watermark_after": {"value": "2026-01-01"}}
        done = self.closer.advance(key, receipt, phase="extracting", watermark=None, ledger_segment=segment)
        assert done is not None
        assert done.outcome == "ok"

    def told(self, run_id: str) -> list[dict[str, Any]]:
        return [body for run, body in self.server.updates if run == run_id]


def test_files_are_told_before_the_status(server: Server) -> None:
    world = World(server)
    world.advance(world.open("r1"), files=1_500)
    first, second, last = world.told("r1")
    names = [file["name"] for body in (first, second) for file in body["processed_files"]]
    assert names == [f"f{n}" for n in range(1_500)]
    assert (last["status"], last["rows_loaded"], last["rows_rejected"]) == ("completed", 6, 1)
    assert last["last_sync_value"] == "2026-01-01"


@pytest.mark.parametrize("code", [401, 404, 503])
def test_a_control_plane_that_does_not_take_it_harms_no_run(server: Server, code: int) -> None:
    world = World(server)
    server.answer = status(code)
    world.reports.started("files", "r1")
    world.advance(world.open("r1"), files=3)
    assert world.receipts.read("r1") is not None
    assert world.store.read().slot is None
    assert server.updates == []


def test_a_report_that_was_not_taken_is_made_again_with_the_next(server: Server) -> None:
    world = World(server)
    server.answer = status(503)
    world.advance(world.open("r1"), files=3)
    server.answer = None
    world.advance(world.open("r2"))
    assert world.told("r1")[-1]["status"] == "completed"
    assert len(world.told("r1")[0]["processed_files"]) == 3
    assert world.told("r2")[-1]["status"] == "completed"
    assert world.reports.repeat() == 0


def test_a_report_that_is_refused_for_good_does_not_stand_in_the_way(server: Server) -> None:
    world = World(server)
    server.answer = status(503)
    world.advance(world.open("r1"))
    server.answer = status(400)
    assert world.reports.repeat() == 1
    server.answer = None
    assert world.reports.repeat() == 0


def test_a_crash_before_the_receipt_repeats_the_report(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(server)
    key = world.open("r1")

    def crash(receipt: dict[str, Any]) -> None:
        raise RetryableError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(world.receipts, "write", crash)
        with pytest.raises(RetryableError):
            world.advance(key)
    world.open("r2")  # writes the missing receipt first
    assert [body["status"] for body in world.told("r1")] == ["completed", "completed"]
