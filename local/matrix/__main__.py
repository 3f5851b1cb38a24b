"""All sources x formats x strategies on the local stack, beside each other in one table.

Usage: python -m local.matrix [--only TEXT] [--tamper]. The exit status is 0 when every cell agrees.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console
from rich.table import Table

from etl_runner.errors import EtlError
from etl_runner.gcp import clients
from local.azure import AzureServer
from local.layout import REPOSITORY
from local.mariadb import MariaDbServer
from local.matrix.cells import STRATEGIES, Cell, Cells, Place, Result
from local.matrix.databases import BigQuery, Database, MariaDb, Postgres
from local.matrix.files import FORMATS
from local.postgres import remove_data
from local.s3 import S3Server
from local.stack import Stack

BUCKET = "matrix-files"
WORKERS = 4
"""Cells at the same time: a cell mostly waits for the stand-ins."""

How = Callable[[Cells, Cell], Result]
Work = tuple[Cell, How]


class _Part(Protocol):
    def stop(self) -> None: ...


Part = TypeVar("Part", bound=_Part)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.matrix", description=__doc__)
    parser.add_argument("--only", default="", help="only cells whose name holds this text, e.g. s3_parquet")
    parser.add_argument(
        "--tamper", action="store_true", help="change one value in the first cell's table: it must not agree"
    )
    options = parser.parse_args(argv)
    # Read when gRPC's library is loaded, by the first server. Its hooks would run in each child that is
    # started as another account, and abort some of them.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="matrix-", dir=folder))
    began = time.monotonic()
    try:
        with ExitStack() as parts:
            results = _all(data, parts, options.only, tamper=options.tamper)
    except EtlError as error:
        console.print(f"The matrix could not be done: {error}", style="bold red", markup=False)
        return 1
    finally:
        remove_data(data / "postgres")
        shutil.rmtree(data, ignore_errors=True)
    _print(console, results)
    sentence, status = verdict(results)
    style = "bold red" if status else "bold green"
    console.print(f"{sentence}, {time.monotonic() - began:.0f} s", style=style, markup=False)
    return status


def verdict(results: Sequence[Result]) -> tuple[str, int]:
    """The last line, and the exit status that goes with it."""
    wrong = [result.cell.name for result in results if not result.agrees]
    if not results:
        return "no cell has that name", 1
    if wrong:
        return f"{len(wrong)} of {len(results)} cells do NOT agree ({', '.join(wrong[:5])})", 1
    return f"all {len(results)} cells agree", 0


def _all(data: Path, parts: ExitStack, only: str, *, tamper: bool) -> list[Result]:
    def started(start: Callable[[], Part]) -> Part:
        part = start()
        parts.callback(part.stop)
        return part

    with ThreadPoolExecutor(4) as pool:
        stack_starts = pool.submit(started, lambda: Stack.start(data, environ=dict(os.environ)))
        s3_starts = pool.submit(started, lambda: S3Server.start(data / "s3.log"))
        azure_starts = pool.submit(started, lambda: AzureServer.start(data / "azure"))
        mariadb_starts = pool.submit(started, lambda: MariaDbServer.start(data / "mariadb.log"))
    stack, mariadb = stack_starts.result(), mariadb_starts.result()
    bigquery = _bigquery(stack)
    found = [
        *_databases(Postgres(stack.postgres, data), MariaDb(mariadb, data), bigquery),
        *_files(stack, s3_starts.result(), azure_starts.result()),
    ]
    work = [(cell, how) for cell, how in found if only in cell.name]
    cells = Cells(stack, work[0][0].name if tamper and work else None)

    def do(item: Work) -> Result:
        began = time.monotonic()
        cell, how = item
        result = how(cells, cell)
        ends = "agrees" if result.agrees else "does NOT agree"
        print(f"{cell.name}: {ends}, {time.monotonic() - began:.1f} s", file=sys.stderr)
        return result

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(do, work))


def _bigquery(stack: Stack) -> BigQuery:
    client = clients.bigquery_client(stack.settings)
    stack.bigquery.create_dataset(BigQuery.dataset)
    return BigQuery(client.query_and_wait, stack.settings.project)


def _databases(postgres: Postgres, mariadb: MariaDb, bigquery: BigQuery) -> list[Work]:
    def of(database: Database) -> How:
        return lambda cells, cell: cells.database(cell, database)

    found: list[Work] = [
        (Cell("postgresql", "table", "transactional", "cloud_run", through=True), of(postgres)),
        (Cell("mysql", "table", "transactional", "dataflow", through=True), of(mariadb)),
    ]
    found += [
        (Cell(database.source_type, "table", strategy), of(database))
        for database in (postgres, mariadb, bigquery)
        for strategy in STRATEGIES
    ]
    # By itself BigQuery reads BigQuery; through the Storage Read API when it is told to.
    found += [(Cell("bigquery", "table", strategy, "cloud_run"), of(bigquery)) for strategy in STRATEGIES]
    found.append((Cell("bigquery", "table", "transactional", "dataflow", through=True), of(bigquery)))
    found += [
        (Cell(database.source_type, "table", "transactional", "dataflow"), of(database))
        for database in (postgres, mariadb, bigquery)
    ]
    return found


def _files(stack: Stack, s3: S3Server, azure: AzureServer) -> list[Work]:
    gcs = clients.storage_client(stack.settings).create_bucket(BUCKET)
    s3.create_bucket(BUCKET)
    azure.create_container(BUCKET)
    places = {
        "gcs": Place(
            {"source_type": "gcs", "bucket": BUCKET, "use_runner_account": True},
            lambda name, data: gcs.blob(name).upload_from_string(data),
        ),
        "s3": Place(s3.document(BUCKET), lambda name, data: s3.put(BUCKET, name, data)),
        "azure": Place(azure.document(BUCKET), lambda name, data: azure.put(BUCKET, name, data)),
    }

    def of(place: Place) -> How:
        return lambda cells, cell: cells.files(cell, place)

    cells = [
        *(
            Cell(source, ending, strategy)
            for source in places
            for ending in FORMATS
            for strategy in STRATEGIES
        ),
        *(
            Cell(source, ending, "transactional", "dataflow")
            for source in places
            for ending in ("csv", "parquet", "json", "jsonl")
        ),
        Cell("s3", "csv", "transactional", "dataflow", through=True),
        *(Cell("gcs", "parquet", strategy, "bigquery") for strategy in STRATEGIES),
    ]
    return [(cell, of(places[cell.source])) for cell in cells]


def _print(console: Console, results: list[Result]) -> None:
    table = Table("source", "format", "strategy", "engine", box=None)
    for title in ("rows in", "rows out", "rejects"):
        table.add_column(title, justify="right")
    table.add_column("checksum equal")
    for result in results:
        cell = result.cell
        ends = "yes" if result.agrees else f"NO: {result.error or 'the ends differ'}"
        table.add_row(
            cell.source,
            cell.format,
            cell.strategy,
            result.engine + (" (workflow)" if cell.through else ""),
            str(result.read),
            str(result.out),
            str(result.rejects),
            ends,
        )
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
