"""``python -m benchmarks.events``: object events on the local topology, beside a handler that starts one load
job for each event, in the same run.

Latency is from the end of the upload to the receipt of its commit; files/s from the first upload of a burst
to the last commit. The naive handler is what the tutorials show: an event, one BigQuery load job of its file,
wait for it; its events are delivered by as many threads as the local Pub/Sub pushes with.
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
from pathlib import Path
from typing import Any

from etl_runner.gcp.deployment import Deployment
from etl_runner.state.receipts import Receipts
from local.layout import REPOSITORY
from local.postgres import remove_data
from local.stack import Stack

PUSHES = 8
PATIENCE_SECONDS = 600


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--files", type=int, default=500, help="files of the burst")
    parser.add_argument("--naive-files", type=int, default=40, help="files that the naive handler loads")
    parser.add_argument("--singles", type=int, default=5, help="single files, for the latency")
    options = parser.parse_args(argv)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="demo-", dir=folder))
    stack = Stack.start(data, environ=os.environ)
    try:
        measure(stack, options)
    finally:
        stack.stop()
        remove_data(data / "postgres")
        shutil.rmtree(data, ignore_errors=True)
    return 0


def measure(stack: Stack, options: argparse.Namespace) -> None:
    """Latency, a burst, and the naive handler's burst; printed."""
    bench = _Bench(stack)
    latencies = [bench.single(n) for n in range(options.singles)]
    say(
        f"upload to committed row, one file at a time: median {statistics.median(latencies):.2f} s, "
        f"best {min(latencies):.2f} s (of it {bench.linger:g} s waiting for more files)"
    )
    seconds, commits = bench.burst(options.files)
    ours = options.files / seconds
    say(f"burst of {options.files} files: {seconds:.1f} s, {ours:.1f} files/s, {commits} commits")
    seconds = bench.naive(options.naive_files)
    naive = options.naive_files / seconds
    say(
        f"one load job per event, {options.naive_files} files: {seconds:.1f} s, {naive:.1f} files/s, "
        f"{options.naive_files} jobs"
    )
    say(f"ratio: {ours / naive:.1f}x the files/s, {commits / options.files:.4f} table operations per file")


class _Bench:
    linger = 2.0

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._deployment = Deployment(stack.settings)
        landing = {"bucket": stack.layout.names.landing_bucket, "use_runner_account": True}
        stack.put_connection("landing", {"source_type": "gcs", **landing})
        for name in ("single", "burst"):
            stack.put_source(
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
        self._until("single", before + 1)
        return time.monotonic() - began

    def burst(self, files: int) -> tuple[float, int]:
        """Seconds until all of so many files are committed, and in how many commits."""
        began = time.monotonic()
        with ThreadPoolExecutor(PUSHES) as pool:
            list(pool.map(lambda n: self._stack.put_file(f"burst/{n}.csv", _csv(n)), range(files)))
        self._until("burst", files)
        seconds = time.monotonic() - began
        return seconds, sum(1 for one in self._receipts("burst") if one.get("jobs"))

    def naive(self, files: int) -> float:
        """The same with one load job per event."""
        from google.cloud.bigquery import LoadJobConfig, SchemaField

        client: Any = self._deployment.jobs._client
        dataset = self._stack.layout.names.dataset
        config = LoadJobConfig(
            source_format="CSV",
            skip_leading_rows=1,
            schema=[SchemaField("id", "INT64"), SchemaField("name", "STRING")],
            write_disposition="WRITE_APPEND",
        )
        bucket = "naive-landing"
        self._stack.storage.create_buckets([bucket])

        def one(number: int) -> None:
            uri = self._stack.put_file(f"{number}.csv", _csv(number), bucket)
            client.load_table_from_uri(uri, f"{dataset}.naive", job_config=config).result()

        began = time.monotonic()
        with ThreadPoolExecutor(PUSHES) as pool:
            list(pool.map(one, range(files)))
        return time.monotonic() - began

    def _until(self, source_id: str, rows: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._rows(source_id) < rows:
            if time.monotonic() > deadline:
                raise SystemExit(f"{source_id}: only {self._rows(source_id)} of {rows} rows are committed")
            time.sleep(0.05)

    def _rows(self, source_id: str) -> int:
        return sum(int(one.get("rows_loaded", 0)) for one in self._receipts(source_id))

    def _receipts(self, source_id: str) -> list[dict[str, Any]]:
        return list(Receipts(self._deployment.state, source_id).all())


def _csv(number: int) -> bytes:
    return b"id,name\n%d,file %d\n" % (number, number)


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
