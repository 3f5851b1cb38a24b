"""``etl-runner files``: a source's files that wait, that were set aside, that are loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.errors import ConfigError, Problem

_SHOWN = 200
"""Characters of an event's body; all of it with ``--json``."""
SourceArgument = Annotated[str, typer.Argument(help="The source's id.")]


class _ListFirst(TyperGroup):
    """``files orders`` is ``files list orders``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["list", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_ListFirst,
    help="A source's files: waiting, set aside, loaded.\n\nExample: etl-runner files sales",
    no_args_is_help=True,
)


@app.command("list")
@reporting
def list_files(
    context: typer.Context,
    source: SourceArgument,
    latest: Annotated[int, typer.Option("--latest", min=0, help="Loaded files to show, the newest.")] = 10,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show what has arrived, what was set aside and why, what is loaded, and the table's operations.

    Example: etl-runner files list sales --latest 50
    """
    from etl_runner.events.report import files_report

    report = files_report(_parts(context, settings, local), check_id(source), latest)
    Output(as_json).answer(report, *_page(report))


@app.command()
@reporting
def replay(
    context: typer.Context,
    source: SourceArgument,
    uris: Annotated[list[str] | None, typer.Argument(metavar="[URI]...", help="Files to try again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All files that were set aside.")] = False,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Try files again that were set aside after too many attempts, once what was wrong is mended.

    Example: etl-runner files replay sales gs://my-bucket/in/sales-17.csv
    """
    if bool(uris) == everything:
        raise ConfigError("command line", (Problem("URI", "name the files, or give --all"),))
    from etl_runner.events.report import replay as replay_files

    done = replay_files(_parts(context, settings, local), check_id(source), uris or (), everything)
    text = "nothing was set aside" if not done else f"{len(done)} files arrive again:\n" + "\n".join(done)
    Output(as_json).answer({"source_id": source, "replayed": done}, Text(text))


@app.command()
@reporting
def unreadable(
    context: typer.Context,
    forget: Annotated[bool, typer.Option("--forget", help="Delete them, once they are dealt with.")] = False,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show the events that could not be read, of all sources, with the reason and what they said.

    Example: etl-runner files unreadable --json
    """
    kept = _parts(context, settings, local).unreadable
    events = [asdict(event) for event in kept.all()]
    page: list[Any] = [Text(f"{len(events)} events could not be read")]
    if events:
        table = Table("at", "reason", "body")
        for event in events:
            table.add_row(event["at"], Text(event["reason"]), Text(event["body"][:_SHOWN]))
        page.append(table)
    if forget:
        page.append(Text(f"{kept.forget()} are deleted"))
    Output(as_json).answer({"unreadable": events, "forgotten": forget}, *page)


def _parts(context: typer.Context, settings: Path | None, local: bool) -> Any:
    from etl_runner.events.settings import EventSettings
    from etl_runner.events.wiring import EventParts

    # The command's deployment is the functions' own, or one in a test's memory.
    deployment: Any = open_deployment(context, Path(settings) if settings else None, local)
    return EventParts(deployment, EventSettings())


def _page(report: dict[str, Any]) -> list[Any]:
    table = report["table"]
    interval = table["batch_interval_seconds"]
    pace = "no batch until the oldest is a day old" if interval is None else f"a batch every {interval:g} s"
    page: list[Any] = [
        Text(
            f"{report['source_id']}: {len(report['waiting'])} files wait, {len(report['set_aside'])} are set "
            f"aside, {report['loaded']['files']} are loaded"
        ),
        Text(
            f"{table['name']}: {table['operations_in_24_hours']} of {table['allowed']} operations used in "
            f"24 hours, {pace} at most"
        ),
    ]
    if report["blocked"]:
        page.append(Text(f"{report['blocked']['runs']} runs failed: {report['blocked']['reason']}", "red"))
    page += _tables(report)
    return page


def _tables(report: dict[str, Any]) -> list[Table]:
    shown = (
        ("Waiting", report["waiting"], ("uri", "size", "noted", "attempts", "reason")),
        ("Set aside", report["set_aside"], ("uri", "kind", "attempts", "at", "reason")),
        ("Loaded, the newest", report["loaded"]["latest"], ("uri", "size", "rows", "outcome", "run_id")),
    )
    tables = []
    for title, rows, columns in shown:
        if rows:
            table = Table(*columns, title=title, title_justify="left")
            for row in rows:
                table.add_row(*(Text("" if row[name] is None else str(row[name])) for name in columns))
            tables.append(table)
    return tables
