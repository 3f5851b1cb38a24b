"""Stopping what extracts for a run: executions of the Cloud Run Job, and the Dataflow job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl_runner.errors import EtlError
from etl_runner.gcp.faults import translated
from etl_runner.planning.launch import job_name
from etl_runner.planning.plan import run_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etl_runner.cancel import Engines
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


class DataflowJobs:
    """A run's Dataflow job, found by the name that follows from the run's id."""

    def __init__(self, settings: Settings, client: Callable[[], Any]) -> None:
        self._project, self._location = settings.project, settings.location
        self._deployed = settings.dataflow_template is not None
        self._make_client = client

    def stop(self, run_id: str, epoch: int) -> tuple[str, ...]:
        """Cancel the run's job; the names of the jobs that were told to stop.

        Nothing is asked where Dataflow is not part of the deployment: its API may be disabled. A job takes a
        while to end after it was told to; its workers can harm nothing meanwhile, since the run is over.

        Raises:
            RetryableError, PermanentError: Dataflow is unavailable, or refuses.
        """
        del epoch  # an id is that of one run
        if not self._deployed:
            return ()
        client = self._make_client()
        place = f"projects/{self._project}/locations/{self._location}"
        with translated(f"stopping the Dataflow job of run {run_id}"):
            jobs = self._active(client, job_name(run_id))
            return tuple(f"{place}/jobs/{job.id}" for job in jobs if self._cancel(client, job.id))

    def _active(self, client: Any, name: str) -> list[Any]:
        request = {"project_id": self._project, "location": self._location, "name": name, "filter": "ACTIVE"}
        # The name is compared again: the service does not promise that the filter is exact.
        return [job for job in client.list_jobs(request=request) if job.name == name]

    def _cancel(self, client: Any, job_id: str) -> bool:
        """Whether there was something to stop."""
        from google.api_core.exceptions import BadRequest
        from google.cloud.dataflow_v1beta3 import JobState

        place = {"project_id": self._project, "location": self._location, "job_id": job_id}
        wanted = {"requested_state": JobState.JOB_STATE_CANCELLED}
        try:
            client.update_job(request={**place, "job": wanted})
        except BadRequest:
            # Dataflow refuses for a job that ended meanwhile; its state is the only reliable sign of that.
            state = client.get_job(request=place).current_state
            ended = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")
            if state.name.removeprefix("JOB_STATE_") not in ended:
                raise
            return False
        return True


class AllEngines:
    """Every engine of a deployment."""

    def __init__(self, engines: Sequence[Engines]) -> None:
        self._engines = engines

    def stop(self, run_id: str, epoch: int) -> tuple[str, ...]:
        """Stop what runs for that run on any of them; an engine that cannot be asked spares none of the
        others.

        Raises:
            RetryableError, PermanentError: the first engine's that failed; ask again.
        """
        stopped: list[str] = []
        errors: list[EtlError] = []
        for engine in self._engines:
            try:
                stopped += engine.stop(run_id, epoch)
            except EtlError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return tuple(stopped)
