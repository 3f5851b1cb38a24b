"""Runs that meet each other on the real parts: rows exactly once, and everybody is told the truth."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl_runner.commit.close import Closer, Done, RunKey, timestamp
from etl_runner.commit.open_run import Opened, Opener, Skipped
from etl_runner.jsontypes import JsonObject
from etl_runner.state.document import State
from tests.integration.exactness.lab import ORDERS, Lab, add_orders, orders, until

pytestmark = pytest.mark.stack


def _body(key: RunKey) -> dict[str, Any]:
    return {"source_id": key.source_id, "run_id": key.run_id, "epoch": key.epoch}


def _outcomes(lab: Lab) -> Counter[str]:
    return Counter(receipt["outcome"] for receipt in lab.receipts())


def test_the_scheduler_fires_several_times_at_once(lab: Lab) -> None:
    """One run does the work; the others are skipped, or find that nothing is left."""
    orders(lab)
    names = [lab.stack.start_run(lab.source_id) for _ in range(4)]
    ended = [lab.stack.wait_run(name, 120) for name in names]
    assert [one.state for one in ended] == ["SUCCEEDED"] * 4, ended
    results = [one.result for one in ended]
    ok = [result for result in results if result.get("outcome") == "ok"]
    skipped = [result for result in results if result.get("status") == "skipped"]
    assert len(ok) + len(skipped) == 4
    assert sorted(one["rows_loaded"] for one in ok)[-1] == 5
    assert sum(one["rows_loaded"] for one in ok) == 5
    for one in skipped:
        assert one["holder"]["run_id"] in {result["run_id"] for result in ok}
    # A skipped run leaves no receipt.
    assert _outcomes(lab) == {"ok": len(ok)}
    lab.check_equal()
    assert lab.settled().epoch == len(ok)


def test_one_run_id_is_one_run_however_often_it_is_asked_for(lab: Lab) -> None:
    """Every step of one run by four callers at once: the workflow repeats a step whose answer it lost."""
    orders(lab)
    body = {"source_id": lab.source_id, "run_id": lab.run_id("same")}

    def by_four(name: str, request: dict[str, Any]) -> list[tuple[int, Any]]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda _: lab.call(name, request), range(4)))

    opened = by_four("trigger", body)
    assert {status for status, _ in opened} == {200}
    assert {(answer["status"], answer["epoch"]) for _, answer in opened} == {("opened", 1)}
    key = RunKey(lab.source_id, lab.run_id("same"), 1)
    planned = by_four("plan", _body(key))
    assert {status for status, _ in planned} == {200}
    assert len({str(answer) for _, answer in planned}) == 1
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: lab.extract(key), range(3)))
    finished: list[tuple[int, Any]] = []
    while not finished or any(answer["status"] == "pending" for _, answer in finished):
        finished = by_four("finalize", _body(key))
        assert {status for status, _ in finished} == {200}
    assert len({str(answer["receipt"]) for _, answer in finished}) == 1
    assert by_four("trigger", body)[0][1]["status"] == "done"
    lab.check_equal()
    assert _outcomes(lab) == {"ok": 1}
    assert set(lab.job_ids()) == {f"etl_{lab.source_id}_1_{key.run_id}_1"}


def test_two_runs_of_a_source_while_rows_arrive(lab: Lab) -> None:
    orders(lab)
    names = []
    for _ in range(2):
        names.append([lab.stack.start_run(lab.source_id) for _ in range(2)])
        add_orders(lab, 2)
        for name in names[-1]:
            ended = lab.stack.wait_run(name, 120)
            assert ended.state == "SUCCEEDED", ended
    lab.run_ok()
    lab.check_equal()
    assert set(_outcomes(lab)) == {"ok"}


def _expire(lab: Lab) -> None:
    """The run's deadline passes: its holder has made no progress for so long."""

    def decide(state: State) -> State | None:
        assert state.slot is not None
        past = timestamp(datetime.now(UTC) - timedelta(seconds=1))
        return state.with_slot(replace(state.slot, deadline=past))

    lab.deployment.store(lab.source_id).change(decide)


@pytest.mark.parametrize("load_type", ["transactional", "catalog"])
def test_a_finalize_that_wakes_after_its_run_was_abandoned(lab: Lab, load_type: str) -> None:
    orders(lab, load_type=load_type)
    slow, _ = lab.open_and_plan("slow")
    lab.extract(slow)  # all is there but the commit
    _expire(lab)
    add_orders(lab, 2)
    taker = lab.run_ok()
    status, answer = lab.call("finalize", _body(slow))
    assert (status, answer["status"], answer["outcome"]) == (200, "done", "abandoned")
    assert "took over" in answer["receipt"]["reason"]
    lab.check_equal()
    assert taker["rows_loaded"] == 7
    assert _outcomes(lab) == {"ok": 1, "abandoned": 1}
    assert all(job.startswith(f"etl_{lab.source_id}_2_") for job in lab.job_ids())
    # Nor does its plan or its trigger get a second life.
    assert lab.call("plan", _body(slow))[0] == 422
    again = lab.call("trigger", {"source_id": lab.source_id, "run_id": slow.run_id})
    assert again[1]["status"] == "done"
    assert again[1]["receipt"]["outcome"] == "abandoned"


def test_a_finalize_that_sleeps_in_the_middle_of_its_commit(lab: Lab) -> None:
    """SIGSTOP between claim and submission; another run rolls it forward; it wakes and changes nothing."""
    orders(lab)
    slow, _ = lab.open_and_plan("slow")
    lab.extract(slow)
    lab.faults.inject("error", method="GET", path=f"/jobs/etl_.*{slow.run_id}", times=10_000)
    answers: list[tuple[int, Any]] = []
    caller = threading.Thread(target=lambda: answers.append(lab.call("finalize", _body(slow))))
    caller.start()
    until(lambda: lab.faults.requests("GET", f"/jobs/etl_.*{slow.run_id}"), "the look at the job")
    pid = lab.stack.functions["finalize"].pid
    os.killpg(pid, signal.SIGSTOP)
    try:
        lab.faults.clear()
        add_orders(lab, 2)
        assert lab.step_by_step("taker").outcome == "ok"  # rolls the sleeper's run forward first
        lab.check_equal()
        after = lab.state()
    finally:
        os.killpg(pid, signal.SIGCONT)
    caller.join()
    assert answers[0][0] == 200
    assert answers[0][1]["outcome"] == "ok"
    assert answers[0][1]["receipt"]["run_id"] == slow.run_id
    assert lab.state() == after
    lab.check_equal()
    assert _outcomes(lab) == {"ok": 2}


def test_a_task_that_wakes_after_its_run_is_over(lab: Lab) -> None:
    """SIGSTOP in the middle of a unit; its run fails, the next one loads; it wakes and adds nothing."""
    orders(lab)
    name = lab.stack.start_run(lab.source_id)
    run_id = name.rsplit("/", 1)[1]
    until(lambda: list(lab.deployment.staging.list(f"runs/{run_id}/1/plan.jsonl")), "the plan")
    jobs = lab.stack.run_jobs.jobs
    names = lab.stack.layout.names
    parent = f"projects/{names.project}/locations/{names.location}/jobs/{names.job}"
    with lab.locked("orders"):
        until(lambda: lab.waiting(run_id), "the unit to wait for the lock")
        execution = next(e for e in jobs.executions(parent) if run_id in str(e.spec.env))
        (pid,) = execution.pids.values()
        os.killpg(pid, signal.SIGSTOP)
    try:
        _expire(lab)
        key, _ = lab.open_and_plan("taker")
        lab.extract(key)
        assert lab.finalize(key).outcome == "ok"
        lab.check_equal()
        after = lab.settled()
    finally:
        os.killpg(pid, signal.SIGCONT)
    ended = lab.stack.wait_run(name, 120)
    assert ended.state == "FAILED", ended
    assert ended.error["outcome"] == "abandoned", ended
    assert lab.state() == after
    lab.check_equal()
    assert _outcomes(lab) == {"ok": 1, "abandoned": 1}


def test_many_openers_take_one_slot(lab: Lab) -> None:
    """Compare-and-swap on the real store: of ten runs at once one opens, and each other one names it."""
    orders(lab)

    def open_run(number: int) -> Opened | Skipped:
        deployment = lab.deployment
        opener = Opener(
            deployment.store(lab.source_id),
            deployment.receipts(lab.source_id),
            Closer(deployment.store(lab.source_id), deployment.receipts(lab.source_id), deployment.events),
            lambda key: pytest.fail("nothing is committing"),
        )
        result = opener.open_run(lab.run_id(f"r{number}"))
        assert isinstance(result, Opened | Skipped)
        return result

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(open_run, range(10)))
    (winner,) = [result for result in results if isinstance(result, Opened)]
    skipped = [result for result in results if isinstance(result, Skipped)]
    assert {result.holder.run_id for result in skipped} == {winner.key.run_id}
    assert lab.state().epoch == 1


def test_one_run_id_for_two_sources(lab: Lab) -> None:
    """A run id chosen by hand may come twice: the second source does not take the first one's plan."""
    lab.database.execute(ORDERS)
    add_orders(lab, 3, first=1)
    second = f"{lab.source_id}_second"
    source: JsonObject = {"source_table_name": "orders", "timestamp_column": "updated_at"}
    lab.put(**source)
    lab.put(second, **source, dest_table_name=f"{lab.table}_second")
    run_id = lab.run_id("by-hand")
    for source_id in (lab.source_id, second):
        assert lab.call("trigger", {"source_id": source_id, "run_id": run_id})[1]["status"] == "opened"
    first, other = RunKey(lab.source_id, run_id, 1), RunKey(second, run_id, 1)
    assert lab.call("plan", _body(first))[0] == 200
    status, answer = lab.call("plan", _body(other))
    assert status == 422
    assert run_id in answer["error"]["message"]
    assert "an id of its own" in answer["error"]["message"]
    lab.extract(first)
    closed = lab.deployment.finalizer(second).finalize(other)
    assert isinstance(closed, Done)
    assert closed.outcome == "failed"
    assert lab.state(second).watermark is None
    assert lab.finalize(first).outcome == "ok"
    lab.check_equal()
