"""As many tiny units as a plan holds, through the workflow to the table (``--units N --run ENGINE``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.server import server, table_of
from benchmarks.task import document_of
from benchmarks.units import ROWS_A_UNIT
from etl_runner.cli.show import seconds_between
from etl_runner.errors import PermanentError
from local import rest
from local.stack import Stack

SECONDS = 900


def run(folder: Path, wanted: int, engine: str, say: Callable[[str], None]) -> None:
    """Load a table of ``wanted`` units of ten rows with one run on the local topology; say what it took.

    Raises:
        SystemExit: the run did not end well, rows are missing, or it took more than one load job.
    """
    rows = wanted * ROWS_A_UNIT
    with server(folder, [rows]) as postgres:
        document = document_of(postgres.url, table_of(rows), unit_rows=ROWS_A_UNIT, engine=engine)
        stack = Stack.start(folder / "stack", environ=dict(os.environ), postgres=postgres)
        try:
            stack.put_source("orders", document)
            ended = stack.run("orders", SECONDS)
            receipt = ended.result if isinstance(ended.result, dict) else {}
            if ended.state != "SUCCEEDED" or receipt.get("rows_loaded") != rows:
                raise SystemExit(f"{engine}: {ended}")
            kinds = [_kind(stack, job) for job in receipt["jobs"]]
        finally:
            stack.stop()
    seconds = seconds_between(receipt["started"], receipt["finished"]) or 0.0
    units = receipt["units"]
    say(
        f"{receipt['engine']}: {units:,} units, {rows:,} rows, jobs of BigQuery: {' and '.join(kinds)} (the "
        f"table has a JSON column, so its rows are loaded into a staging table first), {seconds:.0f} s from "
        f"the workflow's start to the receipt, {1000 * seconds / units:.1f} ms a unit"
    )
    if kinds.count("load") != 1:
        raise SystemExit(f"{engine}: not one load job but {kinds}")


def _kind(stack: Stack, job: str) -> str:
    layout = stack.layout
    url = f"{layout.bigquery_endpoint}/bigquery/v2/projects/{layout.names.project}/jobs/{job}"
    status, answer = rest.call("GET", f"{url}?location={layout.names.bigquery_location}")
    if status != 200:
        raise PermanentError(f"job {job}: {status} {answer}")
    return next(kind for kind in ("load", "query", "copy") if kind in answer["configuration"])
