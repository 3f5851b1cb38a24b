"""Where a runner task's processor time goes, step by step: ``python -m benchmarks profile``.

One reader, one task. Each step's time is that of the processor, not of the clock, so that other work on the
machine changes it little. The server's time is what its processes used for the same read.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import environment

STEPS = {
    "start": "start-up: the interpreter and imports",
    "plan": "planning",
    "read": "read and decode",
    "convert": "convert and check",
    "write": "encode, compress and write shards",
    "server": "the server, for the same read",
}


@dataclass(frozen=True)
class Profile:
    """Processor seconds by the keys of :data:`STEPS`, of a task over ``rows`` rows."""

    title: str
    rows: int
    seconds: dict[str, float]


def measure(title: str, source: str, rows: int, scratch: Path, server: Callable[[], float] | None) -> Profile:
    """Profile a task in a process of its own.

    Args:
        title: of the column.
        source: URL of a database, or path of a file.
        rows: of the table or file.
        scratch: an existing folder.
        server: processor seconds that the server has used so far.
    """
    before = server() if server else 0.0
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        command = [sys.executable, "-m", "benchmarks.profile", source, str(rows), folder]
        done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE, cwd=folder)
    seconds = json.loads(done.stdout)
    if server:
        # A process's time is added to its parent's when it has ended.
        time.sleep(1)
        seconds["server"] = server() - before
    return Profile(title, rows, seconds)


def processor_seconds(pid: int) -> float:
    """What a process and its ended children have used. Linux, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[place]) for place in range(11, 15)) / os.sysconf("SC_CLK_TCK")


def markdown(profiles: Sequence[Profile]) -> list[str]:
    """The table: processor seconds for a million rows."""
    head = [
        "| processor seconds a million rows | " + " | ".join(profile.title for profile in profiles) + " |"
    ]
    lines = [*head, "|---|" + "---:|" * len(profiles)]
    for step, words in STEPS.items():
        cells = [_a_million(profile, step) for profile in profiles]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def _a_million(profile: Profile, step: str) -> str:
    if step not in profile.seconds:
        return ""
    if step in ("start", "plan"):
        return f"{profile.seconds[step]:.2f} once"
    return f"{profile.seconds[step] * 1e6 / profile.rows:.2f}"


@contextmanager
def _opened(source: str, rows: int) -> Any:
    """The plan, and a reader of its source."""
    from benchmarks.file_task import OrdersTable, opener
    from benchmarks.file_task import resolve as resolve_file
    from benchmarks.server import table_of
    from benchmarks.task import make_plan, open_source, resolve

    if "://" in source:
        resolved = resolve(source, table_of(rows))
        plan, opened = make_plan(resolved, 1), open_source(resolved)
    else:
        resolved = resolve_file(Path(source))
        open_it = opener(resolved, Path(source))
        plan = make_plan(resolved, 1, open_it, OrdersTable(Path(source).suffix))
        opened = open_it(resolved)
    with opened.session(plan.header, snapshot=False) as session, session.reader() as reader:
        yield plan, reader


def main() -> None:
    """Run the steps over a source and print their seconds as JSON.

    Raises:
        RuntimeError: rows were lost.
    """
    from benchmarks.ways import hide_pandas

    hide_pandas()
    source, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    import pyarrow as pa

    from benchmarks.task import FolderStore
    from etl_runner.convert.cast import Converter
    from etl_runner.execution.shard_writer import ShardWriter

    pa.set_memory_pool(pa.system_memory_pool())
    seconds = dict.fromkeys(("start", "plan", "read", "convert", "write"), 0.0)
    seconds["start"] = time.process_time()
    with _opened(source, rows) as (plan, reader):
        seconds["plan"] = time.process_time() - seconds["start"]
        converter = Converter(
            plan.header.columns,
            unit="u",
            metadata=plan.header.metadata,
            run_id="r",
            loaded_at=dt.datetime.now(dt.UTC),
        )
        written = 0
        work = folder / "work"
        work.mkdir()
        began = time.process_time()
        for unit in plan.units:
            name_of = partial("{}-{}".format, unit.id)
            with ShardWriter(FolderStore(folder), name_of, converter.schema, work) as writer:
                batches = iter(reader.read(unit))
                # The writer has a thread of its own: the rest of the process is its time.
                while True:
                    at = time.thread_time()
                    found = next(batches, None)
                    seconds["read"] += time.thread_time() - at
                    if found is None:
                        break
                    at = time.thread_time()
                    converted = converter.convert(found.batch, found.file)
                    seconds["convert"] += time.thread_time() - at
                    writer.write(converted.batch)
                written += sum(shard.rows for shard in writer.finish())
        seconds["write"] = time.process_time() - began - seconds["read"] - seconds["convert"]
    if written != rows:
        raise RuntimeError(f"{written} rows of {rows}")
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main()
