"""``etl-runner preview``: a source's first rows and types, as they would land. Nothing is written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id

if TYPE_CHECKING:
    from etl_runner.planning.preview import Preview

_CELL = 40


@reporting
def preview(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id.")],
    rows: Annotated[int, typer.Option("--rows", min=1, max=1_000, help="Rows to read.")] = 20,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show a source's first rows as they would land: detected and destination types, values, rejects.

    Reads a few rows of the table or the start of one file, whatever was loaded before; nothing is written.

    Example: etl-runner preview orders --rows 5
    """
    from etl_runner.config.load import load_source
    from etl_runner.planning.preview import preview as read

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    resolved = load_source(deployment.config, check_id(source))
    made = read(resolved, deployment.planner(), deployment.open_source, rows)
    Output(as_json).answer(asdict(made), *_page(made))


def _page(made: Preview) -> list[RenderableType]:
    types = Table("column", "source type", "detected", "destination", "type there", box=None, pad_edge=False)
    for column in made.columns:
        types.add_row(column.source, column.source_type, column.natural, column.name, column.destination)
    there = "" if made.exists else " (to be created)"
    page: list[RenderableType] = [Text(f"{made.source_id} -> {made.destination}{there}"), types]
    if made.rows:
        names = list(made.rows[0])
        values = Table(*names, box=None, pad_edge=False)
        for row in made.rows:
            values.add_row(*(Text(_cell(row[name])) for name in names))
        page += [Text(""), values]
    else:
        page.append(Text("no rows"))
    page += [
        Text(
            f"row {reject.row} would be rejected: {reject.column or 'the row'}: {reject.reason}", style="red"
        )
        for reject in made.rejects
    ]
    page += [Text(f"note: {note}", style="yellow") for note in made.notes]
    return page


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."
