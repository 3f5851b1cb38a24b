"""Stopping what extracts for a run: executions of the Cloud Run Job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl_runner.gcp.faults import translated
from etl_runner.planning.plan import run_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl_runner.settings import Settings

PLAN_VARIABLE = "ETL_PLAN_URI"
_LOOK_THROUGH = 1_000


class CloudRunExecutions:
    """The job's executions, found by the plan that they were started with."""

    def __init__(self, settings: Settings, client: Callable[[], Any]) -> None:
        self._job = f"projects/{settings.project}/locations/{settings.location}/jobs/{settings.job}"
        self._make_client = client

    def stop(self, run_id: str, epoch: int) -> tuple[str, ...]:
        """Cancel what runs for that run; the names of the executions that were told to stop.

        Raises:
            RetryableError, PermanentError: Cloud Run is unavailable, or refuses.
        """
        client = self._make_client()
        stopped = []
        with translated(f"stopping the executions of {self._job}"):
            for execution in self._of_run(client, run_id, epoch):
                client.cancel_execution(name=execution.name)
                stopped.append(str(execution.name))
        return tuple(stopped)

    def _of_run(self, client: Any, run_id: str, epoch: int) -> Iterator[Any]:
        plan = f"/{run_prefix(run_id, epoch)}"
        for number, execution in enumerate(client.list_executions(parent=self._job)):
            if number == _LOOK_THROUGH:
                return
            if execution.completion_time:
                continue
            variables = (item for container in execution.template.containers for item in container.env)
            if any(item.name == PLAN_VARIABLE and plan in item.value for item in variables):
                yield execution
