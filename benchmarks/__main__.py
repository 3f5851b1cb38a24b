"""Measure loading against the limit and against other tools: ``python -m benchmarks [suite ...] [options]``.

Suites: postgres, mariadb, files, memory (all of them when none is named). Every run is a process of its own;
rounds are interleaved, so that what else the machine does hits all ways alike, and medians are shown.
Absolute figures are the machine's; the ratios are what counts. Client and server share the machine.

Example: ``python -m benchmarks postgres --rows 2000000 --rounds 3``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import databases, files
from benchmarks.contender import Contender
from benchmarks.file_data import folder_of
from benchmarks.measure import ROOT, interleaved, run_once
from benchmarks.report import Suite, chart, markdown, table
from benchmarks.server import mariadb, server

FLAT = 0.20
"""How far peak memory may differ between the two sizes and still count as flat."""
SUITES = ("postgres", "mariadb", "files", "memory")


@dataclass(frozen=True)
class Peak:
    """The peak memory of one runner task with two readers."""

    rows: int
    peak_mb: float


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _postgres(arguments: argparse.Namespace) -> list[Suite]:
    rows = arguments.rows
    with server(arguments.folder, databases.sizes(rows)) as running:
        contenders = databases.of_postgres(running.url, rows, with_peers=arguments.peers)
        return [_measured("PostgreSQL to Parquet", contenders, arguments)]


def _mariadb(arguments: argparse.Namespace) -> list[Suite]:
    rows = arguments.rows
    with mariadb(arguments.folder, databases.sizes(rows)) as url:
        contenders = databases.of_mariadb(url, rows, with_peers=arguments.peers)
        return [_measured("MariaDB to Parquet", contenders, arguments)]


def _files(arguments: argparse.Namespace) -> list[Suite]:
    rows = arguments.rows
    _say(f"files of {rows:,} rows")
    folder = folder_of(arguments.folder, rows)
    found = []
    for kind, title in files.TITLES.items():
        contenders = files.of_format(kind, folder / f"orders.{kind}", rows, with_peers=arguments.peers)
        found.append(_measured(title, contenders, arguments))
    return found


def _measured(title: str, contenders: list[Contender], arguments: argparse.Namespace) -> Suite:
    figures = interleaved(contenders, arguments.rounds, arguments.folder / "scratch", _say)
    return Suite(title, arguments.rows, arguments.rounds, tuple(figures))


def _memory(arguments: argparse.Namespace) -> list[Peak]:
    peaks = []
    with server(arguments.folder, arguments.memory_rows) as running:
        for rows in arguments.memory_rows:
            _say(f"memory of a task at {rows:,} rows")
            found = databases.of_postgres(running.url, rows, with_peers=False)
            task = next(c for c in found if c.kind == "ours" and c.readers == 2)
            peaks.append(Peak(rows, run_once(task, arguments.folder / "scratch").peak_mb))
    return peaks


MEASURES: dict[str, Callable[[argparse.Namespace], list[Suite]]] = {
    "postgres": _postgres,
    "mariadb": _mariadb,
    "files": _files,
}


def _show_peaks(peaks: list[Peak], change: float) -> str:
    lines = ["Peak memory of one runner task, 2 readers"]
    lines += [f"{peak.rows:>12,} rows {peak.peak_mb:8.0f} MB" for peak in peaks]
    lines.append(f"{change:+.0%}: {'flat' if abs(change) <= FLAT else 'NOT FLAT'} (within {FLAT:.0%})")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; 1 when memory grows with the number of rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "suites", nargs="*", metavar="suite", help=f"{', '.join(SUITES)}; all when none is named"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the tables and files (1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave the other tools out")
    parser.add_argument("--memory-rows", type=int, nargs=2, default=[1_000_000, 5_000_000], help="two sizes")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--write", type=Path, help="write benchmarks.md and benchmarks.svg into this folder")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local" / "benchmarks", help="servers' data")
    arguments = parser.parse_args()
    wanted = arguments.suites or list(SUITES)
    if unknown := sorted(set(wanted) - set(SUITES)):
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    suites: list[Suite] = []
    for name in wanted:
        if name in MEASURES:
            found = MEASURES[name](arguments)
            suites += found
            if not arguments.json:
                print("\n\n".join(table(suite) for suite in found), end="\n\n", flush=True)
    peaks = _memory(arguments) if "memory" in wanted else []
    change = peaks[-1].peak_mb / peaks[0].peak_mb - 1 if peaks else 0.0
    if arguments.json:
        everything = {"suites": [suite.to_json() for suite in suites], "memory": [asdict(p) for p in peaks]}
        print(json.dumps(everything, indent=2))
    elif peaks:
        print(_show_peaks(peaks, change))
    if arguments.write:
        command = (
            f"python -m benchmarks {' '.join(wanted)} --rows {arguments.rows} --rounds {arguments.rounds}"
        )
        arguments.write.mkdir(parents=True, exist_ok=True)
        (arguments.write / "benchmarks.md").write_text(markdown(suites, command))
        (arguments.write / "benchmarks.svg").write_text(chart(suites))
    return 0 if abs(change) <= FLAT else 1


if __name__ == "__main__":
    sys.exit(main())
