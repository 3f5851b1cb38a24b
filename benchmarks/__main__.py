"""Measure the extraction from PostgreSQL: ``python -m benchmarks [--rows N] [--rounds N] [--json]``.

Every run is a process of its own; rounds are interleaved, so that what else the machine does hits all ways
alike, and medians are shown. Absolute figures are the machine's; the ratios are what counts. Client and
server share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.server import server

ROOT = Path(__file__).resolve().parent.parent
FLAT = 0.20
"""How far peak memory may differ between the two sizes and still count as flat."""


@dataclass(frozen=True)
class Contender:
    """A way and its number of readers, with what the table calls it."""

    way: str
    readers: int
    label: str


CONTENDERS = (
    Contender("limit", 1, "limit: COPY binary to nowhere, 1 reader"),
    Contender("limit", 2, "limit: COPY binary to nowhere, 2 readers"),
    Contender("ours", 1, "runner task to Parquet shards, 1 reader"),
    Contender("ours", 2, "runner task to Parquet shards, 2 readers"),
    Contender("per_row", 1, "row by row: fetchmany, dict, JSON"),
)


@dataclass(frozen=True)
class Figures:
    """Medians of a contender's rounds; ``of_limit`` against the limit with as many readers."""

    label: str
    rows_per_second: float
    peak_mb: float
    mb_written: float
    of_limit: float


@dataclass(frozen=True)
class Peak:
    """The peak memory of one runner task with two readers."""

    rows: int
    peak_mb: float


def run_once(contender: Contender, url: str, rows: int, folder: Path) -> dict[str, float]:
    """One run in a process of its own."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.ways",
        contender.way,
        str(rows),
        str(contender.readers),
        folder,
    ]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environ = {**os.environ, "BENCHMARK_URL": url, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "2"}
    result = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(result.stdout)
    return found


def throughput(url: str, rows: int, rounds: int, folder: Path) -> list[Figures]:
    """All contenders over the table with ``rows`` rows."""
    runs: dict[Contender, list[dict[str, float]]] = {contender: [] for contender in CONTENDERS}
    for number in range(rounds):
        for contender in CONTENDERS:
            _say(f"round {number + 1} of {rounds}: {contender.label}")
            runs[contender].append(run_once(contender, url, rows, folder))
    rates = {
        contender: statistics.median(run["rows"] / run["seconds"] for run in found)
        for contender, found in runs.items()
    }
    limits = {contender.readers: rate for contender, rate in rates.items() if contender.way == "limit"}
    return [
        Figures(
            label=contender.label,
            rows_per_second=rates[contender],
            peak_mb=statistics.median(run["peak_mb"] for run in found),
            mb_written=statistics.median(run["bytes"] for run in found) / 1e6,
            of_limit=rates[contender] / limits[contender.readers],
        )
        for contender, found in runs.items()
    ]


def memory(url: str, sizes: Sequence[int], folder: Path) -> list[Peak]:
    """Peak memory of a runner task with two readers at each size."""
    task = next(c for c in CONTENDERS if c.way == "ours" and c.readers == 2)
    peaks = []
    for rows in sizes:
        _say(f"memory of a task at {rows:,} rows")
        peaks.append(Peak(rows, run_once(task, url, rows, folder)["peak_mb"]))
    return peaks


def show(figures: Sequence[Figures], peaks: Sequence[Peak], rows: int) -> None:
    """The tables for people."""
    print(f"PostgreSQL, {rows:,} rows of 13 columns")
    print(f"{'':45}{'rows/s':>12}{'peak MB':>9}{'MB out':>8}{'of limit':>10}")
    for line in figures:
        written = f"{line.mb_written:.0f}" if line.mb_written else ""
        print(
            f"{line.label:45}{line.rows_per_second:12,.0f}{line.peak_mb:9.0f}{written:>8}{line.of_limit:10.2f}"
        )
    if peaks:
        print("\nPeak memory of one runner task, 2 readers")
        for peak in peaks:
            print(f"{peak.rows:>12,} rows {peak.peak_mb:8.0f} MB")
        change = peaks[-1].peak_mb / peaks[0].peak_mb - 1
        print(f"{change:+.0%}: {'flat' if abs(change) <= FLAT else 'NOT FLAT'} (within {FLAT:.0%})")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmark; 1 when memory grows with the number of rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the throughput table")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument(
        "--memory-rows", type=int, nargs=2, default=[1_000_000, 5_000_000], help="the two sizes for memory"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local" / "benchmarks", help="server's data")
    arguments = parser.parse_args()
    with server(arguments.folder, [arguments.rows, *arguments.memory_rows]) as postgres:
        url = postgres.url
        figures = throughput(url, arguments.rows, arguments.rounds, arguments.folder)
        peaks = memory(url, arguments.memory_rows, arguments.folder)
    if arguments.json:
        print(
            json.dumps(
                {
                    "rows": arguments.rows,
                    "rounds": arguments.rounds,
                    "figures": [asdict(line) for line in figures],
                    "memory": [asdict(peak) for peak in peaks],
                },
                indent=2,
            )
        )
    else:
        show(figures, peaks, arguments.rows)
    return 0 if abs(peaks[-1].peak_mb / peaks[0].peak_mb - 1) <= FLAT else 1


if __name__ == "__main__":
    sys.exit(main())
