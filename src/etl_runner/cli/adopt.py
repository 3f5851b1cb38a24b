"""``etl-runner adopt``: take over an existing installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from etl_runner.adopt import adopt_files, adopt_value, read_processed
from etl_runner.cli import show
from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.errors import ConfigError, Problem
from etl_runner.state.ledger import Ledger
from etl_runner.state.store import StateStore

_LISTED = 20


@reporting
def adopt(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id.")],
    last_sync_value: Annotated[
        str | None,
        typer.Option("--last-sync-value", help="Where the earlier system stopped [default: the document's]."),
    ] = None,
    processed: Annotated[
        Path | None,
        typer.Option("--processed", help="Files that it has processed: JSON, JSON Lines, CSV or names."),
    ] = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Take over an existing installation's last value or processed files; nothing is loaded again.

    Files that have changed since (by last_modified, where the list has it) are left for the next run.

    Example: etl-runner adopt orders --last-sync-value "2026-11-01 00:00:00+00"
    """
    from etl_runner.config.database import DatabaseSource
    from etl_runner.config.load import load_source

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    resolved = load_source(deployment.config, check_id(source))
    store = StateStore(deployment.state, source)
    if isinstance(resolved.document, DatabaseSource):
        value = last_sync_value or resolved.document.last_sync_value
        if value is None or processed is not None:
            raise _wrong("--last-sync-value", "a database source takes over a value: give --last-sync-value")
        adopt_value(store, str(value))
        told = Text(f"{source}: the next run begins after {value}")
        Output(as_json).answer({"source_id": source, "watermark": {"value": str(value)}}, told)
        return
    if processed is None:
        raise _wrong("--processed", "a source of files takes over files: give --processed FILE")
    try:
        text = processed.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong("--processed", f"{processed} cannot be read: {error}") from error
    files = deployment.open_files(resolved)
    prefix = getattr(resolved.connection, "prefix", None) or ""
    done = adopt_files(
        store, Ledger(deployment.state, source), files.list(prefix), read_processed(text, str(processed))
    )
    document: dict[str, Any] = {
        "source_id": source,
        "adopted": done.adopted,
        "changed": list(done.changed),
        "gone": list(done.gone),
    }
    page: list[RenderableType] = [Text(f"{source}: {show.count(done.adopted)} files are taken over")]
    for names, what in ((done.changed, "changed since, will be loaded"), (done.gone, "no longer there")):
        page += [Text(f"{what}: {name}") for name in names[:_LISTED]]
        if len(names) > _LISTED:
            page.append(Text(f"... and {len(names) - _LISTED} more"))
    Output(as_json).answer(document, *page)


def _wrong(option: str, message: str) -> ConfigError:
    return ConfigError("command line", (Problem(option, message),))
