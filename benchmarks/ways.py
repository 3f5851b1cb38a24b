"""One way to read a table, run once in a process of its own: ``python -m benchmarks.ways <way> ...``.

Prints a JSON object: rows, seconds (without the start of Python), bytes written, peak memory in MB. The
peak is that of the process and its children, imports included, as a container's limit counts it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.server import COLUMNS, psql, table_of

SHARE = 10
"""The way of one row after the other reads this part of the table: its rate does not depend on it."""


def limit(url: str, rows: int, readers: int, folder: Path) -> tuple[int, int]:
    """COPY in binary to nowhere: what the server can send and a client can receive."""
    del folder
    step = -(-rows // readers)
    running = []
    for start in range(0, rows, step):
        where = f"id > {start} AND id <= {min(start + step, rows)}"
        copy = f"COPY (SELECT {COLUMNS} FROM {table_of(rows)} WHERE {where}) TO STDOUT (FORMAT binary)"
        running.append(subprocess.Popen([psql(), url, "-qc", copy], stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError("psql failed")
    return rows, 0


def ours(url: str, rows: int, readers: int, folder: Path) -> tuple[int, int]:
    """A runner task: planned units, converted, written as shards."""
    # The image has no pandas; where it is installed, pyarrow would load it at the first chance.
    sys.meta_path.insert(0, _Without("pandas"))
    import pyarrow as pa

    from benchmarks.task import FolderStore, make_plan, open_source, resolve
    from etl_runner.execution.task import run_task

    pa.set_memory_pool(pa.system_memory_pool())
    store = FolderStore(folder)
    resolved = resolve(url, rows)
    store.create("plan.jsonl", make_plan(resolved, readers).to_jsonl())
    summary = run_task(store, "plan.jsonl", 0, 1, lambda _: open_source(resolved), slots=readers)
    return summary.rows, summary.bytes


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


def per_row(url: str, rows: int, readers: int, folder: Path) -> tuple[int, int]:
    """fetchmany, a dict for each row, made serialisable, a line of JSON."""
    del readers
    from adbc_driver_postgresql import dbapi

    count = 0
    path = folder / "rows.jsonl"
    with dbapi.connect(url) as connection, connection.cursor() as cursor, path.open("w") as file:
        cursor.execute(f"SELECT {COLUMNS} FROM {table_of(rows)} WHERE id <= {rows // SHARE}")
        names = [column[0] for column in cursor.description]
        while batch := cursor.fetchmany(10_000):
            for values in batch:
                row = {name: _plain(value) for name, value in zip(names, values, strict=True)}
                file.write(json.dumps(row) + "\n")
                count += 1
    return count, path.stat().st_size


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


WAYS: dict[str, Callable[[str, int, int, Path], tuple[int, int]]] = {
    "limit": limit,
    "ours": ours,
    "per_row": per_row,
}


def main() -> None:
    """Run the way that the arguments name: way, rows, readers, folder; the URL is in ``BENCHMARK_URL``."""
    way, rows, readers, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        started = time.perf_counter()
        count, size = WAYS[way](os.environ["BENCHMARK_URL"], rows, readers, Path(scratch))
        seconds = time.perf_counter() - started
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The limit's work is done by its children, and Python only waits: its own memory is not part of it.
    peak = children.ru_maxrss * readers if way == "limit" else own.ru_maxrss
    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak_mb = peak * unit / (1 << 20)
    json.dump({"rows": count, "seconds": seconds, "bytes": size, "peak_mb": peak_mb}, sys.stdout)


if __name__ == "__main__":
    main()
