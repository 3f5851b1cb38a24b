"""How many machines a Dataflow job gets, of which kind, and why.

A machine runs one worker process for each of its processors (Dataflow's way with Python), and a process
reads a few units at the same time. All of them together stay within the source's ``max_connections``.
https://cloud.google.com/dataflow/docs/guides/troubleshoot-oom (processes and threads of a worker)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from etl_runner.planning.plan import Workers

UNITS_A_SLOT = 8
"""Fewer would let one slow unit make all the others wait at the end."""
_PROCESSORS = 4
_FEW_PROCESSORS = 2
_MOST_WORKERS = 1_000
"""https://cloud.google.com/dataflow/quotas"""


@dataclass(frozen=True)
class Fleet:
    """What the deployment allows a Dataflow job: the machines' series and kind, e.g. ``n2-standard``, their
    greatest number, units a process reads at the same time, and the image."""

    machines: str
    max_workers: int
    slots: int
    image: str


def most_readers(max_workers: int, slots: int) -> int:
    """Units that the largest Dataflow job of a deployment reads at the same time."""
    return min(max_workers, _MOST_WORKERS) * _PROCESSORS * slots


def size_workers(units: int, fleet: Fleet, connections: int | None) -> tuple[Workers, str]:
    """The workers for ``units`` units of a source that allows ``connections`` readers, and why so many."""
    most = min(fleet.max_workers, _MOST_WORKERS)
    wanted = math.ceil(units / UNITS_A_SLOT)
    allowed = wanted if connections is None else min(wanted, connections)
    processors = _PROCESSORS if allowed >= _PROCESSORS * fleet.slots else _FEW_PROCESSORS
    machine = f"{fleet.machines}-{processors}"
    a_machine = processors * fleet.slots
    if connections is not None and connections < a_machine:
        # Even one small machine would read more at a time: a single process with just as many threads.
        workers = Workers(1, machine, 1, connections, fleet.image)
    else:
        count = min(max(1, allowed // a_machine), most)
        workers = Workers(count, machine, processors, fleet.slots, fleet.image)
    return workers, _reason(workers, units, wanted, connections, most)


def _reason(workers: Workers, units: int, wanted: int, connections: int | None, most: int) -> str:
    readers = workers.count * workers.processes * workers.threads
    text = (
        f"{workers.count} x {workers.machine_type}, {readers} readers for {units:,} units "
        f"({units / readers:.0f} each)"
    )
    if connections is not None and connections < wanted:
        return f"{text}, as max_connections is {connections}"
    if workers.count == most and readers < wanted:
        return f"{text}, the deployment's most workers"
    return text
