"""What runs cost, by the formulae of docs/cost.md: ``python -m tools.cost`` prints the worked example.

Prices are meant as list prices in US dollars of one region (us-central1). Cloud Run's CPU prices and the
functions' GiB price were seen in stored copies of its price list on 2026-11-26; the others, Dataflow's among
them, were compared with nothing. Look them up at https://cloud.google.com/pricing/list before you rely on
them, and put in your own. Free tiers and discounts are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cost.md"
BEGIN, END = "<!-- worked example -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Prices:
    """List prices; one unit each, seconds, GiB and single operations."""

    job_cpu_second: float = 0.000018
    job_gib_second: float = 0.000002
    function_cpu_second: float = 0.000024
    function_gib_second: float = 0.0000025
    workflow_step: float = 0.01 / 1000
    object_write: float = 0.005 / 1000
    object_read: float = 0.0004 / 1000
    gib_month: float = 0.020
    query_tib: float = 6.25
    schedule_month: float = 0.10
    worker_cpu_hour: float = 0.056
    worker_gib_hour: float = 0.003557


@dataclass(frozen=True)
class Run:
    """One run: what it moves, and with what."""

    rows: int
    row_bytes: int = 120
    """Of a row in the staged Parquet."""
    rows_per_second: int = 250_000
    """Of one task."""
    tasks: int = 1
    unit_rows: int = 50_000
    merge_bytes: int = 0
    """That an upsert's MERGE reads."""
    cpu: float = 4
    gib: float = 8
    start_seconds: float = 20
    """Of a task, before it reads."""
    staging_days: float = 1
    workers: int = 0
    """Dataflow's, of ``cpu`` and four times as many GiB (n2-standard); 0: the Cloud Run Job extracts."""
    worker_start_seconds: float = 180
    """Launcher and workers, before they read."""

    @property
    def units(self) -> int:
        """Work units; none when there is nothing to load."""
        return -(-self.rows // self.unit_rows)


def parts(run: Run, prices: Prices) -> dict[str, float]:
    """Dollars of a run, by what they are paid for."""
    extracting = run.rows > 0
    reading = run.rows / run.rows_per_second
    seconds = (run.start_seconds * run.tasks + reading) if extracting and not run.workers else 0.0
    worker_hours = (run.worker_start_seconds * run.workers + reading) / 3600 if run.workers else 0.0
    polls = 10 if extracting else 0
    function_seconds = 12.0 if extracting else 4.0
    writes = 8 + (2 * run.units + 2 if extracting else 0)
    reads = 20 + 3 * run.units
    gib = run.rows * run.row_bytes / 2**30
    return {
        "job": seconds * (run.cpu * prices.job_cpu_second + run.gib * prices.job_gib_second),
        "Dataflow": worker_hours * run.cpu * (prices.worker_cpu_hour + 4 * prices.worker_gib_hour),
        "functions": function_seconds * (prices.function_cpu_second + 2 * prices.function_gib_second),
        "workflow": (25 + 3 * polls) * prices.workflow_step,
        "objects": writes * prices.object_write + reads * prices.object_read,
        "staging": gib * prices.gib_month * run.staging_days / 30,
        "BigQuery load": 0.0,
        "BigQuery merge": run.merge_bytes / 2**40 * prices.query_tib,
    }


EXAMPLES = {
    "nothing new": Run(0),
    "100,000 rows appended": Run(100_000),
    "10 million rows appended, 4 tasks": Run(10_000_000, tasks=4),
    "100 million rows appended, 10 workers": Run(100_000_000, workers=10),
    "100,000 rows merged into 20 GiB of partitions": Run(100_000, merge_bytes=20 * 2**30),
}


def example(prices: Prices | None = None) -> str:
    """The worked example as a table: dollars for a thousand runs, by part."""
    known = prices or Prices()
    names = list(parts(Run(0), known))
    lines = [
        "US dollars for a thousand runs:",
        "",
        "| run | " + " | ".join(names) + " | in all |",
        "|---|" + "--:|" * (len(names) + 1),
    ]
    for label, run in EXAMPLES.items():
        spent = parts(run, known)
        cells = [f"{1000 * spent[name]:.2f}" for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + f" | {1000 * sum(spent.values()):.2f} |")
    hourly = 24 * 30 * sum(parts(EXAMPLES["100,000 rows appended"], known).values())
    month = hourly + known.schedule_month
    lines += [
        "",
        f"A source that appends 100,000 rows every hour: {month:.2f} dollars a month, its schedule included.",
    ]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with the example of now."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + "\n" + example() + "\n" + END + tail


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the example, or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write it into docs/cost.md")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page(PAGE.read_text()))
        sys.stdout.write(f"written: {PAGE.name}\n")
    else:
        sys.stdout.write(example())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
