"""All sources x formats x strategies on the local stack, beside each other in one table.

Usage: python -m local.matrix [--only TEXT]. The exit status is 0 when every cell agrees.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from etl_runner.errors import EtlError
from etl_runner.gcp import clients
from local.azure import AzureServer
from local.layout import REPOSITORY
from local.mariadb import MariaDbServer
from local.matrix.cells import STRATEGIES, Cell, Cells, Place, Result
from local.matrix.databases import MariaDb, Postgres
from local.matrix.files import FORMATS
from local.postgres import remove_data
from local.s3 import S3Server
from local.stack import Stack

BUCKET = "matrix-files"
WORKERS = 2

Work = tuple[Cell, Callable[[], Result]]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.matrix", description=__doc__)
    parser.add_argument("--only", default="", help="only cells whose name holds this text, e.g. s3_parquet")
    options = parser.parse_args(argv)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when its library is loaded, by the first server
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="matrix-", dir=folder))
    began = time.monotonic()
    try:
        with ExitStack() as parts:
            results = _all(data, parts, options.only)
    except EtlError as error:
        console.print(f"The matrix could not be done: {error}", style="bold red", markup=False)
        return 1
    finally:
        remove_data(data / "postgres")
        shutil.rmtree(data, ignore_errors=True)
    _print(console, results)
    wrong = [result for result in results if not result.agrees]
    seconds = f"{time.monotonic() - began:.0f} s"
    if wrong or not results:
        names = ", ".join(result.cell.name for result in wrong[:5]) or "no cell has that name"
        console.print(
            f"{len(wrong)} of {len(results)} cells do NOT agree ({names}), {seconds}", style="bold red"
        )
        return 1
    console.print(f"all {len(results)} cells agree, {seconds}", style="bold green")
    return 0


def _all(data: Path, parts: ExitStack, only: str) -> list[Result]:
    stack = Stack.start(data, environ=dict(os.environ))
    parts.callback(stack.stop)
    s3 = S3Server.start(data / "s3.log")
    parts.callback(s3.stop)
    azure = AzureServer.start(data / "azure")
    parts.callback(azure.stop)
    mariadb = MariaDbServer.start(data / "mariadb.log")
    parts.callback(mariadb.stop)
    cells = Cells(stack)
    work = [
        item
        for item in [*_databases(cells, stack, mariadb, data), *_files(cells, stack, s3, azure)]
        if only in item[0].name
    ]

    def do(item: Work) -> Result:
        started = time.monotonic()
        result = item[1]()
        verdict = "agrees" if result.agrees else "does NOT agree"
        print(f"{result.cell.name}: {verdict}, {time.monotonic() - started:.1f} s", file=sys.stderr)
        return result

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(do, work))


def _databases(cells: Cells, stack: Stack, mariadb: MariaDbServer, data: Path) -> list[Work]:
    found: list[Work] = []
    for database in (Postgres(stack.postgres, data), MariaDb(mariadb, data)):
        for strategy in STRATEGIES:
            cell = Cell(database.source_type, "table", strategy)
            found.append((cell, lambda cell=cell, database=database: cells.database(cell, database)))  # type: ignore[misc]
    return found


def _files(cells: Cells, stack: Stack, s3: S3Server, azure: AzureServer) -> list[Work]:
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
    found: list[Work] = []
    for source, place in places.items():
        for ending in FORMATS:
            for strategy in STRATEGIES:
                cell = Cell(source, ending, strategy)
                found.append((cell, lambda cell=cell, place=place: cells.files(cell, place)))  # type: ignore[misc]
    return found


def _print(console: Console, results: list[Result]) -> None:
    table = Table("source", "format", "strategy", box=None)
    for title in ("rows in", "rows out", "rejects"):
        table.add_column(title, justify="right")
    table.add_column("checksum equal")
    for result in results:
        cell = result.cell
        verdict = "yes" if result.agrees else f"NO: {result.error or 'the ends differ'}"
        table.add_row(
            cell.source,
            cell.format,
            cell.strategy,
            str(result.read),
            str(result.out),
            str(result.rejects),
            verdict,
        )
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
