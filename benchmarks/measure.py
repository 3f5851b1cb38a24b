"""Whole processes, measured from outside: wall time from start to end, and the kernel's account of memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contender import Contender, Kind

ROOT = Path(__file__).resolve().parent.parent
_LAUNCH = Path(__file__).with_name("launch.py")
PEAK_UNIT = 1 if sys.platform == "darwin" else 1 << 10  # getrusage(2): bytes on macOS, kilobytes on Linux
_TAIL = 2_000


class MeasureError(Exception):
    """A contender failed or did not carry all rows; the message says which and how."""


@dataclass(frozen=True)
class Run:
    """One run. ``seconds`` of wall time, start of the process included; ``peak_mb`` of its largest process;
    ``mb_out`` written to its folder."""

    seconds: float
    peak_mb: float
    mb_out: float
    cpu_seconds: float = 0.0
    """Processor seconds, user and system, of the process and the children that it waited for."""


@dataclass(frozen=True)
class Figures:
    """Medians of a contender's runs."""

    label: str
    kind: Kind
    readers: int
    rows_per_second: float
    peak_mb: float
    mb_out: float
    cpu_seconds: float = 0.0
    """Of the processor, for a million rows; the server's are not among them."""


def environment() -> dict[str, str]:
    """What a measured process finds: what the runner's image sets, and byte code that is compiled already, as
    it is wherever a program is installed for use; the first run of each compiles it."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "bytecode"),
        "MALLOC_ARENA_MAX": "2",
        "OPENBLAS_NUM_THREADS": "1",
    }


def launched(command: Sequence[str | Path], report: Path) -> list[str]:
    """The command line that runs ``command`` and writes ``report``, as :mod:`benchmarks.launch` says."""
    return [sys.executable, "-I", "-S", str(_LAUNCH), str(report), *map(str, command)]


def run_once(contender: Contender, scratch: Path) -> Run:
    """Run the contender in a folder of its own below ``scratch``.

    Raises:
        MeasureError: it failed, or its output lacks rows.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as name, tempfile.TemporaryFile() as log:
        folder = Path(name)
        command = contender.command(folder)
        environ = {**environment(), **contender.environ}
        report = scratch / f"{folder.name}.json"
        ended = subprocess.run(
            launched(command, report),
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        usage = json.loads(report.read_bytes()) if report.exists() else {"status": ended.returncode}
        report.unlink(missing_ok=True)
        if ended.returncode or usage["status"]:
            log.seek(0)
            said = log.read().decode(errors="replace")[-_TAIL:]
            raise MeasureError(f"{contender.label}: ended with {usage['status']}:\n{said}")
        if contender.count is not None and (found := contender.count(folder)) != contender.rows:
            raise MeasureError(f"{contender.label}: {found:,} rows arrived of {contender.rows:,}")
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    peak = usage["peak"] * PEAK_UNIT * contender.children / (1 << 20)
    return Run(usage["seconds"], peak, written / 1e6, usage["cpu_seconds"])


def interleaved(
    contenders: Sequence[Contender], rounds: int, scratch: Path, say: Callable[[str], None]
) -> list[Figures]:
    """Every contender once a round, so that what else the machine does hits all alike; medians."""
    scratch.mkdir(parents=True, exist_ok=True)
    runs: dict[str, list[Run]] = {contender.label: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            say(f"round {number + 1} of {rounds}: {contender.label}")
            runs[contender.label].append(run_once(contender, scratch))
    return [_medians(contender, runs[contender.label]) for contender in contenders]


def _medians(contender: Contender, runs: Sequence[Run]) -> Figures:
    return Figures(
        label=contender.label,
        kind=contender.kind,
        readers=contender.readers,
        rows_per_second=contender.rows / statistics.median(run.seconds for run in runs),
        peak_mb=statistics.median(run.peak_mb for run in runs),
        mb_out=statistics.median(run.mb_out for run in runs),
        cpu_seconds=statistics.median(run.cpu_seconds for run in runs) * 1e6 / contender.rows,
    )
