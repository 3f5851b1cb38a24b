"""``python -m benchmarks.engines [--rows N ...] [--write]``: tasks of the Cloud Run Job against Beam.

Without ``--rows`` that is 100 thousand, 1, 5 and 10 million, one after the other; on a quiet machine with two
processors it should take less than ten minutes. What goes on is said on standard error.

The same table of a PostgreSQL server, the same two readers, the real entry points as processes over a Cloud
Storage server on this machine. Start-up of the processes is in the figures. Peak memory is that of the
largest process. ``--write`` puts what was measured into docs/engines.json, beside what other calls put there,
and the table of all of it into docs/engines.md; so a long table can be made in pieces.

``--units N`` measures instead what a unit costs by itself (``benchmarks.units``); with ``--run`` it loads
them through the workflow on the local topology (``benchmarks.units_run``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import units, units_run
from benchmarks.measure import PEAK_UNIT, launched
from benchmarks.server import made, server, table_of
from benchmarks.task import PASSWORD, make_plan, resolve
from etl_runner.execution.collect import collect_verified
from etl_runner.gcp.deployment import Deployment
from etl_runner.planning.plan import Plan
from etl_runner.planning.write_plan import plan_name
from etl_runner.settings import Settings
from etl_runner.state.document import Slot, State
from local.cloud_storage import CloudStorageServer

ROOT = Path(__file__).resolve().parent.parent
READERS = 2
SIZES = (100_000, 1_000_000, 5_000_000, 10_000_000)
_BEGIN, _END = "<!-- begin of {}: written by benchmarks.engines -->", "<!-- end of {} -->"


@dataclass(frozen=True)
class Size:
    """One line of the table; medians of ``rounds`` rounds."""

    rows: int
    units: int
    rounds: int
    tasks_seconds: float
    tasks_peak_mb: float
    beam_seconds: float
    beam_peak_mb: float
    on: str = ""
    """Day, as YYYY-MM-DD."""


def tasks(settings: Settings, uri: str) -> list[list[str]]:
    """The job's entry point, one task for each reader."""
    del settings, uri
    return [[sys.executable, str(ROOT / "runner_image" / "job.py")]] * READERS


def pipeline(settings: Settings, uri: str) -> list[list[str]]:
    """The pipeline's entry point, one worker process for each reader."""
    return [
        [
            sys.executable,
            str(ROOT / "runner_image" / "pipeline.py"),
            "--runner=FnApiRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={READERS}",
            f"--plan_uri={uri}",
            f"--settings={json.dumps(settings.to_env())}",
        ]
    ]


Engine = Callable[[Settings, str], list[list[str]]]


def extract(engine: Engine, plan: Plan, storage: CloudStorageServer, bucket: str) -> tuple[float, float]:
    """Seconds from the start of the first process to the end of the last, and megabytes of the largest
    process; the rows are verified.

    Raises:
        SystemExit: a process failed.
    """
    storage.create_buckets([bucket])
    names = ("PROJECT", "LOCATION", "DATASET", "CONFIG_BUCKET", "STATE_BUCKET", "STAGING_BUCKET")
    env = {**{f"ETL_{name}": bucket for name in names}, "STORAGE_EMULATOR_HOST": storage.endpoint}
    settings = Settings.from_env(env)
    deployment = Deployment(settings)
    header = plan.header
    name = plan_name(header.run_id, header.epoch)
    deployment.staging.create(name, plan.to_jsonl())
    slot = Slot(header.run_id, header.epoch, "2999-01-01T00:00:00+00:00")
    deployment.store(header.source_id).change(lambda _: State(epoch=header.epoch, slot=slot))
    uri = deployment.staging.uri(name)
    base = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "MALLOC_ARENA_MAX": "2",
        PASSWORD: os.environ[PASSWORD],
        **env,
        "ETL_PLAN_URI": uri,
    }
    commands = engine(settings, uri)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        reports = [Path(folder) / f"{index}.json" for index in range(len(commands))]
        running = [
            subprocess.Popen(
                launched(command, report),
                env={**base, "CLOUD_RUN_TASK_INDEX": str(index), "CLOUD_RUN_TASK_COUNT": str(len(commands))},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for index, (command, report) in enumerate(zip(commands, reports, strict=True))
        ]
        for process in running:
            process.wait()
        seconds = time.monotonic() - began
        # Each with what it waited for itself: the pipeline's workers are in the pipeline's account.
        ended = [json.loads(report.read_bytes()) for report in reports]
    if any(one["status"] for one in ended):
        raise SystemExit(f"{engine.__name__}: exit codes {[one['status'] for one in ended]}")
    collect_verified(deployment.staging, plan)
    return seconds, max(one["peak"] for one in ended) * PEAK_UNIT / (1 << 20)


def measure(
    rows: int, url: str, storage: CloudStorageServer, data: Path, rounds: int, say: Callable[[str], None]
) -> Size:
    """One line: both engines in each round, one after the other. ``data`` is the folder of the buckets."""
    plan = make_plan(resolve(url, table_of(rows)), 1)
    found: dict[str, list[tuple[float, float]]] = {"tasks": [], "pipeline": []}
    for number in range(rounds):
        for engine in (tasks, pipeline):
            bucket = f"{engine.__name__}-{rows}-{number}"
            say(f"{rows:,} rows, round {number + 1} of {rounds}: {engine.__name__} ...")
            found[engine.__name__].append(extract(engine, plan, storage, bucket))
            shutil.rmtree(data / bucket, ignore_errors=True)
    seconds = {name: statistics.median(one for one, _ in runs) for name, runs in found.items()}
    peaks = {name: max(peak for _, peak in runs) for name, runs in found.items()}
    return Size(
        rows,
        len(plan.units),
        rounds,
        seconds["tasks"],
        peaks["tasks"],
        seconds["pipeline"],
        peaks["pipeline"],
        dt.date.today().isoformat(),
    )


HEAD = (
    "| rows | units | rounds | Cloud Run Job tasks, s | rows/s | peak MB "
    "| Beam, s | rows/s | peak MB | on |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(size: Size) -> str:
    """A size as a line of the table."""
    return (
        f"| {size.rows:,} | {size.units} | {size.rounds} "
        f"| {size.tasks_seconds:.1f} | {size.rows / size.tasks_seconds:,.0f} | {size.tasks_peak_mb:.0f} "
        f"| {size.beam_seconds:.1f} | {size.rows / size.beam_seconds:,.0f} | {size.beam_peak_mb:.0f} "
        f"| {size.on} |"
    )


def merged(known: dict[str, Any], size: Size) -> dict[str, Any]:
    """What was measured before with this size in it, in place of an older one of as many rows."""
    sizes = {int(rows): value for rows, value in {**known, str(size.rows): asdict(size)}.items()}
    return {str(rows): sizes[rows] for rows in sorted(sizes)}


def put(text: str, name: str, content: str) -> str:
    """A document with ``content`` between the marks of ``name``.

    Raises:
        SystemExit: the marks are not there.
    """
    begin, end = _BEGIN.format(name), _END.format(name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"the document lacks the marks {begin} and {end}")
    return f"{before}{begin}\n{content}\n{end}{after}"


class Report:
    """docs/engines.json and the tables of docs/engines.md."""

    def __init__(self, docs: Path) -> None:
        self._json = docs / "engines.json"
        self._page = docs / "engines.md"

    def add(self, size: Size) -> None:
        """Keep a size and write the table of all."""
        known = self._read()
        known["sizes"] = merged(known.get("sizes", {}), size)
        lines = [line(Size(**value)) for value in known["sizes"].values()]
        self._write(known, "crossover", "\n".join([HEAD, *lines]))

    def add_units(self, found: Sequence[units.Overhead]) -> None:
        """Keep what a unit costs."""
        known = self._read()
        known["units"] = [asdict(one) for one in found]
        self._write(known, "units", units.table(found))

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._json.read_text())) if self._json.exists() else {}

    def _write(self, known: dict[str, Any], name: str, content: str) -> None:
        page = put(self._page.read_text(), name, content)
        self._json.write_text(json.dumps(known, indent=1) + "\n")
        self._page.write_text(page)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line a size; 1 when a unit costs more of our own than it should."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="sizes of the table")
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many")
    parser.add_argument("--units", type=int, help="measure the overhead of so many small units instead")
    parser.add_argument(
        "--run",
        choices=("cloud_run", "dataflow"),
        help="load them through the workflow, with this engine",
    )
    parser.add_argument("--write", action="store_true", help="put the figures into docs/")
    options = parser.parse_args(argv)
    report = Report(ROOT / "docs") if options.write else None
    folder = Path(tempfile.mkdtemp(prefix="bench-engines-"))
    folder.chmod(0o755)
    try:
        if options.units and options.run:
            units_run.run(folder, options.units, options.run, print)
        elif options.units:
            return _units(folder, options.units, report)
        else:
            _sizes(folder, sorted(options.rows), options.rounds, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _sizes(folder: Path, sizes: Sequence[int], rounds: int, report: Report | None) -> None:
    began = time.monotonic()

    def say(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {what}\n")
        sys.stderr.flush()

    print(HEAD, flush=True)
    say("starting the servers ...")
    with server(folder, ()) as postgres:
        data = folder / "gcs"
        storage = CloudStorageServer.start(data, project="bench")
        try:
            for rows in sizes:
                say(f"{rows:,} rows: making the table ...")
                with made(postgres, rows):
                    size = measure(rows, postgres.url, storage, data, rounds, say)
                print(line(size), flush=True)
                if report is not None:
                    report.add(size)
        finally:
            storage.stop()
    say("done")


def _units(folder: Path, wanted: int, report: Report | None) -> int:
    found = units.measure(folder, wanted, print)
    print(units.table(found))
    if report is not None:
        report.add_units(found)
    most = max(one.own_milliseconds for one in found)
    verdict = "less" if most < units.TARGET_MILLISECONDS else "NOT less"
    print(f"our own overhead is {verdict} than {units.TARGET_MILLISECONDS:g} ms a unit: {most:.2f} ms")
    return 0 if most < units.TARGET_MILLISECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
