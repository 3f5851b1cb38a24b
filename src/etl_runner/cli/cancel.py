"""``etl-runner cancel``: end a run."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from etl_runner.cancel import Cancelled, cancel_run
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import the_run
from etl_runner.commit.close import Pending, RunKey
from etl_runner.state.find import FoundRun
from etl_runner.state.store import StateStore

SourceOption = Annotated[
    str | None, typer.Option("--source", help="The run's source; without it, all sources are looked through.")
]


@reporting
def cancel(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    source: SourceOption = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """End a run as cancelled, and stop its workflow and what extracts for it.

    A run that commits already is rolled forward instead, since its rows may be in the table: it ends as it
    would have. A run that is over stays as it is.

    Example: etl-runner cancel 0d5f6a6c-4c4e-4bb0-9d43-7f3d0f0b4e55

    Ends with 0 when the run is cancelled or was rolled forward, 1 when it had failed.
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    found = the_run(deployment, run, source)
    result = cancel_and_wait(deployment, found, f"cancelled by {getpass.getuser()}")
    document = {"source_id": found.source_id, "run_id": run, **asdict(result)}
    Output(as_json).answer(document, Text(_sentence(run, result)))
    if result.outcome in ("failed", "abandoned"):
        raise typer.Exit(Exit.FAILED)


def cancel_and_wait(
    deployment: Deployment, found: FoundRun, reason: str, sleep: Callable[[float], None] = time.sleep
) -> Cancelled:
    """Cancel a run; wait for the end of one that commits.

    Raises:
        RetryableError, PermanentError: see :func:`cancel_run`.
    """
    epoch = found.slot.epoch if found.slot else (found.receipt or {})["epoch"]
    key = RunKey(found.source_id, found.run_id, epoch)
    finalizer = deployment.finalizer(found.source_id)

    def stop_workflow() -> tuple[str, ...]:
        execution = deployment.executions.find(found.run_id)
        if execution is None or execution.state != "active":
            return ()
        deployment.executions.cancel(execution)
        return (execution.name,)

    store = StateStore(deployment.state, found.source_id)
    result = cancel_run(store, finalizer, deployment.engines, stop_workflow, key, reason)
    while result.outcome is None:
        ended = finalizer.finalize(key)
        if isinstance(ended, Pending):
            sleep(ended.retry_after)
        else:
            return replace(result, outcome=ended.outcome, receipt=ended.receipt)
    return result


def _sentence(run: str, result: Cancelled) -> str:
    if result.was == "over":
        return f"run {run} was over already: {result.outcome}"
    if result.was == "committing":
        return f"run {run} was committing, so it was rolled forward instead: {result.outcome}"
    stopped = "".join(f"\nstopped {name}" for name in result.stopped)
    return f"run {run} is cancelled; nothing of it was loaded{stopped}"
