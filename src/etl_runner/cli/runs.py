"""``etl-runner runs``: the receipts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id, source_ids
from etl_runner.state.receipts import Receipts

if TYPE_CHECKING:
    from etl_runner.history.history import Standing


@reporting
def runs(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="A source's id; without it, all of them.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest receipts of each source.")] = 20,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show finished runs: window, units, rows, seconds, job ids, outcome.

    These are the receipts, which are there at once; the last line says how far etl_runs in BigQuery is.

    Example: etl-runner runs orders --limit 5
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    receipts: list[dict[str, Any]] = []
    for source_id in [check_id(source)] if source else source_ids(deployment):
        receipts += list(Receipts(deployment.state, source_id).all())[-limit:]
    receipts.sort(key=lambda receipt: str(receipt.get("finished", "")))
    standing = deployment.history.standing()
    document = {"runs": receipts, "history": standing.to_json()}
    told = how_far(standing)
    Output(as_json).answer(document, runs_table(receipts), *([Text(told, style="dim")] if told else []))


def how_far(standing: Standing) -> str:
    """How far the history in BigQuery is, in one line."""
    if standing.drained is None and not standing.waiting:
        return ""
    until = f"brought up to date {show.moment(standing.drained)}" if standing.drained else "not loaded yet"
    lacking = f"{show.count(standing.waiting)} finished runs are on their way" if standing.waiting else ""
    return ", ".join(part for part in (f"history in BigQuery: {until}", lacking) if part)


def runs_table(receipts: list[dict[str, Any]]) -> RenderableType:
    """Receipts as a table, in the order given."""
    if not receipts:
        return Text("no run has finished yet")
    table = Table(box=None, pad_edge=False)
    for name in ("source", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("units", "rows", "rejects", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finished", no_wrap=True)
    table.add_column("window, job ids", overflow="fold")
    for receipt in receipts:
        seconds = show.seconds_between(receipt.get("started"), receipt.get("finished"))
        table.add_row(
            str(receipt.get("source_id", "")),
            show.outcome(receipt.get("outcome")),
            show.count(receipt.get("units")),
            show.count(receipt.get("rows_loaded")),
            show.count(receipt.get("rejects")),
            "" if seconds is None else f"{seconds:.1f}",
            show.moment(receipt.get("finished")),
            "\n".join([show.covered(receipt), *(receipt.get("jobs") or ())]),
        )
        if receipt.get("reason"):
            table.add_row(*[""] * 7, Text(str(receipt["reason"]), style="red"))
    return table
