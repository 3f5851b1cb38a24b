"""``etl-runner backfill``: load a window again."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.plan import NOT_RUN
from etl_runner.cli.run import start
from etl_runner.cli.sources import check_id
from etl_runner.commit.close import RunKey
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.planning.backfill import check_backfill
from etl_runner.state.requests import BACKFILL_PREFIX, Backfill, Requests
from etl_runner.state.store import StateStore

if TYPE_CHECKING:
    from etl_runner.config.resolved import ResolvedSource


@reporting
def backfill(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id.")],
    start_at: Annotated[
        str | None,
        typer.Option("--from", help="First cursor value of the window; of files, when they were written."),
    ] = None,
    end_at: Annotated[
        str | None, typer.Option("--to", help="First cursor value, or time, beyond the window.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Files: a glob below the prefix, as file_pattern is.")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Leave the destination's rows of the window where they are.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Replace even when the source has no rows there.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Watch the run until it is over.")] = True,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Load the rows of a window of the cursor again, or files; the watermark stays where it is.

    The destination's rows of the window are replaced in the statement that inserts the new ones. With
    --append they stay; an upsert merges. The window ends where the regular runs will look again. Files are
    chosen by when they were written, by --only, or by both, and are loaded as they are now; their rows are
    found by _etl_source_file. What cannot be loaded is refused before anything is started.

    Example: etl-runner backfill orders --from 2026-01-01 --to 2026-02-01

    Ends as `etl-runner run` does.
    """
    from etl_runner.config.load import load_source

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    source_id = check_id(source)
    resolved = load_source(deployment.config, source_id)
    request = Backfill(start_at, end_at, "append" if append else "replace", allow_empty, only)
    _check(deployment, resolved, request)
    run_id = f"{BACKFILL_PREFIX}{secrets.token_hex(8)}"
    Requests(deployment.state, source_id).write(run_id, request)
    start(deployment, Output(as_json), source_id, run_id, wait=wait)


def _check(deployment: Deployment, resolved: ResolvedSource, request: Backfill) -> None:
    """Plan the backfill here, and forget the plan.

    Raises:
        ConfigError: the window, the document or the destination does not allow it.
    """
    check_backfill(resolved.document, request)
    state = StateStore(deployment.state, resolved.source_id).read()
    key = RunKey(resolved.source_id, NOT_RUN, state.epoch + 1)
    try:
        deployment.planner().make_plan(resolved, key, state, backfill=request)
    except (RetryableError, PermanentError):
        # Who starts runs need not reach the source, nor read its secrets: the run itself will say.
        return
