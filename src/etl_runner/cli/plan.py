"""``etl-runner plan``: what a run would do. Nothing is run and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.progress import slot_of
from etl_runner.cli.sources import check_id
from etl_runner.commit.close import RunKey, utc_now
from etl_runner.events.budget import TableOperations
from etl_runner.planning.outlook import (
    Cost,
    Operations,
    estimated_cost,
    planned_operations,
)
from etl_runner.planning.plan import Plan, PlanHeader, WorkUnit
from etl_runner.state.document import State
from etl_runner.state.store import StateStore

NOT_RUN = "not-run"
"""The run id in a plan that belongs to no run."""


@reporting
def plan(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id.")],
    units: Annotated[int, typer.Option("--units", min=0, help="Units to list on the page.")] = 10,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do: window, rows, units, engine and why, table operations, schema changes, cost.

    Nothing is run and nothing is written; source and destination are asked for metadata only.

    Example: etl-runner plan orders --json
    """
    from etl_runner.config.load import load_source

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    source_id = check_id(source)
    resolved = load_source(deployment.config, source_id)
    state = StateStore(deployment.state, source_id).read()
    key = RunKey(source_id, NOT_RUN, state.epoch + 1)
    made = deployment.planner().make_plan(resolved, key, state)
    outlook = look_ahead(deployment, made.header)
    Output(as_json).answer(
        {**_document(made, state), **outlook.to_json()}, *_page(made, state, units, outlook)
    )


@dataclass(frozen=True)
class Outlook:
    """What the plan will cost."""

    operations: Operations
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        operations = {**asdict(self.operations), "left": self.operations.left}
        return {"table_operations": operations, "cost": asdict(self.cost)}


def look_ahead(deployment: Deployment, header: PlanHeader) -> Outlook:
    """The plan's table operations against the day's, which all sources of a table share; and its cost."""
    used = TableOperations(deployment.state, utc_now).usage(header.destination.path, clean=False).used
    return Outlook(Operations(planned_operations(header), used), estimated_cost(header))


def _document(made: Plan, state: State) -> dict[str, Any]:
    header = made.header.to_json()
    for name in ("run_id", "epoch", "created"):  # of a run, and there is none
        del header[name]
    return {
        "plan": header,
        "units": [asdict(unit) for unit in made.units],
        "watermark": state.watermark,
        "slot": slot_of(state),
        "paused": state.paused,
    }


def _page(made: Plan, state: State, listed: int, outlook: Outlook) -> list[RenderableType]:
    header = made.header
    page: list[RenderableType] = [_facts(header, state, outlook)]
    if header.destination.added or not header.destination.exists:
        page.append(_columns(header))
    if made.units and listed:
        page.append(_units(made.units, listed))
    page += [Text(f"note: {note}", style="yellow") for note in header.notes]
    return page


def _facts(header: PlanHeader, state: State, outlook: Outlook) -> Table:
    window = header.window
    destination = header.destination
    table = show.facts()
    table.add_row("source", f"{header.source_id} ({header.source_type}, {header.disposition})")
    table.add_row("destination", f"{destination.path} in {destination.location}")
    table.add_row("", _change(header))
    table.add_row("window", show.window(asdict(window)) + (f" of {window.column}" if window.column else ""))
    if window.late is not None:
        table.add_row("late window", window.late)
    table.add_row("rows", f"about {show.count(header.estimated_rows) or 'unknown'} ({header.estimate_how})")
    if header.estimated_bytes is not None:
        table.add_row("bytes", f"about {show.size(header.estimated_bytes)}")
    spread = f"{header.units}, over {header.tasks} tasks with {header.slots} at a time each"
    table.add_row("units", spread if header.units else "none")
    table.add_row("engine", f"{header.engine}: {header.engine_reason}")
    operations, cost = outlook.operations, outlook.cost
    budget = f"{operations.planned}, after {operations.used} of {operations.limit:,} within a day"
    style = "red" if operations.left < operations.limit // 10 else ""
    table.add_row("table operations", Text(budget, style=style))
    table.add_row("cost", f"about ${cost.dollars:.4f}: {cost.how}")
    if state.slot is not None:
        table.add_row("slot", f"held by run {state.slot.run_id}, {state.slot.phase}")
    if state.paused:
        table.add_row("paused", Text(state.paused, style="red"))
    return table


def _change(header: PlanHeader) -> str:
    destination = header.destination
    if not destination.exists:
        layout = ""
        if destination.partition_field:
            layout = f", partitioned by {destination.partition_type} of {destination.partition_field}"
        if destination.clustering:
            layout += f", clustered by {', '.join(destination.clustering)}"
        return f"to be created with {len(destination.schema)} columns{layout}"
    if destination.added:
        return f"columns to be added: {', '.join(destination.added)}"
    return "no schema changes"


def _columns(header: PlanHeader) -> RenderableType:
    destination = header.destination
    added = {name.partition(".")[0] for name in destination.added}
    shown = added if destination.exists else {field.name for field in destination.schema}
    origin = {column.destination.name: column for column in header.columns}
    table = Table("column", "type", "from", "source type", box=None, pad_edge=False)
    for field in destination.schema:
        if field.name in shown:
            column = origin.get(field.name)
            kind = f"{field.type}{'' if field.mode == 'NULLABLE' else ' ' + field.mode}"
            from_ = (column.source, column.source_type) if column else ("(the runner)", "")
            table.add_row(field.name, kind, *from_)
    return table


def _units(units: Sequence[WorkUnit], listed: int) -> RenderableType:
    table = Table("unit", "of", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    for unit in units[:listed]:
        table.add_row(unit.id, Text(unit.label), show.count(unit.rows))
    if len(units) > listed:
        table.add_row("...", f"and {len(units) - listed} more", "")
    return table
