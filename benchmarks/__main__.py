"""Measure loading against the limit and against other tools: ``python -m benchmarks [suite ...] [options]``.

Suites: postgres, mariadb, files, memory, profile (all of them when none is named). Every run is a process
of its own; rounds are interleaved, so that what else the machine does hits all ways alike, and medians are
shown. Absolute figures are the machine's; the ratios are what counts. Client and server share the machine.
With --write the figures of the suites that are run take the place of their last ones, and all others stay.

Example: ``python -m benchmarks postgres --rows 2000000 --rounds 3``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import databases, files, profile
from benchmarks.contender import Contender
from benchmarks.file_data import file_of
from benchmarks.kept import Part, Peak, keep, load, today
from benchmarks.measure import ROOT, interleaved, run_once
from benchmarks.profile import Profile
from benchmarks.report import Suite, table
from benchmarks.server import mariadb, server

FLAT = 0.20
"""How far peak memory may differ between the two sizes and still count as flat."""
SUITES = ("postgres", "mariadb", "files", "memory", "profile")


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
    found = []
    for kind, title in files.TITLES.items():
        rows = round(arguments.file_rows * files.SHARES.get(kind, 1))
        _say(f"{kind} of {rows:,} rows")
        file = file_of(arguments.folder, rows, kind)
        contenders = files.of_format(kind, file, rows, with_peers=arguments.peers)
        found.append(_measured(title, contenders, arguments))
    return found


def _measured(title: str, contenders: list[Contender], arguments: argparse.Namespace) -> Suite:
    figures = interleaved(contenders, arguments.rounds, arguments.folder / "scratch", _say)
    return Suite(title, max(each.rows for each in contenders), arguments.rounds, tuple(figures))


def _memory(arguments: argparse.Namespace) -> list[Peak]:
    peaks = []
    with server(arguments.folder, arguments.memory_rows) as running:
        for rows in arguments.memory_rows:
            _say(f"memory of a task at {rows:,} rows")
            found = databases.of_postgres(running.url, rows, with_peers=False)
            task = next(c for c in found if c.kind == "ours" and c.readers == 2)
            peaks.append(Peak(rows, run_once(task, arguments.folder / "scratch").peak_mb))
    return peaks


def _profile(arguments: argparse.Namespace) -> list[Profile]:
    rows, scratch = arguments.rows, arguments.folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    found = []
    with server(arguments.folder, [rows]) as running:
        _say(f"profile of PostgreSQL, {rows:,} rows")
        with running.connect() as connection:
            data = Path(connection.run("SHOW data_directory")[0][0])
        pid = int((data / "postmaster.pid").read_text().split()[0])
        used = partial(profile.processor_seconds, pid)
        found.append(profile.measure("PostgreSQL", running.url, rows, scratch, used))
    with mariadb(arguments.folder, [rows]) as url:
        _say(f"profile of MariaDB, {rows:,} rows")
        found.append(profile.measure("MariaDB", url, rows, scratch, None))
    for kind, title in {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}.items():
        _say(f"profile of {title}, {rows:,} rows")
        found.append(profile.measure(title, str(file_of(arguments.folder, rows, kind)), rows, scratch, None))
    return found


MEASURES: dict[str, Callable[[argparse.Namespace], list[Suite]]] = {
    "postgres": _postgres,
    "mariadb": _mariadb,
    "files": _files,
}


def _change(peaks: Sequence[Peak]) -> float:
    """How much memory grows from the smallest to the largest size."""
    return peaks[-1].peak_mb / peaks[0].peak_mb - 1 if peaks else 0.0


def _show_peaks(peaks: Sequence[Peak]) -> str:
    change = _change(peaks)
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
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of tables, and of profiles (1000000)"
    )
    parser.add_argument(
        "--file-rows",
        type=int,
        default=5_000_000,
        help="rows of files (5000000), of JSON Lines three fifths of it: what a start costs shows in few",
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave the other tools out")
    parser.add_argument(
        "--memory-rows", type=int, nargs="+", default=[1_000_000, 5_000_000], help="sizes for memory"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument(
        "--write", type=Path, help="keep the figures in this folder, with a page and a picture"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".local" / "benchmarks", help="servers' data")
    arguments = parser.parse_args()
    wanted = arguments.suites or list(SUITES)
    if unknown := sorted(set(wanted) - set(SUITES)):
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    parts = {name: _part(name, arguments) for name in SUITES if name in wanted}
    if arguments.json:
        print(json.dumps({name: part.to_json() for name, part in parts.items()}, indent=2))
    if arguments.write:
        keep(arguments.write, parts, SUITES)
    peaks = parts["memory"].peaks if "memory" in parts else ()
    return 0 if abs(_change(peaks)) <= FLAT else 1


def _part(name: str, arguments: argparse.Namespace) -> Part:
    """Run one suite, and say what it found unless all is to be said as JSON."""
    size = f"--rows {arguments.rows}"
    if name == "files":
        size = f"--file-rows {arguments.file_rows}"
    elif name == "memory":
        size = f"--memory-rows {' '.join(map(str, arguments.memory_rows))}"
    rounds = f" --rounds {arguments.rounds}" if name in MEASURES else ""
    peers = "" if arguments.peers or name not in MEASURES else " --no-peers"
    empty = Part(f"python -m benchmarks {name} {size}{rounds}{peers}", today(), load())
    if name in MEASURES:
        part = replace(empty, suites=tuple(MEASURES[name](arguments)))
        said = "\n\n".join(table(suite) for suite in part.suites)
    elif name == "memory":
        part = replace(empty, peaks=tuple(_memory(arguments)))
        said = _show_peaks(part.peaks)
    else:
        part = replace(empty, profiles=tuple(_profile(arguments)))
        said = "\n".join(profile.markdown(part.profiles))
    if not arguments.json:
        print(said, end="\n\n", flush=True)
    return part


if __name__ == "__main__":
    sys.exit(main())
