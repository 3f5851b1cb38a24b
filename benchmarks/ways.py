"""The ways of this repository, each run in a process of its own: ``python -m benchmarks.ways <way> ...``.

``limit <url> <table> <rows> <readers> <folder>``    what server and client can move at all
``ours <url> <table> <rows> <readers> <folder>``     a runner task: planned units, converted, into shards
``per_row <url> <table> <rows> <readers> <folder>``  fetchmany, a dict for each row, a line of JSON
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit


def limit(url: str, table: str, rows: int, readers: int, folder: Path) -> None:
    """COPY in binary (PostgreSQL), or the client's unbuffered text (MariaDB), to nowhere.

    Raises:
        RuntimeError: the client failed.
    """
    del folder
    # Imported where it is needed: it is not what a runner task has to load.
    from benchmarks.server import COLUMNS

    step = -(-rows // readers)
    running = []
    for start in range(0, rows, step):
        query = f"SELECT {COLUMNS} FROM {table} WHERE id > {start} AND id <= {min(start + step, rows)}"
        running.append(subprocess.Popen(_client(url, query), stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError("the client failed")


def _client(url: str, query: str) -> list[str]:
    if url.startswith("postgresql"):
        from benchmarks.server import psql

        return [psql(), url, "-qc", f"COPY ({query}) TO STDOUT (FORMAT binary)"]
    parts = urlsplit(url)
    where = [f"--host={parts.hostname}", f"--port={parts.port}", f"--user={parts.username}"]
    secret = f"--password={unquote(parts.password or '')}"
    return ["mariadb", "--no-defaults", "--quick", *where, secret, "-e", query, parts.path.lstrip("/")]


def ours(url: str, table: str, rows: int, readers: int, folder: Path) -> None:
    """A runner task.

    Raises:
        RuntimeError: it wrote another number of rows.
    """
    hide_pandas()
    import pyarrow as pa

    from benchmarks.task import FolderStore, make_plan, open_source, resolve
    from etl_runner.execution.task import run_task

    pa.set_memory_pool(pa.system_memory_pool())
    store = FolderStore(folder)
    resolved = resolve(url, table)
    store.create("plan.jsonl", make_plan(resolved, readers).to_jsonl())
    summary = run_task(store, "plan.jsonl", 0, 1, lambda _: open_source(resolved), slots=readers)
    if summary.rows != rows:
        raise RuntimeError(f"{summary.rows} rows of {rows}")


def hide_pandas() -> None:
    """The image has no pandas; where it is installed, pyarrow would load it at the first chance."""
    sys.meta_path.insert(0, _Without("pandas"))


class _Without(MetaPathFinder):
    """Hides a package that is installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse the package, leave all else to others."""
        del path, target
        if fullname.partition(".")[0] == self._package:
            raise ModuleNotFoundError(fullname)
        return None


def per_row(url: str, table: str, rows: int, readers: int, folder: Path) -> None:
    """fetchmany, a dict for each row, made serialisable, a line of JSON."""
    del readers
    from benchmarks.server import COLUMNS

    with _connection(url) as connection, (folder / "rows.jsonl").open("w") as file:
        cursor = connection.cursor()
        cursor.execute(f"SELECT {COLUMNS} FROM {table} WHERE id <= {rows}")
        names = [column[0] for column in cursor.description]
        while batch := cursor.fetchmany(10_000):
            for values in batch:
                row = {name: _plain(value) for name, value in zip(names, values, strict=True)}
                file.write(json.dumps(row) + "\n")
        cursor.close()


def _connection(url: str) -> Any:
    if url.startswith("postgresql"):
        from adbc_driver_postgresql import dbapi

        return dbapi.connect(url)
    import pymysql
    from pymysql.cursors import SSCursor

    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        cursorclass=SSCursor,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


WAYS: dict[str, Callable[[str, str, int, int, Path], None]] = {
    "limit": limit,
    "ours": ours,
    "per_row": per_row,
}


def command(way: str, url: str, table: str, rows: int, readers: int) -> Callable[[Path], list[str]]:
    """The command line of a way, for a contender."""
    fixed = [sys.executable, "-m", "benchmarks.ways", way, url, table, str(rows), str(readers)]
    return lambda folder: [*fixed, str(folder)]


def main() -> None:
    """Run the way that the arguments name."""
    way, url, table, rows, readers, folder = sys.argv[1:7]
    WAYS[way](url, table, int(rows), int(readers), Path(folder))


if __name__ == "__main__":
    main()
