"""``python -m local.demo_large``: TPC-H's lineitem, six million rows, from PostgreSQL to BigQuery. The plan
chooses Dataflow by itself; count and checksum of both ends are compared. Exit code 0 when they agree."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from etl_runner.cli.watch import watch_on
from etl_runner.errors import EtlError, PermanentError
from local.demo_large.load import Load, Loaded
from local.layout import REPOSITORY
from local.postgres import remove_data
from local.stack import Stack

NAME = "lineitem"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo_large", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H's scale factor; 1 is 6,001,215 rows")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, progress on stderr")
    parser.add_argument(
        "--tamper", action="store_true", help="change one value in the destination first: the demo must fail"
    )
    options = parser.parse_args(argv)
    console = Console(highlight=False, stderr=options.json)
    if not console.is_terminal:
        console = Console(highlight=False, stderr=options.json, width=200)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when its library is loaded, by the first server
    # A terminated demo cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="demo-large-", dir=folder))
    answer: dict[str, Any] = {"agree": False}
    try:
        answer = _play(data, console, options.scale, tamper=options.tamper)
    except EtlError as error:
        answer["error"] = str(error)
        console.print(f"The demo failed: {error}", style="bold red", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        answer["error"] = "interrupted"
        console.print("Interrupted.")
    finally:
        remove_data(data / "postgres")
        if answer["agree"] or options.tamper:
            shutil.rmtree(data, ignore_errors=True)
        else:
            console.print(f"The logs are in {data / 'logs'}", markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps(answer, indent=2))
    return 0 if answer["agree"] else 1


def _play(data: Path, console: Console, scale: float, *, tamper: bool) -> dict[str, Any]:
    began = time.monotonic()
    stack = Stack.start(data, environ=dict(os.environ))
    try:
        console.print(f"The whole topology is up on this machine: {stack.seconds['all']:.1f} s", style="bold")
        load = Load(stack, NAME, data / "password")
        since = time.monotonic()
        rows = load.fill(scale)
        console.print(
            f"PostgreSQL is filled with {rows:,} rows of lineitem, scale {scale:g}: "
            f"{time.monotonic() - since:.1f} s",
            style="bold",
        )
        loaded = load.run(watch_on(console))
        _show(console, loaded)
        if loaded.engine != "dataflow":
            raise PermanentError(f"the plan chose {loaded.engine}, not Dataflow: {loaded.engine_reason}")
        if tamper:
            load.tamper()
            console.print(f"Tampered with: one value of one row of {load.path}.")
        since = time.monotonic()
        source, destination = load.sums()
        console.print(
            f"Counts and checksums, each computed by its own server: {time.monotonic() - since:.1f} s",
            style="bold",
        )
        console.print(f"  source       {source}\n  destination  {destination}")
        agree = source == destination
        verdict = "agree" if agree else "DIFFER"
        console.print(
            f"Source and destination {verdict}. The demo took {time.monotonic() - began:.0f} s.",
            style="bold green" if agree else "bold red",
        )
        return {
            "scale": scale,
            **loaded.to_json(),
            "source": {"rows": source.rows, "checksum": f"{source.checksum:x}"},
            "destination": {"rows": destination.rows, "checksum": f"{destination.checksum:x}"},
            "agree": agree,
        }
    finally:
        stack.stop()


def _show(console: Console, loaded: Loaded) -> None:
    peaks = ", ".join(f"{peak:,.0f} MB" for peak in loaded.worker_peaks_mb) or "not told by this system"
    pipeline = (
        ""
        if loaded.pipeline_peak_mb is None
        else f"; the pipeline's process {loaded.pipeline_peak_mb:,.0f} MB"
    )
    console.print(f"  engine       {loaded.engine}: {loaded.engine_reason}", soft_wrap=True)
    console.print(f"  units        {loaded.units:,}")
    console.print(
        f"  extraction   {loaded.extract_seconds:.1f} s, {loaded.extract_rows_per_second:,.0f} rows/s, "
        "start of the workers included"
    )
    console.print(
        f"  whole run    {loaded.run_seconds:.1f} s, {loaded.rows_per_second:,.0f} rows/s, "
        "from the workflow's start to the receipt"
    )
    console.print(f"  peak memory  of each worker {peaks}{pipeline}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
