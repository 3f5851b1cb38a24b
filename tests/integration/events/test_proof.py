"""Many files at once, by many writers, through dying processes: every row once, in a handful of jobs.

The bus is the test's: it delivers each event one to three times in random order, and again when a delivery
fails. The functions are real processes behind a storage that answers one call in ten 429 or 503.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etl_runner.errors import PermanentError
from etl_runner.events.arrivals import Arrivals
from etl_runner.gcp.deployment import Deployment
from etl_runner.state.receipts import Receipts
from local import rest
from local.functions import FunctionServer
from local.identity import PUSH_ACCOUNT
from local.layout import REPOSITORY
from local.stack import Stack
from tests.conftest import fresh_name

pytestmark = [pytest.mark.stack, pytest.mark.slow]
ROWS = 3
FILES = int(os.environ.get("ETL_PROOF_FILES", "200"))
"""Files of the proof; thousands take many minutes."""
LEASE = 15


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A killed process leaves its connections behind."""


class FaultyStorage:
    """Forwards to Cloud Storage; one call in ten is answered 429 or 503, half of those after their effect."""

    def __init__(self, upstream: str, seed: int) -> None:
        self._host = upstream.removeprefix("http://")
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._local = threading.local()
        self.calls = self.struck = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy.serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            luck = self._chance.random()
            self.calls += 1
            self.struck += luck < 0.1
        if luck < 0.05:
            self._answer(handler, 429 if luck < 0.025 else 503, b"injected", {})
            return
        status, data, headers = self._forward(handler, body)
        if luck < 0.1:
            self._answer(handler, 503, b"injected after the effect", {})
        else:
            self._answer(handler, status, data, headers)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            kept = {
                n: v for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "connection")
            }
            return answer.status, answer.read(), kept
        finally:
            connection.close()

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "date", "server"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Bus:
    """Deliveries that wait, in random order; a failed one comes again."""

    urls: list[str]
    token: str
    chance: random.Random
    waiting: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    delivered: int = 0
    failed: int = 0
    writing: bool = True

    def publish(self, bucket: str, name: str, generation: str, size: int, updated: str) -> None:
        event = {
            "specversion": "1.0",
            "type": "google.cloud.storage.object.v1.finalized",
            "id": f"{name}-{generation}",
            "data": {
                "bucket": bucket,
                "name": name,
                "generation": generation,
                "size": str(size),
                "updated": updated,
            },
        }
        with self.lock:
            self.waiting += [event] * self.chance.randint(1, 3)

    def deliver(self) -> None:
        while True:
            with self.lock:
                if not self.waiting and not self.writing:
                    return
                event = None
                if self.waiting:
                    event = self.waiting.pop(self.chance.randrange(len(self.waiting)))
                url = self.chance.choice(self.urls)
            if event is None:
                time.sleep(0.05)
                continue
            try:
                headers = {"Authorization": f"Bearer {self.token}"}
                status, _ = rest.call("POST", url, event, timeout=300, headers=headers)
            except (PermanentError, http.client.HTTPException):
                status = 0
            with self.lock:
                self.delivered += 1
                if not 200 <= status < 300:
                    self.failed += 1
                    self.waiting.append(event)
            if status == 0:
                time.sleep(0.2)


@pytest.fixture
def functions(stack: Stack, tmp_path: Path) -> Iterator[tuple[list[FunctionServer], FaultyStorage]]:
    """Four processes of file_arrival, the storage behind them faulty."""
    storage = FaultyStorage(stack.layout.storage_endpoint, 11)
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = {
        **stack.layout.container_env(inherited),
        **stack.layout.event_env(),
        "STORAGE_EMULATOR_HOST": storage.endpoint,
        "ETL_EVENT_LINGER_SECONDS": "1",
        "ETL_EVENT_LEASE_SECONDS": str(LEASE),
        "ETL_EVENT_RUN_SECONDS": "60",
        "ETL_FILE_RETRY_SECONDS": "1",
    }
    main = REPOSITORY / "functions" / "file_arrival" / "main.py"
    servers = [
        FunctionServer(f"file_arrival-{n}", main, env=env, log=tmp_path / f"function-{n}.log")
        for n in range(4)
    ]
    try:
        for server in servers:
            server.wait()
        yield servers, storage
    finally:
        for server in servers:
            server.stop()
        storage.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("files", [FILES])
def test_every_row_once_in_few_jobs_whatever_dies(
    stack: Stack, functions: tuple[list[FunctionServer], FaultyStorage], files: int
) -> None:
    servers, storage = functions
    source = fresh_name("burst")
    bucket = source.replace("_", "-")
    stack.storage.create_buckets([bucket])
    stack.put_connection(source, {"source_type": "gcs", "bucket": bucket, "use_runner_account": True})
    stack.put_source(
        source,
        {
            "source_type": "gcs",
            "connection": source,
            "file_pattern": "**/*.csv",
            "load_type": "transactional",
            "dest_table_name": source,
        },
    )
    token = stack.identity.token(PUSH_ACCOUNT, stack.layout.function_urls["file_arrival"])
    bus = Bus([server.url for server in servers], token, random.Random(files))
    stopping = threading.Event()

    def write(writer: int) -> None:
        for n in range(writer, files, 8):
            name = f"w{writer}/{n:05}.csv"
            data = b"id\n" + b"".join(b"%d\n" % (n * ROWS + row) for row in range(ROWS))
            stack.put_file(name, data, bucket)
            url = f"{stack.layout.storage_endpoint}/storage/v1/b/{bucket}/o/{name.replace('/', '%2F')}"
            _, made = rest.call("GET", url)
            bus.publish(bucket, name, str(made["generation"]), int(made["size"]), made["updated"])

    def kill() -> None:
        # By progress, not by time: on a slow machine a process needs long to start again.
        chance = random.Random(3)
        for threshold in (files // 4, files // 2, files, files * 3 // 2):
            while bus.delivered < threshold:
                if stopping.wait(0.05):
                    return
            os.kill(chance.choice(servers).pid, signal.SIGKILL)

    with ThreadPoolExecutor(8) as writers, ThreadPoolExecutor(12) as deliverers:
        killer = threading.Thread(target=kill)
        killer.start()
        deliveries = [deliverers.submit(bus.deliver) for _ in range(12)]
        for written in [writers.submit(write, n) for n in range(8)]:
            written.result()
        bus.writing = False
        for delivery in deliveries:
            delivery.result()
        stopping.set()
        killer.join()

    deployment = Deployment(stack.settings)
    arrivals = Arrivals(deployment.state, source)
    deadline = time.monotonic() + 120
    while arrivals.any() or deployment.store(source).read().slot is not None:
        assert time.monotonic() < deadline, arrivals.hashes()
        stack.sweep()
        time.sleep(0.5)

    jobs = sum(len(receipt.get("jobs", ())) for receipt in Receipts(deployment.state, source).all())
    print(
        f"{files} files, {bus.delivered} deliveries, {bus.failed} of them failed, {storage.struck} of "
        f"{storage.calls} storage calls struck, {jobs} load jobs"
    )
    client: Any = deployment.jobs._client
    table = f"{stack.layout.names.dataset}.{source}"
    (row,) = client.query_and_wait(f"SELECT COUNT(*), COUNT(DISTINCT id), MIN(id), MAX(id) FROM `{table}`")
    assert tuple(row.values()) == (files * ROWS, files * ROWS, 0, files * ROWS - 1)
    assert jobs <= files * 0.05
    assert arrivals.all_set_aside() == []
    assert storage.struck > storage.calls * 0.05
