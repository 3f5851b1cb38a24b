"""Runs on schedules, some of them racing, and faults of every kind, until the time is up."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from etl_runner.errors import EtlError
from local.soak.sources import IDS, ORDERS
from local.stack import Stack

_BIGQUERY_FAULTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("error", {"method": "POST", "path": "/jobs", "status": 503}),
    ("error", {"method": "POST", "path": "/jobs", "status": 429}),
    ("error", {"method": "GET", "path": "/jobs/", "status": 503}),
    ("lost_response", {"method": "POST", "path": "/jobs"}),
    ("slow_job", {"method": "POST", "path": "/jobs", "polls": 2}),
    ("fail_job", {"method": "POST", "path": "/jobs", "reason": "backendError"}),
)


@dataclass
class Chaos:
    """Schedules and faults."""

    stack: Stack
    stop: threading.Event = field(default_factory=threading.Event)
    ended: Counter[str] = field(default_factory=Counter)
    """Executions by how they ended: ok, skipped, failed."""
    struck: Counter[str] = field(default_factory=Counter)
    """Faults by kind."""
    peak_task: int = 0
    peak_function: int = 0
    """Greatest resident memory seen, in bytes."""
    sweeps: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start schedules (two for orders, which race), the sweep, faults and the measuring of memory."""
        schedules = [(name, 5.0) for name in IDS] + [(ORDERS, 5.7)]
        bodies: list[Callable[[], None]] = [self._scheduled(name, every) for name, every in schedules]
        bodies += [self._sweep, self._faults, self._kills, self._measure]
        for body in bodies:
            thread = threading.Thread(target=body, daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Stop all of it; runs that were started go to their end."""
        self.stop.set()
        for thread in self._threads:
            thread.join(180)
        self.stack.bigquery.faults.clear()

    def _scheduled(self, source_id: str, every: float) -> Callable[[], None]:
        def body() -> None:
            while not self.stop.wait(every * random.uniform(0.5, 1.5)):
                try:
                    ended = self.stack.run(source_id, 170)
                except EtlError:
                    self.ended["still going"] += 1
                    continue
                result = ended.result if isinstance(ended.result, dict) else {}
                outcome = result.get("outcome") or result.get("status") or ended.state.lower()
                self.ended[str(outcome)] += 1

        return body

    def _sweep(self) -> None:
        while not self.stop.wait(10):
            with contextlib.suppress(EtlError):  # it is killed now and then; the next one does its work
                self.stack.sweep()
                self.sweeps += 1

    def _faults(self) -> None:
        while not self.stop.wait(random.uniform(1, 4)):
            action, settings = random.choice(_BIGQUERY_FAULTS)
            self.stack.bigquery.faults.inject(action, **settings)  # type: ignore[arg-type]
            self.struck[f"bigquery {action} {settings.get('status', '')}".strip()] += 1

    def _kills(self) -> None:
        while not self.stop.wait(random.uniform(8, 20)):
            tasks = self._tasks()
            if tasks and random.random() < 0.5:
                if _kill(random.choice(tasks)):
                    self.struck["task killed"] += 1
            else:
                name = random.choice(sorted(self.stack.functions))
                if _kill(self.stack.functions[name].pid):
                    self.struck[f"{name} killed"] += 1

    def _measure(self) -> None:
        while not self.stop.wait(0.2):
            self.peak_task = max([self.peak_task, *map(_resident, self._tasks())])
            functions = [server.pid for server in self.stack.functions.values()]
            self.peak_function = max([self.peak_function, *map(_resident, functions)])

    def _tasks(self) -> list[int]:
        names = self.stack.layout.names
        job = f"projects/{names.project}/locations/{names.location}/jobs/{names.job}"
        newest = sorted(self.stack.run_jobs.jobs.executions(job), key=lambda one: one.name)
        return [pid for one in newest if not one.done for pid in dict(one.pids).values()]


def _kill(pid: int) -> bool:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _resident(pid: int) -> int:
    """Resident memory in bytes, 0 for a process that is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - procfs
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)
