"""What a Cloud Run Job task does: wires :func:`run_task` to the deployment.

Environment: ``ETL_PLAN_URI`` (``gs://<staging bucket>/runs/.../plan.jsonl``), ``CLOUD_RUN_TASK_INDEX``,
``CLOUD_RUN_TASK_COUNT``, ``CLOUD_RUN_TASK_ATTEMPT``
(https://cloud.google.com/run/docs/container-contract#jobs-env-vars) and the deployment's ``ETL_*``.

Exit codes (the job service starts a task that ends in anything but 0 again, up to its limit):

====  =========================================================================================
0     all units of the task are done
65    a final error: bad data, bad configuration, refused by the source; recorded for the run's end
75    an error that may pass: start the task again
143   told to stop (SIGTERM); finished units stay finished
1     an unexpected error, with its stack in the log
====  =========================================================================================
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType

import pyarrow as pa

from etl_runner.commit.close import Clock, utc_now
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import ConfigError, EtlError, Problem, RetryableError
from etl_runner.execution.attempts import Stopped
from etl_runner.execution.lease import keep_slot
from etl_runner.execution.task import OnProgress, TaskSummary, read_plan, run_task
from etl_runner.gcp.deployment import Deployment
from etl_runner.logs import configure_logging
from etl_runner.planning.plan import PlanHeader
from etl_runner.settings import Settings
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

DONE, UNEXPECTED, FINAL, RETRY, TERMINATED = 0, 1, 65, 75, 143


def main(environ: Mapping[str, str]) -> int:
    """Run the task that the environment describes and return the exit code."""
    configure_logging()
    # Gives freed memory back at once, where Arrow's own allocator keeps it: about 30 MB less at the peak.
    pa.set_memory_pool(pa.system_memory_pool())
    stop = threading.Event()
    _stop_on_sigterm(stop)
    try:
        return _run(environ, stop)
    except Stopped as error:
        log.warning("%s", error)
        return TERMINATED
    except RetryableError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return RETRY
    except EtlError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return FINAL
    except Exception:
        log.exception("the task failed unexpectedly")
        return UNEXPECTED


def _run(environ: Mapping[str, str], stop: threading.Event) -> int:
    settings = Settings.from_env(environ)
    bucket, name = _plan_uri(environ)
    index, count = _number(environ, "CLOUD_RUN_TASK_INDEX", 0), _number(environ, "CLOUD_RUN_TASK_COUNT", 1)
    deployment = Deployment(replace(settings, staging_bucket=bucket))
    header, _ = read_plan(deployment.staging, name, index, count)
    configure_logging(
        {
            "run_id": header.run_id,
            "source_id": header.source_id,
            "epoch": header.epoch,
            "task": index,
            "task_attempt": environ.get("CLOUD_RUN_TASK_ATTEMPT"),
        },
        project=settings.project,
    )
    summary = run_task(
        deployment.staging,
        name,
        index,
        count,
        lambda plan: deployment.open_source(ResolvedSource.from_json(plan.config)),
        on_progress=heartbeat(deployment.store(header.source_id), header),
        stop=stop,
    )
    _log_summary(summary)
    return DONE


def heartbeat(store: StateStore, header: PlanHeader, clock: Clock = utc_now) -> OnProgress:
    """Renews the run's deadline as units are finished, and ends the task when the run is no longer ours."""
    keep = keep_slot(store, header, clock)

    def on_progress(_: TaskSummary) -> None:
        keep()

    return on_progress


def _stop_on_sigterm(stop: threading.Event) -> None:
    """Cloud Run sends SIGTERM ten seconds before it kills."""

    def handler(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handler)


def _plan_uri(environ: Mapping[str, str]) -> tuple[str, str]:
    uri = environ.get("ETL_PLAN_URI", "")
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not bucket or not name:
        problem = Problem("ETL_PLAN_URI", "does not name a plan", repr(uri), "gs://<bucket>/<object>")
        raise ConfigError("environment", (problem,))
    return bucket, name


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal():
        raise ConfigError("environment", (Problem(name, "is not a number", repr(text)),))
    return int(text)


def _log_summary(summary: TaskSummary) -> None:
    log.info(
        "task %d of %d done: %d units, %d rows in %.1f s",
        summary.index,
        summary.count,
        summary.units,
        summary.rows,
        summary.seconds,
        extra={
            "fields": {
                "units": summary.units,
                "skipped": summary.skipped,
                "rows": summary.rows,
                "rejects": summary.rejects,
                "bytes": summary.bytes,
                "seconds": summary.seconds,
            }
        },
    )
