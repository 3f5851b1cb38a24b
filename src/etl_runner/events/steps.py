"""The steps of an event run in this process: the same plan, task and finalize that the workflow calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from etl_runner.commit.close import Clock, Done, Failure, Pending, RunKey
from etl_runner.errors import PermanentError
from etl_runner.events.load import OutOfTime, Planned
from etl_runner.events.settings import EventSettings
from etl_runner.planning.plan import Plan, PlanHeader
from etl_runner.planning.write_plan import PlanWriter, plan_name
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.objects import ObjectStore

if TYPE_CHECKING:
    from etl_runner.commit.finalize import Finalizer
    from etl_runner.sources.base import Source


class InProcessSteps:
    """Implements :class:`etl_runner.events.load.RunSteps` for one source."""

    def __init__(
        self,
        plans: PlanWriter,
        finalizer: Finalizer,
        staging: ObjectStore,
        open_source: Callable[[PlanHeader], Source],
        start_workflow: Callable[[RunKey], None],
        settings: EventSettings,
        clock: Clock,
    ) -> None:
        self._plans = plans
        self._finalizer = finalizer
        self._staging = staging
        self._open_source = open_source
        self._start_workflow = start_workflow
        self._settings = settings
        self._clock = clock

    def plan(self, key: RunKey, files: tuple[FileVersion, ...] | None) -> Planned:
        self._plans.write_plan(key, files)
        header = self._header(key)
        if header is None:
            raise PermanentError(f"the plan of run {key.run_id} vanished")
        if header.engine != "cloud_run":
            # Nothing to extract, or BigQuery alone does it; Dataflow is the workflow's to start.
            return Planned(0, header.engine != "dataflow")
        rows, size = header.estimated_rows or 0, header.estimated_bytes
        small = size is not None and size <= self._settings.in_place_bytes
        return Planned(header.units, small and rows <= self._settings.in_place_rows)

    def extract(self, key: RunKey, deadline: datetime) -> None:
        from etl_runner.execution.attempts import Stopped
        from etl_runner.execution.task import run_task

        stop = threading.Event()
        seconds = (deadline - self._clock()).total_seconds()
        timer = threading.Timer(max(0.0, seconds), stop.set)
        timer.daemon = True
        timer.start()
        try:
            run_task(self._staging, plan_name(key.run_id, key.epoch), 0, 1, self._open_source, stop=stop)
        except Stopped as error:
            raise OutOfTime(key.run_id) from error
        finally:
            timer.cancel()

    def finalize(self, key: RunKey, failure: Failure | None) -> Done | Pending:
        return self._finalizer.finalize(key, failure)

    def failures(self, key: RunKey) -> list[tuple[str, str, str]]:
        from etl_runner.execution.failures import read_failures

        header = self._header(key)
        if header is None:
            return []
        return [
            (failure.uri, failure.version or "", failure.message)
            for failure in read_failures(self._staging, header)
            if failure.uri
        ]

    def start_workflow(self, key: RunKey) -> None:
        self._start_workflow(key)

    def _header(self, key: RunKey) -> PlanHeader | None:
        stored = self._staging.read(plan_name(key.run_id, key.epoch))
        return None if stored is None else Plan.from_jsonl(stored.data).header
