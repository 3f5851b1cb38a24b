"""``etl-runner run``: start a run, watch it, show its receipt."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.execution import Execution
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output, stderr_console
from etl_runner.cli.progress import ProgressReader
from etl_runner.cli.sources import check_id
from etl_runner.cli.watch import Watch, watch_on
from etl_runner.errors import ConfigError, PermanentError, RetryableError

_PATIENCE = 5
"""Looks that may fail in a row before watching is given up; the run does not mind."""

_EXITS = {"ok": Exit.OK, "skipped": Exit.SKIPPED}
_REFUSED = {
    ConfigError.http_status: Exit.CONFIGURATION,
    PermanentError.http_status: Exit.BLOCKED,
    RetryableError.http_status: Exit.RETRY,
}


@dataclass(frozen=True)
class Ended:
    """How a run that was watched ended: one of receipt, skipped and error says so."""

    execution: Execution
    outcome: str
    """ok, failed, abandoned or skipped."""
    receipt: dict[str, Any] | None = None
    holder: dict[str, Any] | None = None
    error: str | None = None

    @property
    def exit(self) -> Exit:
        if self.outcome in _EXITS:
            return _EXITS[self.outcome]
        # Without a receipt the run was never opened, and the trigger said why.
        return (
            _REFUSED.get(self.execution.error_code or 0, Exit.FAILED) if self.receipt is None else Exit.FAILED
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.execution.run_id,
            "execution": self.execution.name,
            "outcome": self.outcome,
            "receipt": self.receipt,
            "holder": self.holder,
            "error": self.error,
            "exit_code": int(self.exit),
        }


@reporting
def run(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id.")],
    wait: Annotated[bool, typer.Option(help="Watch the run until it is over.")] = True,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Start a run of a source through the workflow and watch it until its receipt is there.

    Example: etl-runner run orders --no-wait

    Ends with 0 when the run is committed, 1 when it failed, 4 when another run holds the slot. Interrupting
    the command does not stop the run.
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    start(deployment, Output(as_json), check_id(source), wait=wait)


def start(
    deployment: Deployment, output: Output, source: str, run_id: str | None = None, *, wait: bool = True
) -> None:
    """Start a run, watch it unless told otherwise, show how it ended, and end the command as it did."""
    execution = deployment.executions.start(source, run_id)
    if not wait:
        document = {"source_id": source, "run_id": execution.run_id, "execution": execution.name}
        output.answer(document, Text(f"run {execution.run_id} of {source} is started"))
        return
    with watch_on(stderr_console()) as watch:
        ended = follow(deployment, source, execution, watch)
    output.answer({"source_id": source, **ended.to_json()}, *_page(source, ended))
    if ended.exit is not Exit.OK:
        raise typer.Exit(ended.exit)


def follow(
    deployment: Deployment,
    source_id: str,
    execution: Execution,
    watch: Watch,
    interval: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
) -> Ended:
    """Watch a run until its execution is over, looking every ``interval`` seconds.

    Raises:
        RetryableError: the deployment could not be reached several times in a row.
    """
    reader = ProgressReader(deployment.state, deployment.staging, source_id, execution.run_id)
    failures = 0
    while True:
        try:
            execution = deployment.executions.get(execution)
            progress = reader.read()
            failures = 0
        except RetryableError:
            failures += 1
            if failures >= _PATIENCE:
                raise
            sleep(interval)
            continue
        watch.update(progress)
        if execution.state != "active":
            return _ended(execution, progress.receipt)
        sleep(interval)


def _ended(execution: Execution, receipt: dict[str, Any] | None) -> Ended:
    result = execution.result if isinstance(execution.result, dict) else {}
    if result.get("status") == "skipped":
        return Ended(execution, "skipped", holder=result.get("holder"))
    receipt = receipt or result.get("receipt")
    if receipt is not None:
        return Ended(execution, str(receipt.get("outcome")), receipt, error=execution.error)
    error = execution.error or f"the workflow {execution.state} and left no receipt"
    return Ended(execution, "failed", error=error)


def _page(source_id: str, ended: Ended) -> list[Any]:
    if ended.holder is not None:
        holder = ended.holder
        until = show.moment(holder.get("until")) or "its commit is done"
        return [
            Text(
                f"skipped: run {holder.get('run_id')} of {source_id} is {holder.get('phase')}, until {until}"
            )
        ]
    if ended.receipt is not None:
        return [show.receipt_facts(ended.receipt)]
    return [Text(f"{ended.outcome}: {ended.error}", style="red")]
