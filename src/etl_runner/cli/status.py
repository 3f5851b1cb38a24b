"""``etl-runner status``: where each source stands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.progress import Progress, ProgressReader, slot_of
from etl_runner.cli.sources import check_id, source_ids
from etl_runner.state.store import StateStore


@reporting
def status(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="A source's id; without it, all of them.")] = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show where sources stand: slot, phase, watermark, last outcome, and how far a run is.

    Example: etl-runner status orders --json

    Ends with 0, or with 6 when a source asked for by name is paused.
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    ids = [check_id(source)] if source else source_ids(deployment)
    found = [status_of(deployment, source_id) for source_id in ids]
    Output(as_json).answer({"sources": found}, _page(found))
    if source and found[0]["paused"]:
        raise typer.Exit(Exit.BLOCKED)


def status_of(deployment: Deployment, source_id: str) -> dict[str, Any]:
    """One source: ``{"source_id", "slot", "progress", "watermark", "last", "paused", "epoch"}``."""
    state = StateStore(deployment.state, source_id).read()
    progress: Progress | None = None
    if state.slot is not None:
        reader = ProgressReader(deployment.state, deployment.staging, source_id, state.slot.run_id)
        progress = reader.read()
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
    remaining = progress.remaining(now)
    if remaining:
        parts.append(f"{show.duration(remaining)} left")
    return ", ".join(parts)
