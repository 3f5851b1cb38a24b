"""BigQuery and Cloud Storage out of order: what the run makes of it, and which jobs there are afterwards."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

from etl_runner.commit.close import RunKey
from etl_runner.gcp.deployment import Deployment
from etl_runner.jsontypes import JsonObject
from tests.integration.exactness.lab import Lab, add_orders, orders

pytestmark = pytest.mark.stack

STAGED = """
CREATE TABLE orders (
    id bigint NOT NULL,
    version int NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text,
    shop_time timestamp NOT NULL DEFAULT '2024-02-29 12:34:56.789012'
);
"""


@dataclass
class Answers:
    """What finalize answered until it was done."""

    statuses: list[int] = field(default_factory=list)
    """HTTP status of each answer."""
    pending: int = 0
    last: JsonObject = field(default_factory=dict)

    @property
    def receipt(self) -> JsonObject:
        receipt: JsonObject = self.last["receipt"]
        return receipt


def _finalize(lab: Lab, key: RunKey, patience: int = 40) -> Answers:
    """Ask the function as the workflow does, up to ``patience`` times; a final error ends it too."""
    body = {"source_id": key.source_id, "run_id": key.run_id, "epoch": key.epoch}
    answers = Answers()
    for _ in range(patience):
        status, answers.last = lab.call("finalize", body)
        answers.statuses.append(status)
        if status == 200 and answers.last["status"] == "pending":
            answers.pending += 1
            time.sleep(min(0.2, answers.last["retry_after_seconds"]))
        elif status != 503:
            return answers
    raise AssertionError(f"not done after {patience} answers: {answers}")


def _ready(lab: Lab, **fields: Any) -> RunKey:
    """A source that was loaded once and has three new rows, which a run has extracted."""
    orders(lab, **fields)
    lab.step_by_step("earlier")
    add_orders(lab, 3)
    key, _ = lab.open_and_plan("this")
    lab.extract(key)
    lab.faults.forget_requests()
    return key


def _numbers(lab: Lab) -> list[int]:
    """The numbers of the run's submissions, in order."""
    return [int(job.rsplit("_", 1)[1]) for job in lab.job_ids()]


def _check_loaded(lab: Lab, key: RunKey, answers: Answers) -> None:
    assert answers.statuses[-1] == 200, answers
    assert answers.last["outcome"] == "ok", answers
    assert answers.receipt["rows_loaded"] == 3
    lab.check_equal()
    state = lab.settled()
    assert state.last is not None
    assert state.last.run_id == key.run_id
    assert state.watermark == answers.receipt["watermark_after"]


def _check_failed(lab: Lab, key: RunKey, answers: Answers, before: Any, *says: str) -> None:
    """The receipt says why, all else is as it was, and the next run brings everything."""
    assert answers.statuses[-1] == 200, answers
    assert answers.last["outcome"] == "failed", answers
    for text in says:
        assert text in answers.receipt["reason"], answers.receipt
    assert answers.receipt["rows_loaded"] == 0
    loaded, watermark = before
    assert lab.loaded() == loaded
    state = lab.settled()
    assert state.watermark == watermark
    assert [r for r in lab.receipts() if r["run_id"] == key.run_id] == [answers.receipt]
    lab.faults.clear()
    assert lab.step_by_step("next").outcome == "ok"
    lab.check_equal()


def _before(lab: Lab) -> Any:
    return lab.loaded(), lab.state().watermark


@pytest.mark.parametrize(
    ("status", "reason"),
    [(503, "backendError"), (500, "internalError"), (429, "rateLimitExceeded"), (403, "rateLimitExceeded")],
)
def test_a_submission_that_is_turned_away_is_repeated_under_its_number(
    lab: Lab, status: int, reason: str
) -> None:
    key = _ready(lab)
    lab.faults.inject(
        "error", method="POST", path="/jobs", job_id=key.run_id, status=status, reason=reason, times=2
    )
    answers = _finalize(lab, key)
    assert answers.statuses.count(503) == 2
    assert _numbers(lab) == [1, 1, 1]  # nothing was created by the first two: the number is still free
    _check_loaded(lab, key, answers)
    assert len(answers.receipt["jobs"]) == 1


def test_a_submission_whose_response_is_lost_is_adopted(lab: Lab) -> None:
    key = _ready(lab)
    lab.faults.inject("lost_response", method="POST", path="/jobs", job_id=key.run_id)
    answers = _finalize(lab, key)
    assert 503 in answers.statuses
    assert _numbers(lab) == [1]
    _check_loaded(lab, key, answers)


def test_a_submission_that_meets_its_own_job_adopts_it(lab: Lab) -> None:
    """The look-up does not see the job yet; the submission is told that it exists."""
    key = _ready(lab)
    lab.faults.inject("lost_response", method="POST", path="/jobs", job_id=key.run_id)
    lab.faults.inject("error", method="GET", path=f"/jobs/etl_.*{key.run_id}", status=404, nth=2)
    answers = _finalize(lab, key)
    assert _numbers(lab) == [1, 1]
    conflicts = [r.status for r in lab.faults.requests("POST", "/jobs") if r.job_id in lab.job_ids()]
    assert conflicts[-1] == 409
    _check_loaded(lab, key, answers)


def test_a_job_that_takes_its_time_is_awaited(lab: Lab) -> None:
    key = _ready(lab)
    lab.faults.inject("slow_job", method="POST", path="/jobs", job_id=key.run_id, polls=3)
    answers = _finalize(lab, key)
    assert answers.pending >= 3
    assert _numbers(lab) == [1]
    _check_loaded(lab, key, answers)


@pytest.mark.parametrize("staged", [False, True], ids=["one job", "two jobs"])
def test_a_retryable_failure_takes_the_next_number(lab: Lab, staged: bool) -> None:
    if staged:
        lab.database.execute(STAGED)
        key = _ready_staged(lab)
    else:
        key = _ready(lab)
    last = "2" if staged else "1"
    lab.faults.inject(
        "fail_job", method="POST", path="/jobs", job_id=f"{key.run_id}_{last}$", reason="backendError"
    )
    answers = _finalize(lab, key)
    assert _numbers(lab) == ([1, 2, 3] if staged else [1, 2])
    _check_loaded(lab, key, answers)
    assert answers.receipt["jobs"] == lab.job_ids()


def _ready_staged(lab: Lab, **fields: Any) -> RunKey:
    """As :func:`_ready`, with a column that only a query can fill: a load and a query commit it."""
    lab.put(source_table_name="orders", timestamp_column="updated_at", **fields)
    add_orders(lab, 2, first=1)
    lab.step_by_step("earlier")
    add_orders(lab, 3)
    key, _ = lab.open_and_plan("this")
    lab.extract(key)
    lab.faults.forget_requests()
    return key


def test_retryable_failures_end_some_time(lab: Lab) -> None:
    key = _ready(lab)
    before = _before(lab)
    lab.faults.inject(
        "fail_job", method="POST", path="/jobs", job_id=key.run_id, reason="backendError", times=1_000
    )
    answers = _finalize(lab, key)
    numbers = _numbers(lab)
    assert numbers == list(range(1, len(numbers) + 1))
    assert 2 < len(numbers) < 10
    _check_failed(lab, key, answers, before, "backendError", "injected fault")


@pytest.mark.parametrize("number", [1, 2], ids=["the load", "the query"])
def test_a_final_failure_of_one_of_two_jobs_publishes_nothing(lab: Lab, number: int) -> None:
    lab.database.execute(STAGED)
    key = _ready_staged(lab)
    before = _before(lab)
    lab.faults.inject(
        "fail_job", method="POST", path="/jobs", job_id=f"_{number}$", reason="invalid", message="bad schema"
    )
    answers = _finalize(lab, key)
    assert _numbers(lab) == [1, 2][:number]
    _check_failed(lab, key, answers, before, "invalid", "bad schema")


@pytest.mark.parametrize("load_type", ["transactional", "catalog"])
def test_a_final_failure_leaves_everything_as_it_was(lab: Lab, load_type: str) -> None:
    key = _ready(lab, load_type=load_type)
    before = _before(lab)
    lab.faults.inject(
        "fail_job", method="POST", path="/jobs", job_id=key.run_id, reason="invalid", message="bad schema"
    )
    answers = _finalize(lab, key)
    assert _numbers(lab) == [1]
    _check_failed(lab, key, answers, before, "invalid", "bad schema", "etl_")


def test_a_refused_submission_burns_its_number(lab: Lab) -> None:
    """No job was created; a job that does nothing takes the id, so that no late copy can use it."""
    key = _ready(lab)
    before = _before(lab)
    lab.faults.inject(
        "error", method="POST", path="/jobs", job_id=key.run_id, status=400, message="bad request"
    )
    answers = _finalize(lab, key)
    assert _numbers(lab) == [1, 1]
    tombstone = lab.bigquery.get_job(lab.job_ids()[0], location="EU")
    assert tombstone.labels["etl_tombstone"] == "1"
    assert tombstone.query.startswith("SELECT 1")
    _check_failed(lab, key, answers, before, "refused", "bad request")


def test_where_even_that_is_refused_the_slot_stays_committing(lab: Lab) -> None:
    key = _ready(lab)
    lab.faults.inject(
        "error",
        method="POST",
        path="/jobs",
        job_id=key.run_id,
        status=403,
        message="no permission",
        times=100,
    )
    answers = _finalize(lab, key)
    assert answers.statuses == [422]
    assert "no permission" in answers.last["error"]["message"]
    slot = lab.state().slot
    assert slot is not None
    assert (slot.phase, slot.n, slot.run_id) == ("committing", 1, key.run_id)
    lab.faults.clear()
    _check_loaded(lab, key, _finalize(lab, key))


def test_a_foreign_job_with_our_id_is_not_adopted(lab: Lab) -> None:
    key = _ready(lab)
    before = _before(lab)
    identifier = f"etl_{lab.source_id}_{key.epoch}_{key.run_id}_1"
    lab.bigquery.query("SELECT 1", job_id=identifier, job_retry=None).result()
    answers = _finalize(lab, key)
    assert answers.statuses == [422]
    assert "not adopted" in answers.last["error"]["message"]
    assert _before(lab) == before
    slot = lab.state().slot
    assert slot is not None
    assert slot.phase == "committing"


def test_the_workflow_goes_on_through_all_of_it(lab: Lab) -> None:
    """One run: turned away twice, a lost response, a slow job, a failure, once more."""
    orders(lab)
    lab.faults.inject("error", method="POST", path="/jobs", job_id=lab.source_id, status=503, times=2)
    lab.faults.inject("fail_job", method="POST", path="/jobs", job_id=lab.source_id, nth=3)
    lab.faults.inject("lost_response", method="POST", path="/jobs", job_id=lab.source_id, nth=4)
    lab.faults.inject("error", method="GET", path="/datasets/", status=503)
    receipt = lab.run_ok()
    lab.check_equal()
    assert _numbers(lab) == [1, 1, 1, 2]
    assert receipt["jobs"] == sorted(set(lab.job_ids()))


class StorageProxy:
    """Stands before Cloud Storage and strikes each request's first attempt once."""

    def __init__(self, upstream: str, strikes: dict[str, str]) -> None:
        """``strikes``: by HTTP method, ``lost`` (effect without answer) or ``503`` (neither)."""
        self.struck: list[tuple[str, str, str]] = []
        """Method, path and how."""
        self._host = upstream.removeprefix("http://")
        self._strikes = strikes
        self._seen: set[tuple[str, str, bytes]] = set()
        self._lock = Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        how = self._strike(handler.command, handler.path, body)
        if how == "503":
            handler.send_response(503)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        upstream = http.client.HTTPConnection(self._host, timeout=60)
        try:
            headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection")}
            upstream.request(handler.command, handler.path, body=body, headers=headers)
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if how == "lost":
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _strike(self, method: str, path: str, body: bytes) -> str | None:
        how = self._strikes.get(method)
        # A multipart upload is told by its object, not by its boundary, which each attempt draws anew.
        name = body[:400].split(b'"name": "')[-1].split(b'"')[0] if method == "POST" else b""
        with self._lock:
            if how is None or (method, path, name) in self._seen:
                return None
            self._seen.add((method, path, name))
            self.struck.append((method, path, how))
        return how

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def _behind(lab: Lab, strikes: dict[str, str]) -> Iterator[StorageProxy]:
    """The laboratory's own steps go to Cloud Storage through the proxy until the block ends."""
    proxy = StorageProxy(lab.stack.layout.storage_endpoint, strikes)
    lab.deployment = Deployment(replace(lab.stack.settings, storage_endpoint=proxy.url))
    try:
        yield proxy
    finally:
        lab.deployment = Deployment(lab.stack.settings)
        proxy.stop()


@pytest.mark.parametrize(
    "strikes", [{"POST": "lost"}, {"POST": "503"}, {"DELETE": "lost"}], ids=["lost", "503", "deletes"]
)
def test_each_write_to_cloud_storage_fails_once(lab: Lab, strikes: dict[str, str]) -> None:
    """State, plan, manifest, shard, record, receipt: written, answered by nobody, written again."""
    orders(lab, rows=4)
    lab.step_by_step("earlier")
    add_orders(lab, 2)
    with _behind(lab, strikes) as proxy:
        done = lab.step_by_step("this")
    assert done.outcome == "ok"
    assert len(proxy.struck) >= 3, proxy.struck
    lab.check_equal()
    assert {receipt["outcome"] for receipt in lab.receipts()} == {"ok"}
    assert len(lab.receipts()) == 2
    assert lab.settled().epoch == 2
    assert _numbers(lab) == [1, 1]
