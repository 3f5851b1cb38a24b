"""``etl-runner history``: the run history in BigQuery."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output

app = typer.Typer(
    no_args_is_help=True,
    help="The run history in BigQuery: etl_runs, etl_files and their views.\n\n"
    "Example: etl-runner history status",
)


@app.command()
@reporting
def status(
    context: typer.Context, settings: SettingsFile = None, local: Local = False, as_json: AsJson = False
) -> None:
    """Show how far the history is: finished runs that it lacks, and when it was brought up to date.

    Example: etl-runner history status --json
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    standing = deployment.history.standing()
    table = show.facts()
    table.add_row("waiting", f"{show.count(standing.waiting)} finished runs")
    table.add_row("brought up to date", show.moment(standing.drained) or "never")
    Output(as_json).answer(standing.to_json(), table)


@app.command()
@reporting
def drain(
    context: typer.Context,
    now: Annotated[
        bool, typer.Option("--now/--if-due", help="Also within five minutes of the last time.")
    ] = True,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Load what finished runs left, one load job a table. The sweep does the same every few minutes.

    Example: etl-runner history drain

    Ends with 5 when a load job or another drain is still at it.
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    done = deployment.history.drain(now=now, sleep=time.sleep)
    table = Table("table", "runs", "rows", "", box=None, pad_edge=False)
    for one in done:
        table.add_row(one.table, show.count(one.runs), show.count(one.rows), "pending" if one.pending else "")
    page = table if done else Text("it was brought up to date less than five minutes ago")
    Output(as_json).answer({"tables": [asdict(one) for one in done]}, page)
    if any(one.pending for one in done):
        raise typer.Exit(Exit.RETRY)


@app.command()
@reporting
def views(
    context: typer.Context, settings: SettingsFile = None, local: Local = False, as_json: AsJson = False
) -> None:
    """Create the history's tables where they are missing, and its views anew. Terraform does the same.

    Example: etl-runner history views
    """
    from etl_runner.history.views import put_views

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    target = deployment.history_target
    names = [f"{target.project}.{target.dataset}.{name}" for name in put_views(deployment.jobs, target)]
    Output(as_json).answer({"created": names}, Text("\n".join(names)))
