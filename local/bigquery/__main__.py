"""``python -m local.bigquery``: run the stand-in until it is told to end."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from local.bigquery.environment import EnvironmentUnavailable, environment_dir
from local.bigquery.front.facts import Strictness
from local.bigquery.process import ServerDidNotStart
from local.bigquery.stand_in import BigQueryStandIn


def main(arguments: list[str] | None = None) -> int:
    """Run a local BigQuery. Prints one JSON line with its addresses when it is ready."""
    parser = argparse.ArgumentParser(prog="python -m local.bigquery", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the front on loopback; 0: a free one")
    parser.add_argument("--data-dir", type=Path, default=Path(".local/bigquery"))
    parser.add_argument("--project", required=True)
    parser.add_argument("--location", default="EU")
    parser.add_argument("--storage-endpoint", required=True, help="http://127.0.0.1:port of Cloud Storage")
    parser.add_argument("--env-dir", type=Path, default=environment_dir())
    parser.add_argument(
        "--datetime-from-parquet", action="store_true", help="let Parquet timestamps fill DATETIME columns"
    )
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        stand_in = BigQueryStandIn.start(
            options.data_dir,
            options.project,
            options.location,
            options.storage_endpoint,
            options.env_dir,
            port=options.port,
            strictness=Strictness(datetime_from_parquet=options.datetime_from_parquet),
        )
    except (EnvironmentUnavailable, ServerDidNotStart) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        ready = {
            "url": stand_in.url,
            "grpc_address": stand_in.grpc_address,
            "pid": stand_in.process.popen.pid,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        ended.wait()
    finally:
        stand_in.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
