"""``etl-runner rejects``: rows that did not fit, and the way back for them."""

from __future__ import annotations

import secrets
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.errors import ConfigError, Problem

app = typer.Typer(
    name="rejects",
    help="Rows that did not fit their destination.\n\nExample: etl-runner rejects list orders",
    no_args_is_help=True,
)
SourceArgument = Annotated[str, typer.Argument(help="The source's id.")]
Runs = Annotated[list[str] | None, typer.Option("--run", metavar="RUN", help="A run's id; may be repeated.")]


@app.command("list")
@reporting
def list_(
    context: typer.Context,
    source: SourceArgument,
    run: Runs = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 20,
    lines: Annotated[
        bool, typer.Option("--lines", help="Only the rows, as JSON Lines: edited, they are corrections.")
    ] = False,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show a source's runs with rejects and, newest runs first, their rows.

    Example: etl-runner rejects list orders --run 5f1c... --lines > fix.jsonl
    """
    rejects = open_deployment(context, Path(settings) if settings else None, local).rejects(check_id(source))
    overview = rejects.overview()
    wanted = list(run or [item.run.run_id for item in reversed(overview) if item.state == "pending"])
    rows = list(rejects.rows(wanted, limit))
    if lines:
        for row in rows:
            sys.stdout.write(row.to_line().decode())
        return
    document = {
        "source_id": source,
        "table": rejects.table,
        "runs": [{**asdict(item.run), "state": item.state} for item in overview],
        "rows": [asdict(row) for row in rows],
    }
    Output(as_json).answer(document, *_pages(overview, rows))


@app.command()
@reporting
def replay(
    context: typer.Context,
    source: SourceArgument,
    run: Runs = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            "--corrections", metavar="FILE", help="JSON Lines as `rejects list --lines` writes them."
        ),
    ] = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Convert rejected rows again, after a correction of values, document or destination, and commit them.

    Example: etl-runner rejects replay orders --corrections fix.jsonl

    A run of the source of its own: each rejected run is replayed once, and what does not fit again is a
    reject of the replay. Without --run all that can be replayed are. Ends with 0 when the replay is
    committed, also when rows were rejected again, and with 4 when another run holds the slot.
    """
    from etl_runner.commit.open_run import Skipped
    from etl_runner.rejects.corrections import Corrections

    rejects = open_deployment(context, Path(settings) if settings else None, local).rejects(check_id(source))
    given = Corrections.none()
    if corrections is not None:
        given = Corrections.parse(_read(corrections), str(corrections))
    output = Output(as_json)
    if not run and not any(item.state == "pending" for item in rejects.overview()):
        output.answer({"source_id": source, "outcome": "nothing"}, Text(f"{source} has no rejects to replay"))
        return
    run_id = f"replay-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    done = rejects.replay(run_id, run or (), given)
    if isinstance(done, Skipped):
        holder = done.holder
        skipped = {"source_id": source, "outcome": "skipped", "holder": asdict(holder)}
        output.answer(skipped, Text(f"skipped: run {holder.run_id} of {source} is {holder.phase}"))
        raise typer.Exit(Exit.SKIPPED)
    receipt: dict[str, Any] = done.receipt or {}
    again, loaded = receipt.get("rejects", 0), receipt.get("rows_loaded", 0)
    document = {
        "source_id": source,
        "run_id": run_id,
        "outcome": receipt.get("outcome"),
        "rows_loaded": loaded,
        "rejected_again": again,
        "receipt": receipt,
    }
    page = f"run {run_id}: {loaded} rows loaded, {again} rejected again"
    if again:
        page += f"; etl-runner rejects list {source} --run {run_id} shows them"
    if receipt.get("outcome") != "ok":
        output.answer(document, Text(f"run {run_id} failed: {receipt.get('reason')}", style="red"))
        raise typer.Exit(Exit.FAILED)
    output.answer(document, Text(page))


@app.command()
@reporting
def load(
    context: typer.Context,
    source: SourceArgument,
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="The run whose rejects were kept.")],
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Load rejects into their table that a run could not load there. Doing it twice does no harm.

    Example: etl-runner rejects load orders --run 5f1c...
    """
    rejects = open_deployment(context, Path(settings) if settings else None, local).rejects(check_id(source))
    end = rejects.load(run)
    document = {"source_id": source, "run_id": run, "table": rejects.table, **asdict(end)}
    if end.outcome != "loaded":
        Output(as_json).answer(document, Text(f"not loaded: {end.reason}", style="red"))
        raise typer.Exit(Exit.FAILED)
    Output(as_json).answer(document, Text(f"{end.rows} rejects of run {run} are in {rejects.table}"))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror}")
        raise ConfigError(str(file), (problem,)) from error


def _pages(overview: list[Any], rows: list[Any]) -> list[RenderableType]:
    if not overview:
        return [Text("no rejects")]
    runs = Table(box=None, pad_edge=False)
    for name in ("run", "rejects", "state", "rejected at"):
        runs.add_column(name, no_wrap=True, justify="right" if name == "rejects" else "left")
    for item in overview:
        at = show.moment(item.run.rejected_at)
        runs.add_row(item.run.run_id, show.count(item.run.rows), item.state, at)
    table = Table(box=None, pad_edge=False)
    for name in ("run", "where", "column", "reason", "value"):
        table.add_column(name, overflow="fold")
    for row in rows:
        place = f"unit {row.unit}, row {row.row}" if row.file is None else f"{row.file}, row {row.row}"
        if row.line is not None:
            place = f"{row.file}, line {row.line}"
        value = Text("NULL", style="dim") if row.value is None else Text(row.value[:100])
        table.add_row(row.run_id, place, row.column, row.reason, value)
    return [runs, Text(""), table]
