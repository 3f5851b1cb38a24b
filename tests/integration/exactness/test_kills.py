"""Processes that are killed for real, and what a repetition makes of it.

Each test brings a process to a point where it waits (for a lock of the database, for an answer of BigQuery or
of Cloud Storage), sends SIGKILL, and lets the workflow's own retry or a new run go on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl_runner.commit.close import RunKey
from etl_runner.jsontypes import JsonObject, loads
from local.cloud_run.execution import Execution
from tests.integration.exactness.lab import Lab, add_orders, orders, until

pytestmark = pytest.mark.stack

# A row a minute; the ten newest are in a partition of their own, which the last unit alone reads.
PARTITIONED = """
CREATE TABLE orders (
    id bigint NOT NULL,
    version int NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL,
    note text
) PARTITION BY RANGE (updated_at);
CREATE TABLE orders_old PARTITION OF orders FOR VALUES FROM (MINVALUE) TO ('{boundary}');
CREATE TABLE orders_new PARTITION OF orders FOR VALUES FROM ('{boundary}') TO (MAXVALUE);
INSERT INTO orders (id, updated_at)
SELECT i, timestamptz '{boundary}' + (i - 1390.5) * interval '1 minute' FROM generate_series(1, 1400) AS i;
ANALYZE orders;
"""


def _check_once(lab: Lab, *run_ids: str) -> None:
    """Source and destination agree; each of these runs has one receipt, is ok, and submitted one job id."""
    lab.check_equal()
    receipts = {receipt["run_id"]: receipt for receipt in lab.receipts()}
    assert set(receipts) == set(run_ids)
    assert {receipt["outcome"] for receipt in receipts.values()} == {"ok"}
    state = lab.settled()
    assert state.last is not None
    receipt = receipts[state.last.run_id]
    assert state.watermark == receipt["watermark_after"]
    # A catalog has no watermark, and no window.
    assert (state.watermark or {}).get("value") == receipt["window"]["high"]
    assert state.epoch == len(run_ids)
    # No second number: what a dead process may have submitted was adopted.
    assert all(job.endswith("_1") for job in lab.job_ids()), lab.job_ids()


def _execution(lab: Lab, run_id: str) -> Execution | None:
    """The Cloud Run execution of the run's plan."""
    names = lab.stack.layout.names
    job = f"projects/{names.project}/locations/{names.location}/jobs/{names.job}"
    for execution in lab.stack.run_jobs.jobs.executions(job):
        if f"/{run_id}/" in execution.spec.env.get("ETL_PLAN_URI", ""):
            return execution
    return None


@pytest.mark.parametrize("load_type", ["transactional", "catalog"])
def test_the_task_is_killed_between_two_units(lab: Lab, load_type: str) -> None:
    boundary = datetime.now(UTC) - timedelta(minutes=10)
    lab.database.execute(PARTITIONED.format(boundary=boundary.isoformat()))
    lab.put(source_table_name="orders", load_type=load_type, timestamp_column="updated_at", unit_rows=100)
    name = lab.stack.start_run(lab.source_id)
    run_id = name.rsplit("/", 1)[1]
    until(lambda: list(lab.deployment.staging.list(f"runs/{run_id}/1/plan.jsonl")), "the plan")
    with lab.locked("orders_new"):
        until(lambda: lab.waiting(run_id), "a unit to wait for the lock")
        if load_type == "transactional":
            # Units of the old partition are done; those of the new one are not.
            until(lambda: list(lab.deployment.staging.list(f"runs/{run_id}/1/units/")), "a manifest")
        execution = until(lambda: _execution(lab, run_id), "the execution")
        done = {info.name for info in lab.deployment.staging.list(f"runs/{run_id}/1/units/")}
        (pid,) = execution.pids.values()
        os.killpg(pid, signal.SIGKILL)
        until(lambda: execution.tasks[0].attempt == 1, "the second attempt")
    ended = lab.stack.wait_run(name, 120)
    assert ended.state == "SUCCEEDED", ended
    assert "signal 9" in execution.tasks[0].message
    _check_once(lab, run_id)
    assert len(lab.loaded()) == 1400
    if load_type == "transactional":
        # The second attempt went on where the first one was.
        lines = [loads(line) for line in execution.log_of(0, 1).read_bytes().splitlines()]
        (summary,) = [line for line in lines if "skipped" in line]
        assert summary["skipped"] == len(done) > 0


def _looks(lab: Lab, run_id: str) -> int:
    """How often the run's job was asked for."""
    return len(lab.faults.requests("GET", f"/jobs/etl_.*{run_id}"))


def _hold_looks(lab: Lab, run_id: str, nth: int) -> None:
    """Whoever asks for the run's job, from the nth time on, is told to ask again: its client stays in it."""
    lab.faults.inject("error", method="GET", path=f"/jobs/etl_.*{run_id}", nth=nth, times=10_000)


def _before_the_submission(lab: Lab, run_id: str, kill: Callable[[], None]) -> None:
    """The slot is committing, the record is written, no job is there."""
    _hold_looks(lab, run_id, 1)
    until(lambda: _looks(lab, run_id), "the first look at the job")
    slot = lab.state().slot
    assert slot is not None
    assert slot.phase == "committing"
    assert lab.job_ids() == []
    kill()
    lab.faults.clear()


def _during_the_submission(lab: Lab, run_id: str, kill: Callable[[], None]) -> None:
    """The job is there; its response never arrived, and it is being looked for."""
    lab.faults.inject("lost_response", method="POST", path="/jobs", job_id=run_id)
    _hold_looks(lab, run_id, 2)
    until(lambda: _looks(lab, run_id) > 1, "the look after the submission")
    kill()
    lab.faults.clear()


def _between_submission_and_advance(lab: Lab, run_id: str, kill: Callable[[], None]) -> None:
    """The job is running, and finalize was told to come back."""
    lab.faults.inject("slow_job", method="POST", path="/jobs", job_id=run_id, seconds=60.0)
    until(lambda: lab.job_ids(), "the submission")
    kill()
    lab.faults.clear()


def _during_the_advance(lab: Lab, run_id: str, kill: Callable[[], None]) -> None:
    """The job was seen done; the compare-and-swap is on its way to a store that does not answer."""
    lab.faults.inject("lost_response", method="POST", path="/jobs", job_id=run_id)
    _hold_looks(lab, run_id, 2)
    until(lambda: _looks(lab, run_id) > 1, "the look after the submission")
    with lab.storage_stopped():
        lab.faults.clear()
        until(
            lambda: [r for r in lab.faults.requests("GET", f"/jobs/etl_.*{run_id}") if r.status == 200],
            "the look that finds it done",
        )
        time.sleep(0.2)
        kill()


POINTS = {
    "before the submission": _before_the_submission,
    "during the submission": _during_the_submission,
    "between submission and advance": _between_submission_and_advance,
    "during the advance": _during_the_advance,
}


@pytest.mark.parametrize("point", POINTS)
def test_finalize_is_killed_and_the_workflow_asks_again(lab: Lab, point: str) -> None:
    orders(lab)
    lab.step_by_step("earlier")
    add_orders(lab, 3)
    lab.faults.forget_requests()
    name = lab.stack.start_run(lab.source_id)
    run_id = name.rsplit("/", 1)[1]
    POINTS[point](lab, run_id, lambda: lab.kill_function("finalize"))
    ended = lab.stack.wait_run(name, 120)
    assert ended.state == "SUCCEEDED", ended
    _check_once(lab, lab.run_id("earlier"), run_id)


@pytest.mark.parametrize("point", POINTS)
def test_finalize_is_killed_and_a_new_run_rolls_forward(lab: Lab, point: str) -> None:
    orders(lab)
    key, _ = lab.open_and_plan("killed")
    lab.extract(key)
    answers: list[int] = []
    # At this point the kill may fall between two calls, or cut one off: it is asked again either way.
    asked_again = (503, 0) if point == "between submission and advance" else (503,)

    def ask() -> None:
        while not answers or answers[-1] in asked_again:
            status, _ = lab.call("finalize", _body(key))
            answers.append(status)

    caller = threading.Thread(target=ask)
    caller.start()
    POINTS[point](lab, key.run_id, lambda: lab.kill_function("finalize"))
    caller.join()
    # Never answered, or only after it was started again: nobody heard of the run from what was killed.
    assert answers[-1] == (200 if point == "between submission and advance" else 0)
    add_orders(lab, 2)
    done = lab.step_by_step("next")
    assert done.receipt is not None
    assert done.receipt["rows_loaded"] == 2
    _check_once(lab, key.run_id, lab.run_id("next"))


def _body(key: RunKey) -> JsonObject:
    return {"source_id": key.source_id, "run_id": key.run_id, "epoch": key.epoch}


def test_plan_is_killed_and_the_workflow_asks_again(lab: Lab) -> None:
    orders(lab)
    with lab.locked("orders"):
        name = lab.stack.start_run(lab.source_id)
        run_id = name.rsplit("/", 1)[1]
        until(lambda: lab.waiting("plan"), "the planner to wait for the lock")
        lab.kill_function("plan")
    ended = lab.stack.wait_run(name, 120)
    assert ended.state == "SUCCEEDED", ended
    _check_once(lab, run_id)


def test_trigger_is_killed_and_joins_its_own_run(lab: Lab) -> None:
    """Its first attempt may have taken the slot all the same: what it wrote arrives after its death."""
    orders(lab)
    with lab.storage_stopped():
        name = lab.stack.start_run(lab.source_id)
        run_id = name.rsplit("/", 1)[1]
        server = lab.stack.functions["trigger"]
        until(lambda: _connected(server.port), "the workflow to call the trigger")
        lab.kill_function("trigger")
    ended = lab.stack.wait_run(name, 120)
    assert ended.state == "SUCCEEDED", ended
    _check_once(lab, run_id)


def _connected(port: int) -> bool:
    """Whether somebody has an open connection to the port (/proc/net/tcp: 01 is ESTABLISHED)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_everything_is_killed_again_and_again(lab: Lab) -> None:
    """Two runs, each with a SIGKILL of every function at some moment."""
    orders(lab)
    for number in range(2):
        add_orders(lab, 2)
        name = lab.stack.start_run(lab.source_id)
        for function in ("trigger", "plan", "finalize"):
            lab.kill_function(function)
        ended = lab.stack.wait_run(name, 120)
        assert ended.state == "SUCCEEDED", (number, ended)
        lab.check_equal()
    assert lab.settled().epoch == 2
