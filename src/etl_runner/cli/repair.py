"""``etl-runner resolve`` and ``etl-runner reset``: what a person decides about a source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.errors import ConfigError, Problem
from etl_runner.state import operate
from etl_runner.state.store import StateStore

SourceArgument = Annotated[str, typer.Argument(help="The source's id.")]


@reporting
def resolve(
    context: typer.Context,
    source: SourceArgument,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Let a paused source run again, after somebody looked into it.

    Example: etl-runner resolve orders
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    reason = operate.resolve(StateStore(deployment.state, check_id(source)))
    text = f"{source} was not paused" if reason is None else f"{source} runs again; it was paused: {reason}"
    Output(as_json).answer({"source_id": source, "was_paused": reason}, Text(text))


@reporting
def reset(
    context: typer.Context,
    source: SourceArgument,
    to: Annotated[
        str | None, typer.Option("--to", help="Cursor value up to which the destination is complete.")
    ] = None,
    beginning: Annotated[bool, typer.Option("--beginning", help="Load everything again.")] = False,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Set where a source's next run begins. Rows in the destination stay: those loaded again are doubled.

    Example: etl-runner reset orders --to "2026-11-01 00:00:00+00"
    """
    if (to is None) == (not beginning):
        problem = Problem("--to", "give either --to VALUE or --beginning")
        raise ConfigError("command line", (problem,))
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    before, after = operate.reset(StateStore(deployment.state, check_id(source)), to)
    text = f"{source}: the next run begins after {show.watermark(after)}; it was {show.watermark(before)}"
    Output(as_json).answer({"source_id": source, "before": before, "after": after}, Text(text))
