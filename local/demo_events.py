"""``python -m local.demo_events``: files of every format into local buckets of three clouds; their own events
load them. Exit code 0 when the tables hold what the files hold, 1 when they do not."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from etl_runner.errors import EtlError
from etl_runner.events.arrivals import Arrivals
from etl_runner.gcp.deployment import Deployment
from etl_runner.state.receipts import Receipts
from local.azure import AzureServer
from local.layout import REPOSITORY
from local.object_events import S3Events, deliverer, put_blob
from local.postgres import remove_data
from local.s3 import S3Server
from local.stack import Stack

ROWS = 200
PATIENCE_SECONDS = 300
Rows = list[tuple[int, str]]


@dataclass
class Feed:
    """One source of the demo: where its files go, and what they hold."""

    source_id: str
    what: str
    put: Callable[[str, bytes], object]
    encode: Callable[[Rows], bytes]
    ending: str
    files: int
    rows: Rows = field(default_factory=list)
    dropped: int = 0

    def drop(self) -> None:
        """Write the next file."""
        start = self.dropped * ROWS
        rows = [(start + n, f"{self.source_id} {start + n} é☃") for n in range(ROWS)]
        self.put(f"part-{self.dropped:03}{self.ending}", self.encode(rows))
        self.rows += rows
        self.dropped += 1


def as_csv(rows: Rows) -> bytes:
    return ("id,name\n" + "".join(f'{number},"{name}"\n' for number, name in rows)).encode()


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps({"id": number, "name": name}) + "\n" for number, name in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps([{"id": number, "name": name} for number, name in rows]).encode()


def as_parquet(rows: Rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [row[0] for row in rows], "name": [row[1] for row in rows]}), buffer)
    return buffer.getvalue()


class Demo:
    """Buckets, feeds, and what became of them."""

    def __init__(self, stack: Stack, s3: S3Server, azure: AzureServer, files: int) -> None:
        self.stack = stack
        self.deployment = Deployment(stack.settings)
        self._deliver = deliverer(stack.layout.function_urls["file_arrival"], stack.layout.event_key)
        self._azure = azure
        s3.create_bucket("demo-s3")
        azure.create_container("demo-azure")
        self.s3_events = S3Events(s3, "demo-s3", self._deliver)
        landing = stack.layout.names.landing_bucket
        key, secret = s3.create_key("s3:*")
        amazon = {"source_type": "s3", "endpoint": s3.endpoint, "region": "us-east-1"}
        keys = {"access_key_id": key, "secret_access_key": secret}
        connections: dict[str, dict[str, Any]] = {
            "google": {"source_type": "gcs", "bucket": landing, "use_runner_account": True},
            "amazon": {**amazon, **keys, "bucket": "demo-s3"},
            "azure": azure.document("demo-azure"),
        }
        for name, document in connections.items():
            stack.put_connection(name, document)
        self.feeds = [
            self._feed("google", "csv", stack.put_file, as_csv, ".csv", files),
            self._feed("google", "parquet", stack.put_file, as_parquet, ".parquet", files),
            self._feed("amazon", "jsonl", lambda n, d: s3.put("demo-s3", n, d), as_jsonl, ".jsonl", files),
            self._feed(
                "amazon",
                "csv_gz",
                lambda n, d: s3.put("demo-s3", n, d),
                lambda rows: gzip.compress(as_csv(rows)),
                ".csv.gz",
                files,
            ),
            self._feed("azure", "json", self._blob, as_json, ".json", files),
        ]

    def _blob(self, name: str, data: bytes) -> None:
        put_blob(self._azure, "demo-azure", name, data, self._deliver)

    def _feed(
        self,
        connection: str,
        kind: str,
        put: Callable[[str, bytes], object],
        encode: Callable[[Rows], bytes],
        ending: str,
        files: int,
    ) -> Feed:
        source_id = f"{connection}_{kind}"
        source_type = {"google": "gcs", "amazon": "s3", "azure": "azure"}[connection]
        self.stack.put_source(
            source_id,
            {
                "source_type": source_type,
                "connection": connection,
                "file_pattern": f"{source_id}/*{ending}",
                "load_type": "transactional",
                "dest_table_name": source_id,
            },
        )
        return Feed(source_id, source_type, lambda n, d: put(f"{source_id}/{n}", d), encode, ending, files)

    def table(self) -> Table:
        """The live view."""
        view = Table(title="Object events, as they come", title_justify="left")
        for column in ("source", "files dropped", "arrivals waiting", "commits", "rows committed"):
            view.add_column(column, justify="left" if column == "source" else "right")
        for feed in self.feeds:
            view.add_row(feed.source_id, str(feed.dropped), *map(str, self._progress(feed)))
        return view

    def _progress(self, feed: Feed) -> tuple[int, int, int]:
        receipts = [one for one in Receipts(self.deployment.state, feed.source_id).all() if one.get("jobs")]
        waiting = len(Arrivals(self.deployment.state, feed.source_id).hashes())
        return waiting, len(receipts), sum(receipt["rows_loaded"] for receipt in receipts)

    def done(self) -> bool:
        """Whether everything that was dropped is committed, and no arrival waits."""
        for feed in self.feeds:
            waiting, _, rows = self._progress(feed)
            if waiting or feed.dropped < feed.files or rows < len(feed.rows):
                return False
        return True

    def agree(self, console: Console) -> bool:
        """Compare the tables with the files' rows; print the summary."""
        summary = Table(title="Files against tables", title_justify="left")
        for column in ("source", "files", "rows in files", "rows in table", "commits", "equal"):
            summary.add_column(column, justify="left" if column == "source" else "right")
        every = True
        dataset = self.stack.layout.names.dataset
        for feed in self.feeds:
            found = sorted(self._query(f"SELECT id, name FROM `{dataset}.{feed.source_id}`"))
            equal = found == sorted(feed.rows)
            every = every and equal
            commits = str(self._progress(feed)[1])
            numbers = (str(feed.dropped), str(len(feed.rows)), str(len(found)), commits)
            summary.add_row(feed.source_id, *numbers, "yes" if equal else "NO")
        console.print(summary)
        return every

    def _query(self, sql: str) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        client = Client(
            project=self.stack.layout.names.project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.stack.layout.bigquery_endpoint},
        )
        return [tuple(row.values()) for row in client.query_and_wait(sql)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo_events", description=__doc__)
    parser.add_argument("--files", type=int, default=12, help="files of each source")
    options = parser.parse_args(argv)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="demo-", dir=folder))
    agreed = False
    try:
        agreed = _play(data, console, options.files)
    except EtlError as error:
        console.print(f"The demo failed: {error}", style="bold red", markup=False, soft_wrap=True)
    finally:
        remove_data(data / "postgres")
        if agreed:
            shutil.rmtree(data, ignore_errors=True)
        else:
            console.print(f"The logs are in {data / 'logs'}", markup=False, soft_wrap=True)
    return 0 if agreed else 1


def _play(data: Path, console: Console, files: int) -> bool:
    stack = Stack.start(data, environ=os.environ)
    parts: list[Any] = [stack]
    try:
        s3 = S3Server.start(data / "logs" / "s3.log")
        parts.append(s3)
        azure = AzureServer.start(data / "azure")
        parts.append(azure)
        console.print("The topology is up, and buckets of three clouds beside it", style="bold")
        demo = Demo(stack, s3, azure, files)
        parts.append(demo.s3_events)
        _watch(demo, console)
        agreed = demo.agree(console)
        console.print("Every file is in its table once." if agreed else "Files and tables DIFFER.")
        return agreed
    finally:
        for part in reversed(parts):
            part.stop()


def _watch(demo: Demo, console: Console) -> None:
    """Drop the files of all sources at once, and show what becomes of them."""
    deadline = time.monotonic() + PATIENCE_SECONDS

    def feed(one: Feed) -> None:
        for _ in range(one.files):
            one.drop()

    with ThreadPoolExecutor(len(demo.feeds)) as pool:
        feeding = [pool.submit(feed, one) for one in demo.feeds]
        with Live(demo.table(), console=console, refresh_per_second=2, transient=False) as live:
            while not demo.done() and time.monotonic() < deadline:
                for one in feeding:
                    if one.done():
                        one.result()
                live.update(demo.table())
                time.sleep(1)
            live.update(demo.table())
    console.print()  # the view ends without a line's end where it is no terminal


if __name__ == "__main__":
    sys.exit(main())
