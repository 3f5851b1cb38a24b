"""Which engine extracts, with how many tasks, and for how long it may.

Limits: https://cloud.google.com/run/quotas (tasks), DESIGN on planning (slots and units).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from etl_runner.errors import PermanentError
from etl_runner.planning.plan import Engine

# A reader that is slower than this is stuck, not slow: 1/25 of what one was measured to do.
_SLOW_ROWS_A_SECOND = 20_000
_LEAST_TIME = timedelta(minutes=15)
_MOST_TIME = timedelta(hours=24)
_UNITS_A_SLOT = 8


@dataclass(frozen=True)
class Choice:
    """An engine, why, and its size."""

    engine: Engine
    reason: str
    tasks: int
    slots: int


@dataclass(frozen=True)
class Sizing:
    """What the choice depends on. ``rows`` is an estimate; ``connections`` what the source allows."""

    units: int
    rows: int | None
    snapshot: bool
    wanted: str
    threshold: int
    max_tasks: int
    slots: int
    connections: int | None


def choose_direct(wanted: str, obstacle: str | None, *, possible: bool) -> Choice | None:
    """BigQuery alone, where it can and nobody wants it otherwise; None: somebody has to extract.

    Args:
        wanted: the document's engine.
        obstacle: why BigQuery cannot do it alone, as the end of a sentence.
        possible: it can.

    Raises:
        PermanentError: the document asks for it, and it cannot.
    """
    if possible:
        return Choice("bigquery", "BigQuery reads the source itself: no row has to leave it", 0, 0)
    if wanted == "bigquery" and obstacle is not None:
        raise PermanentError(f"engine: bigquery is not possible: {obstacle}")
    return None


def choose_engine(sizing: Sizing) -> Choice:
    """Fewer rows than the threshold go to a Cloud Run Job, more to Dataflow where that is deployed."""
    if sizing.units == 0:
        return Choice("none", "nothing to extract", 0, 0)
    slots = min(sizing.slots, sizing.connections or sizing.slots, sizing.units)
    tasks = 1 if sizing.snapshot else math.ceil(sizing.units / (slots * _UNITS_A_SLOT))
    if sizing.connections is not None:
        tasks = min(tasks, sizing.connections // slots)
    tasks = max(1, min(tasks, sizing.max_tasks))
    return Choice("cloud_run", _reason(sizing), tasks, slots)


def time_limit(rows: int | None, tasks: int) -> timedelta:
    """How long the extraction of about ``rows`` rows may take before it counts as stuck."""
    seconds = (rows or 0) / (_SLOW_ROWS_A_SECOND * max(1, tasks))
    return min(_LEAST_TIME + timedelta(seconds=math.ceil(seconds)), _MOST_TIME)


def _reason(sizing: Sizing) -> str:
    rows = "an unknown number of" if sizing.rows is None else f"about {sizing.rows:,}"
    if sizing.wanted == "cloud_run":
        return f"the source document says so ({rows} rows)"
    fallback = "Dataflow is not part of this deployment, so the Cloud Run Job takes them"
    if sizing.wanted == "dataflow":
        return f"the source document asks for Dataflow; {fallback}"
    if sizing.rows is not None and sizing.rows >= sizing.threshold:
        return f"{rows} rows are not fewer than the threshold {sizing.threshold:,}; {fallback}"
    return f"{rows} rows, below the threshold {sizing.threshold:,}"
