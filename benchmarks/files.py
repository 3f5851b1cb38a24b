"""Who competes over files."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import peers
from benchmarks.contender import Contender, parquet_rows

TITLES = {
    "csv": "CSV to Parquet",
    "jsonl": "nested JSON Lines to Parquet",
    "parquet": "Parquet, 6 columns, casts",
}
SHARES = {"jsonl": 0.6}
"""Of the rows that are asked for, where they take long."""
_PEER = Path(__file__).with_name("peer_files.py")


def of_format(kind: str, file: Path, rows: int, *, with_peers: bool) -> list[Contender]:
    """One file format: reading the bytes, runner tasks, the libraries that others build on."""
    found = [
        Contender("limit: reading the bytes", "limit", lambda _: _read(file), rows),
        _task(file, rows, 1),
        _task(file, rows, 2),
    ]
    if with_peers:
        peers.python()
        found += [
            _peer("pyarrow 25, types given", "arrow", kind, file, rows),
            _peer("DuckDB 1.5, 2 threads", "duckdb", kind, file, rows),
            _peer("polars 2.1", "polars", kind, file, rows),
        ]
    return found


def _read(file: Path) -> list[str]:
    return ["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"]


def _task(file: Path, rows: int, readers: int) -> Contender:
    fixed = [sys.executable, "-m", "benchmarks.file_task", str(file), str(rows), str(readers)]
    label = f"runner task to Parquet shards, {readers} reader{'s' if readers > 1 else ''}"
    return Contender(label, "ours", lambda folder: [*fixed, str(folder)], rows, readers, count=parquet_rows)


def _peer(label: str, way: str, kind: str, file: Path, rows: int) -> Contender:
    def command(folder: Path) -> list[str]:
        return [peers.python(), str(_PEER), way, kind, str(file), str(folder)]

    # All of them use every processor.
    return Contender(label, "peer", command, rows, readers=2, count=parquet_rows)
