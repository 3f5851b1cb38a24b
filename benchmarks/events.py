"""``python -m benchmarks.events``: object events on the local topology, beside a handler that starts one load
job for each event, in the same run.

Latency is from the end of an upload to the receipt of its commit; files/s from the first upload of a burst to
the last commit. No sweep runs meanwhile, and every burst is checked: each row once, no arrival left.

The naive handler (``naive_handler/main.py``) is what the tutorials show: an event, one BigQuery load job of
its file, wait for it. It is a function like ours behind the same bus, and gets a part of the files only: its
files/s stay the same, and a table takes 1,500 jobs a day. The local BigQuery takes less than a tenth of a
second for a load job; the real one takes seconds, which makes a job for each file so much the worse:
``--job-seconds`` has the local jobs of both handlers take so long.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.event_matching import matching
from etl_runner.events.arrivals import Arrivals
from etl_runner.gcp.deployment import Deployment
from etl_runner.state.receipts import Receipts
from local.data_folder import memory_folder
from local.functions import FunctionServer
from local.identity import PUSH_ACCOUNT
from local.layout import REPOSITORY
from local.ports import free_port
from local.postgres import remove_data
from local.stack import Stack

WRITERS = 8
PATIENCE_SECONDS = 1_800
DAY_LIMIT = 1_500
"""Load jobs that BigQuery takes for one table in a day (https://cloud.google.com/bigquery/quotas)."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument(
        "--files", type=int, nargs="*", default=[200, 2_000], metavar="N", help="files of each burst"
    )
    parser.add_argument("--burst", type=int, metavar="N", help="one burst of so many files, and nothing else")
    parser.add_argument("--naive-files", type=int, default=100, help="files that the naive handler loads")
    parser.add_argument(
        "--job-seconds", type=float, default=0.0, metavar="S", help="every load job takes so long"
    )
    parser.add_argument("--singles", type=int, default=3, help="single files, for the latency")
    parser.add_argument("--matching", action="store_true", help="only the matching, without the topology")
    options = parser.parse_args(argv)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if not options.burst:
        say(matching())
    if options.matching:
        return 0
    data = Path(tempfile.mkdtemp(prefix="etl-events-", dir=_folder()))
    stack = Stack.start(data, environ=os.environ)
    try:
        if options.job_seconds:
            stack.bigquery.faults.inject(
                "slow_job", method="POST", path="/jobs", seconds=options.job_seconds, times=1_000_000
            )
            say(f"every load job takes {options.job_seconds:g} s")
        return measure(_Bench(stack), options)
    finally:
        stack.stop()
        remove_data(data / "postgres")
        shutil.rmtree(data, ignore_errors=True)


def _folder() -> Path:
    """Where the stand-ins keep their data: in memory where there is room, as no disk is to be measured."""
    if (memory := memory_folder()) is not None:
        return memory
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    return folder


def measure(bench: _Bench, options: argparse.Namespace) -> int:
    """Latency, bursts, and the naive handler's burst; printed. 1 when a burst was not loaded exactly."""
    # The function is warm: what its first file costs is its start, which benchmarks.cold_start measures.
    # Sources are there before their files: a new document counts within seconds (docs/events.md).
    for name in ("single", *map(_burst, [options.burst] if options.burst else options.files)):
        bench.source(name)
    bench.single(0)
    if options.burst:
        return 0 if bench.burst(options.burst).say() else 1
    latencies = [bench.single(n) for n in range(1, options.singles + 1)]
    say(
        f"upload to committed row, one file at a time: median {statistics.median(latencies):.2f} s, "
        f"best {min(latencies):.2f} s, worst {max(latencies):.2f} s"
    )
    bursts = [bench.burst(files) for files in options.files]
    exact = [burst.say() for burst in bursts]
    seconds = bench.naive(options.naive_files)
    naive = options.naive_files / seconds
    say(
        f"one load job per event, {options.naive_files} files: {seconds:.1f} s, {naive:.1f} files/s, "
        f"{options.naive_files} load jobs"
    )
    for burst in bursts:
        say(
            f"ratio at {burst.files} files: {burst.rate / naive:.1f}x the files/s, "
            f"{burst.jobs} load jobs instead of {burst.files}"
            + (f", of which a day allows {DAY_LIMIT}" if burst.files > DAY_LIMIT else "")
        )
    return 0 if all(exact) else 1


@dataclass(frozen=True)
class Burst:
    """What became of so many files: ``uploaded`` and ``seconds`` from the first upload on, to the last upload
    and to the last commit."""

    files: int
    uploaded: float
    seconds: float
    commits: int
    jobs: int
    rows: tuple[int, int]
    """In the table: all, and different ones."""
    left: int
    """Arrivals."""

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.files / self.seconds

    def say(self) -> bool:
        """Print it; whether every row is there once and no arrival is left."""
        exact = self.rows == (self.files, self.files) and not self.left
        say(
            f"burst of {self.files} files: uploaded in {self.uploaded:.1f} s, committed after "
            f"{self.seconds:.1f} s, {self.rate:.1f} files/s, {self.commits} commits, {self.jobs} load jobs; "
            + ("every row once, no arrival left" if exact else f"NOT EXACT: {self.rows}, {self.left} left")
        )
        return exact


class _Bench:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._deployment = Deployment(stack.settings)
        self._client: Any = self._deployment.jobs._client
        self._dataset = stack.layout.names.dataset
        landing = {"bucket": stack.layout.names.landing_bucket, "use_runner_account": True}
        stack.put_connection("landing", {"source_type": "gcs", **landing})

    def source(self, name: str) -> None:
        """A source of the files of one folder."""
        self._stack.put_source(
            name,
            {
                "source_type": "gcs",
                "connection": "landing",
                "file_pattern": f"{name}/*.csv",
                "load_type": "transactional",
                "dest_table_name": name,
            },
        )

    def single(self, number: int) -> float:
        """Seconds from an upload to the end of its run."""
        before = self._rows("single")
        self._stack.put_file(f"single/{number}.csv", _csv(number))
        began = time.monotonic()
        self._until("single", before + 1, 0.05)
        seconds = time.monotonic() - began
        time.sleep(12)  # alone means that the one before is some time ago
        return seconds

    def burst(self, files: int) -> Burst:
        """So many files by eight writers, until all are committed."""
        name = _burst(files)
        began = time.monotonic()
        self._write(name, files)
        uploaded = time.monotonic() - began
        self._until(name, files, 0.25)
        seconds = time.monotonic() - began
        arrivals = Arrivals(self._deployment.state, name)
        deadline = time.monotonic() + PATIENCE_SECONDS / 10
        while arrivals.any() and time.monotonic() < deadline:
            time.sleep(0.5)
        committed = [one for one in self._receipts(name) if one.get("jobs")]
        sql = f"SELECT COUNT(*), COUNT(DISTINCT id) FROM `{self._dataset}.{name}`"
        (row,) = self._client.query_and_wait(sql)
        jobs = sum(len(one["jobs"]) for one in committed)
        rows = int(row[0]), int(row[1])
        return Burst(files, uploaded, seconds, len(committed), jobs, rows, len(arrivals.hashes()))

    def naive(self, files: int) -> float:
        """Seconds until one load job for each event has loaded so many files."""
        stack, names = self._stack, self._stack.layout.names
        main = REPOSITORY / "benchmarks" / "naive_handler" / "main.py"
        env = {**stack.layout.container_env(os.environ), "NAIVE_TABLE": f"{self._dataset}.naive"}
        server = FunctionServer(
            "naive", main, env=env, log=stack.logs / "function-naive.log", port=free_port()
        )
        topic = f"projects/{names.project}/topics/{names.arrivals_topic}"
        try:
            server.wait()
            # Its events are nobody else's.
            stack.pubsub.broker.delete_subscription(
                f"projects/{names.project}/subscriptions/{names.arrivals_topic}"
            )
            naive = f"projects/{names.project}/subscriptions/naive"
            stack.pubsub.create_push(topic, naive, server.url, PUSH_ACCOUNT)
            self._write("naive_warm", 1)
            self._until_table(1)
            began = time.monotonic()
            self._write("naive", files)
            self._until_table(files + 1)
            return time.monotonic() - began
        finally:
            server.stop()

    def _write(self, folder: str, files: int) -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda n: self._stack.put_file(f"{folder}/{n}.csv", _csv(n)), range(files)))

    def _until_table(self, rows: int) -> None:
        from google.api_core.exceptions import NotFound

        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if int(self._client.get_table(f"{self._dataset}.naive").num_rows) >= rows:
                    return
            except NotFound:
                pass
            time.sleep(0.25)
        raise SystemExit("the naive handler does not load its files")

    def _until(self, source_id: str, rows: int, pause: float) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._rows(source_id) < rows:
            if time.monotonic() > deadline:
                raise SystemExit(f"{source_id}: only {self._rows(source_id)} of {rows} rows are committed")
            time.sleep(pause)

    def _rows(self, source_id: str) -> int:
        return sum(int(one.get("rows_loaded", 0)) for one in self._receipts(source_id))

    def _receipts(self, source_id: str) -> list[dict[str, Any]]:
        return list(Receipts(self._deployment.state, source_id).all())


def _burst(files: int) -> str:
    return f"burst_{files}"


def _csv(number: int) -> bytes:
    return b"id,name\n%d,file %d\n" % (number, number)


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
