"""``etl-runner retry``: try again what a run did not bring to its end."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from etl_runner.cli.cancel import SourceOption
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.run import start
from etl_runner.cli.sources import the_run
from etl_runner.errors import PermanentError
from etl_runner.state.find import FoundRun
from etl_runner.state.requests import BACKFILL_PREFIX, Requests


@reporting
def retry(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The id of a run that failed, was abandoned or cancelled.")],
    source: SourceOption = None,
    wait: Annotated[bool, typer.Option(help="Watch the new run until it is over.")] = True,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Start a new run in place of one that loaded nothing, or the same backfill again.

    Example: etl-runner retry 0d5f6a6c-4c4e-4bb0-9d43-7f3d0f0b4e55

    Ends as `etl-runner run` does, and with 6 where there is nothing to try again.
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    found = the_run(deployment, run, source)
    start(deployment, Output(as_json), found.source_id, new_run_id(deployment, found), wait=wait)


def new_run_id(deployment: Deployment, found: FoundRun) -> str | None:
    """The id of the run that repeats ``found``, its request left; None where it needs none.

    Raises:
        PermanentError: the run is going on, or is committed.
    """
    if found.receipt is None:
        raise PermanentError(f"run {found.run_id} is going on: `etl-runner cancel` ends it")
    if found.receipt["outcome"] == "ok":
        raise PermanentError(f"run {found.run_id} is committed: there is nothing to try again")
    requests = Requests(deployment.state, found.source_id)
    request = requests.read(found.run_id)
    if request is None:
        return None
    run_id = f"{BACKFILL_PREFIX}{secrets.token_hex(8)}"
    requests.write(run_id, request)
    return run_id
