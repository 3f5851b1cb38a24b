from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from etl_runner.cli.progress import Progress, ProgressReader
from etl_runner.cli.watch import sentence

from .conftest import FakeDeployment, make_plan

PLANNED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def reader(deployment: FakeDeployment) -> ProgressReader:
    return ProgressReader(deployment.state, deployment.staging, "orders", "r1")


def test_rows_bytes_and_rejects_are_those_of_the_manifests(deployment: FakeDeployment) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(3))
    deployment.put_manifest(0, rows=10, rejects=2)
    look = reader(deployment)
    first = look.read()
    assert (first.units_done, first.rows, first.bytes, first.rejects) == (1, 10, 100, 2)
    deployment.put_manifest(2, rows=5)
    second = look.read()
    assert (second.phase, second.units_done, second.units, second.rows) == ("extracting", 2, 3, 15)


def test_of_units_that_share_a_snapshot_only_the_newest_attempt_counts(deployment: FakeDeployment) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(3, snapshot=True))
    deployment.put_manifest(0, snapshot="old")
    deployment.put_manifest(1, snapshot="old")
    look = reader(deployment)
    assert look.read().units_done == 2
    deployment.put_manifest(0, rows=7, snapshot="new")
    after = look.read()
    assert (after.units_done, after.rows) == (1, 7)


def test_what_was_seen_stays_when_staging_is_cleared(deployment: FakeDeployment) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(1))
    deployment.put_manifest(0, rows=50)
    look = reader(deployment)
    look.read()
    for info in list(deployment.staging.list("")):
        deployment.staging.delete(info.name)
    deployment.finish()
    after = look.read()
    assert (after.phase, after.units_done, after.rows) == ("done", 1, 50)
    assert after.receipt is not None


def test_what_was_seen_stays_while_staging_is_being_cleared(deployment: FakeDeployment) -> None:
    deployment.hold()
    deployment.put_plan(make_plan(3))
    for number in range(3):
        deployment.put_manifest(number, rows=50)
    look = reader(deployment)
    look.read()
    deployment.finish()
    gone = next(info for info in deployment.staging.list("") if "/units/" in info.name)
    deployment.staging.delete(gone.name)
    after = look.read()
    assert (after.phase, after.units_done, after.rows) == ("done", 3, 150)


def test_a_receipt_that_only_the_state_carries_is_found(deployment: FakeDeployment) -> None:
    deployment.finish()
    deployment.state.delete("sources/orders/receipts/r1.json")
    assert reader(deployment).read().phase == "done"


def test_another_runs_slot_is_not_this_runs_progress(deployment: FakeDeployment) -> None:
    deployment.hold()
    look = ProgressReader(deployment.state, deployment.staging, "orders", "r2")
    assert look.read().phase == "starting"


def test_rate_and_remaining_time_follow_from_units() -> None:
    progress = Progress(
        "orders", "r1", "extracting", planned=PLANNED.isoformat(), units=4, units_done=1, rows=500
    )
    now = PLANNED + timedelta(seconds=10)
    assert progress.rate(now) == pytest.approx(50)
    assert progress.remaining(now) == pytest.approx(30)
    assert sentence(progress, now) == "extracting, 1/4 units, 500 rows, 50 rows/s, 30.0 s left"


def test_nothing_is_estimated_before_the_first_unit_is_done() -> None:
    progress = Progress("orders", "r1", "extracting", planned=PLANNED.isoformat(), units=4)
    assert progress.rate(PLANNED) is None
    assert progress.remaining(PLANNED) is None
