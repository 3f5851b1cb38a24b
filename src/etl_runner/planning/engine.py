"""Which engine extracts, with how many tasks, and for how long it may.

Limits: https://cloud.google.com/run/quotas (tasks), DESIGN on planning (slots and units).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from etl_runner.errors import PermanentError
from etl_runner.planning.plan import Engine, Workers
from etl_runner.planning.workers import UNITS_A_SLOT, Fleet, size_workers

# A reader that is slower than this is stuck, not slow: 1/25 of what one was measured to do.
_SLOW_ROWS_A_SECOND = 20_000
_LEAST_TIME = timedelta(minutes=15)
_MOST_TIME = timedelta(hours=24)
# Machines have to be started, and to fetch the image, before they read anything.
_DATAFLOW_START = timedelta(minutes=15)


@dataclass(frozen=True)
class Choice:
    """An engine, why, and its size."""

    engine: Engine
    reason: str
    tasks: int
    slots: int
    workers: Workers | None = None


@dataclass(frozen=True)
class Sizing:
    """What the choice depends on. ``rows`` is an estimate; ``connections`` what the source allows;
    ``snapshot`` whether all units should be read in one, which only one task can; ``fleet`` what Dataflow
    may use, or the sentence that says what it lacks (called only when Dataflow is wanted)."""

    units: int
    rows: int | None
    snapshot: bool
    wanted: str
    threshold: int
    max_tasks: int
    slots: int
    connections: int | None
    fleet: Callable[[], Fleet | str]


def choose_direct(wanted: str, obstacle: str | None, reason: str | None) -> Choice | None:
    """BigQuery alone, where it can and nobody wants it otherwise; None: somebody has to extract.

    Args:
        wanted: the document's engine.
        obstacle: why BigQuery cannot do it alone, as the end of a sentence.
        reason: how it does it, for the plan; None: it cannot.

    Raises:
        PermanentError: the document asks for it, and it cannot.
    """
    if reason is not None:
        return Choice("bigquery", reason, 0, 0)
    if wanted == "bigquery" and obstacle is not None:
        raise PermanentError(f"engine: bigquery is not possible: {obstacle}")
    return None


def choose_engine(sizing: Sizing) -> Choice:
    """Fewer rows than the threshold go to a Cloud Run Job, more to Dataflow where that is deployed.

    Raises:
        PermanentError: the document asks for Dataflow, and something that it needs is missing.
    """
    if sizing.units == 0:
        return Choice("none", "nothing to extract", 0, 0)
    rows = "an unknown number of rows" if sizing.rows is None else f"about {sizing.rows:,} rows"
    if sizing.wanted == "cloud_run":
        return _cloud_run(sizing, f"the source document says so ({rows})")
    if sizing.wanted == "dataflow":
        return _dataflow(sizing, f"the source document says so ({rows})")
    if sizing.rows is None or sizing.rows < sizing.threshold:
        return _cloud_run(sizing, f"{rows}, below the threshold {sizing.threshold:,}")
    why = f"{rows}, not fewer than the threshold {sizing.threshold:,}"
    if sizing.snapshot:
        return _cloud_run(sizing, f"{why}; but they are read in one snapshot, which one task of the job does")
    return _dataflow(sizing, why)


def _dataflow(sizing: Sizing, why: str) -> Choice:
    fleet = sizing.fleet()
    if isinstance(fleet, str):
        if sizing.wanted == "dataflow":
            raise PermanentError(f"engine: dataflow is not possible: {fleet}")
        return _cloud_run(sizing, f"{why}; but {fleet}, so the Cloud Run Job takes them")
    workers, size = size_workers(sizing.units, fleet, sizing.connections)
    return Choice("dataflow", f"{why}; {size}", workers.count * workers.processes, workers.threads, workers)


def _cloud_run(sizing: Sizing, why: str) -> Choice:
    slots = min(sizing.slots, sizing.connections or sizing.slots, sizing.units)
    tasks = 1 if sizing.snapshot else math.ceil(sizing.units / (slots * UNITS_A_SLOT))
    if sizing.connections is not None:
        tasks = min(tasks, sizing.connections // slots)
    return Choice("cloud_run", why, max(1, min(tasks, sizing.max_tasks)), slots)


def time_limit(rows: int | None, tasks: int, engine: Engine = "cloud_run") -> timedelta:
    """How long the extraction of about ``rows`` rows may take before it counts as stuck."""
    seconds = (rows or 0) / (_SLOW_ROWS_A_SECOND * max(1, tasks))
    start = _DATAFLOW_START if engine == "dataflow" else timedelta()
    return min(_LEAST_TIME + start + timedelta(seconds=math.ceil(seconds)), _MOST_TIME)
