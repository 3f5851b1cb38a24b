"""``etl-runner status``: where each source stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output, page_console, write_line
from etl_runner.cli.progress import Progress, ProgressReader, slot_of
from etl_runner.cli.sources import check_id, source_ids
from etl_runner.state.store import StateStore


@reporting
def status(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="A source's id; without it, all of them.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until interrupted.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 2.0,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show where sources stand: slot, phase, watermark, last outcome, and how far a run is.

    With --watch the page stays and follows the runs; with --json it is one document a line for each look.

    Example: etl-runner status orders --json

    Ends with 0, or with 6 when a source asked for by name is paused.
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    ids = [check_id(source)] if source else source_ids(deployment)
    if watch:
        follow(deployment, ids, every, as_json=as_json)
        return
    found = [status_of(deployment, source_id) for source_id in ids]
    Output(as_json).answer({"sources": found}, _page(found))
    if source and found[0]["paused"]:
        raise typer.Exit(Exit.BLOCKED)


def follow(
    deployment: Deployment,
    ids: Sequence[str],
    every: float,
    *,
    as_json: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look at the sources until interrupted; each run's manifests are read once."""
    readers: dict[str, ProgressReader] = {}

    def look() -> list[dict[str, Any]]:
        return [status_of(deployment, source_id, readers) for source_id in ids]

    if as_json:
        while True:
            write_line({"sources": look()})
            sleep(every)
    with Live(_page(look()), console=page_console(), auto_refresh=False) as live:
        while True:
            sleep(every)
            live.update(_page(look()), refresh=True)


def status_of(
    deployment: Deployment, source_id: str, readers: dict[str, ProgressReader] | None = None
) -> dict[str, Any]:
    """One source: ``{"source_id", "slot", "progress", "watermark", "last", "paused", "epoch"}``.

    ``readers`` keeps what was read of running runs between two looks.
    """
    state = StateStore(deployment.state, source_id).read()
    progress: Progress | None = None
    if state.slot is not None:
        run_id = state.slot.run_id
        known = {} if readers is None else readers
        if run_id not in known:
            known[run_id] = ProgressReader(deployment.state, deployment.staging, source_id, run_id)
        progress = known[run_id].read()
    last = state.last
    return {
        "source_id": source_id,
        "epoch": state.epoch,
        "slot": slot_of(state),
        "progress": progress.to_json() if progress else None,
        "watermark": state.watermark,
        "last": {"run_id": last.run_id, "outcome": last.outcome, "receipt": last.receipt} if last else None,
        "paused": state.paused,
    }


def _page(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return Text("no sources: put a document under sources/ in the config bucket")
    table = Table(
        "source", "now", "progress", "watermark", "last run", "finished", "rows", box=None, pad_edge=False
    )
    for one in found:
        last = one["last"] or {}
        receipt = last.get("receipt") or {}
        table.add_row(
            one["source_id"],
            _now(one),
            _progress(one["progress"]),
            show.watermark(one["watermark"]),
            show.outcome(last.get("outcome")),
            show.moment(receipt.get("finished")),
            show.count(receipt.get("rows_loaded")),
        )
        if one["paused"]:
            table.add_row("", Text(f"paused: {one['paused']}", style="red"))
    return table


def _now(one: dict[str, Any]) -> str:
    slot = one["slot"]
    if slot is None:
        return "paused" if one["paused"] else "free"
    phase = (one["progress"] or {}).get("phase") or slot["phase"]
    until = f" until {show.moment(slot['until'])}" if slot["phase"] == "extracting" else ""
    return f"{phase} {slot['run_id']}{until}"


def _progress(value: dict[str, Any] | None) -> str:
    if value is None or value["units"] is None:
        return ""
    progress = Progress(**value)
    now = datetime.now(UTC)
    parts = [f"{progress.units_done}/{progress.units} units", f"{show.count(progress.rows)} rows"]
    rate, remaining = progress.rate(now), progress.remaining(now)
    if rate:
        parts.append(f"{show.count(rate)} rows/s")
    if remaining:
        parts.append(f"{show.duration(remaining)} left")
    return ", ".join(parts)
