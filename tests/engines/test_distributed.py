"""Beam over worker processes and hosts (DaskRunner), which are killed in the middle of a unit."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import storage

from etl_runner.execution.beam.pipeline import build
from etl_runner.execution.collect import collect_verified
from etl_runner.planning.plan import Plan
from local.cloud_storage import CloudStorageServer
from local.layout import REPOSITORY
from local.ports import free_port
from local.processes import Child
from tests.conftest import fresh_name
from tests.engines.hosts import Forwarder, two_hosts, why_not
from tests.engines.scripted import Script, attempts, bucket_parts, bucket_store
from tests.unit.execution.worlds import PLAN_NAME, make_plan

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

UNITS = 16
DASK = str(Path(sys.executable).parent / "dask")
WORKER = str(Path(__file__).with_name("dask_worker.py"))
ENV = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}",
    "MALLOC_ARENA_MAX": "2",
    # A worker that dies is no reason to give the unit up: it did nothing wrong.
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20",
}


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, address: str, logs: Path) -> None:
        self._logs = logs
        port = free_port()
        self.address = f"tcp://{address}:{port}"
        command = [DASK, "scheduler", "--host", address, "--port", str(port), "--no-dashboard"]
        self.children = [Child.start("scheduler", command, log=logs / "scheduler.log", env=ENV)]
        self.children[0].wait_until(lambda: self.workers() is not None, what="the scheduler", timeout=120)

    def add(
        self, name: str, processes: int, around: Callable[[Sequence[str]], Sequence[str]] = list
    ) -> Child:
        """Worker processes of one thread each, which are started again when they die."""
        command = [sys.executable, WORKER, self.address, "--nworkers", str(processes), "--nthreads", "1"]
        command += ["--no-dashboard", "--memory-limit", "0", "--local-directory", str(self._logs)]
        child = Child.start(name, around(command), log=self._logs / f"{name}.log", env=ENV, cwd=REPOSITORY)
        self.children.append(child)
        return child

    def workers(self) -> int | None:
        """How many there are; None when the scheduler does not answer."""
        from distributed import Client

        try:
            with Client(self.address, timeout=2) as client:  # type: ignore[no-untyped-call]
                return len(client.scheduler_info(n_workers=-1)["workers"])
        except OSError:
            return None

    def wait_for(self, workers: int) -> None:
        """Until so many workers are there."""
        until(lambda: (self.workers() or 0) >= workers, 180)

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()


class Extraction:
    """A plan being extracted in a thread."""

    def __init__(self, cluster: Cluster, endpoint: str, bucket: str, folder: Path, script: Script) -> None:
        self.folder = folder
        self._error: list[BaseException] = []
        folder.mkdir(exist_ok=True)
        make_parts = partial(bucket_parts, endpoint, bucket, folder, script)
        runner = "--runner=apache_beam.runners.dask.dask_runner.DaskRunner"
        options = [runner, f"--dask_client_address={cluster.address}", f"--dask_npartitions={UNITS}"]
        self._pipeline = beam.Pipeline(options=PipelineOptions(options))
        build(self._pipeline, PLAN_NAME, make_parts, shares=UNITS)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            result = self._pipeline.run()
            try:
                result.wait_until_finish()
            finally:
                result.client.close()
        except Exception as error:
            self._error.append(error)

    def hanging(self, unit: str) -> tuple[str, int]:
        """Host and process of the attempt that hangs in the middle of a unit."""
        until(lambda: list(self.folder.glob(f"hangs-{unit}-*")) or self._error, 240)
        assert not self._error
        return attempts(self.folder, unit)[-1]

    def finish(self) -> None:
        self._thread.join(400)
        assert not self._thread.is_alive()
        assert self._error == []


def until(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def a_plan(client: storage.Client) -> tuple[str, Plan]:
    bucket, plan = fresh_name("engines", "-"), make_plan(UNITS)
    client.create_bucket(bucket).blob(PLAN_NAME).upload_from_string(plan.to_jsonl())
    return bucket, plan


def ids(client: storage.Client, server: CloudStorageServer, bucket: str, plan: Plan) -> list[int]:
    """The ids in the shards that count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[int] = []
    for manifest in collect_verified(bucket_store(server.endpoint, bucket), plan):
        for shard in manifest.shards:
            data = client.bucket(bucket).blob(shard.name).download_as_bytes()
            found += pq.read_table(pa.BufferReader(data), columns=["id"])["id"].to_pylist()
    return sorted(found)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster("127.0.0.1", tmp_path)
    yield made
    made.stop()


def test_one_of_four_workers_is_killed_in_the_middle_of_a_unit_ten_times(
    cluster: Cluster, gcs_server: CloudStorageServer, storage_client: storage.Client, tmp_path: Path
) -> None:
    cluster.add("workers", 4)
    cluster.wait_for(4)
    for number in range(10):
        unit = f"u{number:05d}"
        bucket, plan = a_plan(storage_client)
        script = {unit: ("hang",)}
        work = Extraction(cluster, gcs_server.endpoint, bucket, tmp_path / str(number), script)
        _, process = work.hanging(unit)
        os.kill(process, signal.SIGKILL)
        work.finish()
        assert ids(storage_client, gcs_server, bucket, plan) == list(range(UNITS * 10))
        tried = attempts(work.folder, unit)
        assert len(tried) == 2
        assert tried[1][1] != process
    processes = {
        process
        for n in range(10)
        for k in range(UNITS)
        for _, process in attempts(tmp_path / str(n), f"u{k:05d}")
    }
    assert len(processes) > 4


@pytest.mark.skipif(why_not() is not None, reason=f"no pretend hosts: {why_not()}")
def test_one_of_two_hosts_is_killed_in_mid_run_and_every_row_is_there_once(
    gcs_server: CloudStorageServer, storage_client: storage.Client, tmp_path: Path
) -> None:
    port = int(gcs_server.endpoint.rpartition(":")[2])
    with two_hosts() as hosts:
        forwarder = Forwarder(hosts.address, port)
        cluster = Cluster(hosts.address, tmp_path)
        try:
            machines = {name: cluster.add(name, 1, partial(hosts.inside, name)) for name in hosts.names}
            cluster.wait_for(2)
            bucket, plan = a_plan(storage_client)
            script = {"u00003": ("hang",)}
            endpoint = f"http://{hosts.address}:{port}"
            work = Extraction(cluster, endpoint, bucket, tmp_path / "run", script)
            host, _ = work.hanging("u00003")
            machines[host].kill()
            work.finish()
            assert ids(storage_client, gcs_server, bucket, plan) == list(range(UNITS * 10))
            tried = [name for name, _ in attempts(work.folder, "u00003")]
            assert tried[0] == host
            assert tried[-1] != host
            everywhere = {name for k in range(UNITS) for name, _ in attempts(work.folder, f"u{k:05d}")}
            assert everywhere == set(hosts.names)
        finally:
            cluster.stop()
            forwarder.close()
