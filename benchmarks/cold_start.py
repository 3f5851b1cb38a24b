"""Cold starts of the functions: ``python -m benchmarks.cold_start [--rounds N] [--profile NAME]``.

Every measurement is a process of its own, rounds are interleaved, medians are shown. A first round that
does not count compiles the byte code, which the buildpack of Cloud Functions does beforehand. Two things a
function, from the interpreter's first line on, each in seconds of the clock and of the processor (user and
system), which other work on the machine does not lengthen:

- ``import``: its ``main.py`` with everything that is imported at module level, the framework included;
- ``first request``: the same, and Google's storage client on top, which every request needs.

``framework`` is what the functions have in common and nothing of ours: Flask and functions-framework.
``external`` is ``file_arrival`` under another account, so it has no row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import environment

ROOT = Path(__file__).resolve().parent.parent
TARGET_SECONDS = 1.0
FRAMEWORK = "framework"
HEAVY = ("apache_beam", "pandas", "numpy", "pyarrow", "adbc_driver_postgresql", "pg8000", "pymysql")
_SCRIPT = """
import json, sys, time
began, spent = time.perf_counter(), time.process_time()
{what}
imported, imported_cpu = time.perf_counter() - began, time.process_time() - spent
modules = len(sys.modules)
heavy = [name for name in {heavy!r} if name in sys.modules]
import etl_runner.gcp.objects, google.cloud.storage
first, first_cpu = time.perf_counter() - began, time.process_time() - spent
print(json.dumps({{
    "import_seconds": imported, "import_cpu_seconds": imported_cpu,
    "first_request_seconds": first, "first_request_cpu_seconds": first_cpu,
    "modules": modules, "heavy": heavy,
}}))
"""
_FIGURES = ("import_seconds", "import_cpu_seconds", "first_request_seconds", "first_request_cpu_seconds")


@dataclass(frozen=True)
class ColdStart:
    """A function's medians, seconds."""

    function: str
    import_seconds: float
    import_cpu_seconds: float
    first_request_seconds: float
    first_request_cpu_seconds: float
    modules: int
    heavy: tuple[str, ...]
    """Heavy libraries that its import loads; there should be none."""


def function_names(root: Path = ROOT) -> list[str]:
    """The functions of the repository."""
    return sorted(path.parent.name for path in root.glob("functions/*/main.py"))


def measure(rounds: int, names: Sequence[str]) -> list[ColdStart]:
    """Interleaved rounds over the functions; the first round only warms caches."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    heavy: dict[str, tuple[str, ...]] = {}
    for number in range(rounds + 1):
        for name in names:
            what = "import flask, functions_framework" if name == FRAMEWORK else "import main"
            done = json.loads(run_python(name, "-c", _SCRIPT.format(heavy=HEAVY, what=what)).stdout)
            heavy[name] = tuple(done.pop("heavy"))
            if number:
                found[name].append(done)
    return [
        ColdStart(
            name,
            modules=int(found[name][0]["modules"]),
            heavy=heavy[name],
            **{figure: statistics.median(each[figure] for each in found[name]) for figure in _FIGURES},
        )
        for name in names
    ]


def profile(name: str, rows: int = 25) -> str:
    """What a function's import spends its time on: the slowest modules, their own time, milliseconds."""
    told = run_python(name, "-X", "importtime", "-c", "import main").stderr
    parts = [line.removeprefix("import time:").split("|") for line in told.splitlines() if "|" in line]
    times = [(int(own), module.strip()) for own, _, module in parts if own.strip().isdecimal()]
    lines = [f"{own / 1000:8.1f}  {module}" for own, module in sorted(times, reverse=True)[:rows]]
    return "\n".join(lines)


def table(found: Sequence[ColdStart]) -> str:
    """For people."""
    lines = ["function        import s      CPU  first request s      CPU  modules"]
    for each in found:
        line = f"{each.function:<15} {each.import_seconds:>8.2f} {each.import_cpu_seconds:>8.2f}"
        line += (
            f" {each.first_request_seconds:>16.2f} {each.first_request_cpu_seconds:>8.2f} {each.modules:>8}"
        )
        lines.append(line + (f"  imports {', '.join(each.heavy)}" if each.heavy else ""))
    return "\n".join(lines)


def run_python(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own in a function's folder, with only the package on its path."""
    environ = {**environment(), "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT / "functions" / ("" if name == FRAMEWORK else name),
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a function imports what it should not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", metavar="NAME", help="show where a function's import spends its time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.profile:
        sys.stdout.write(profile(options.profile) + "\n")
        return 0
    found = measure(options.rounds, [FRAMEWORK, *function_names()])
    if options.json:
        sys.stdout.write(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    else:
        sys.stdout.write(table(found) + f"\ntarget: import under {TARGET_SECONDS:g} s of the processor\n")
    return 1 if any(each.heavy for each in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
