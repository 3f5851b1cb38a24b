"""``etl-runner connections``: which there are, and whether they work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output

app = typer.Typer(
    no_args_is_help=True,
    help="List connections, and test whether they work.\n\nExample: etl-runner connections test warehouse",
)


@app.command("list")
@reporting
def list_connections(
    context: typer.Context, settings: SettingsFile = None, local: Local = False, as_json: AsJson = False
) -> None:
    """List the connection documents of the config bucket.

    Example: etl-runner connections list
    """
    from etl_runner.config.load import document_ids

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    ids = document_ids(deployment.config, "connections")
    table = Table("connection", box=None, pad_edge=False)
    for connection_id in ids:
        table.add_row(connection_id)
    Output(as_json).answer({"connections": ids}, table if ids else Text("there are no connections"))


@app.command("test")
@reporting
def test_connection(
    context: typer.Context,
    connection: Annotated[str, typer.Argument(help="The connection's id, or a source's with --source.")],
    table: Annotated[
        str | None, typer.Option("--table", help="Databases: also test that this table can be read.")
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Test the connection that this source names or carries.")
    ] = False,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Connect as a run would and say in one sentence what answers, or what is wrong.

    Runs from this machine with this shell's access to secrets; the deployed function `plan` does the same
    from where runs are planned, see docs/connections.md. Ends with 0 (it works), 3 (the document is wrong),
    5 (a later attempt can succeed) or 6 (something has to be changed).

    Example: etl-runner connections test warehouse --table sales.orders
    """
    from etl_runner.config.load import load_connection, load_source
    from etl_runner.connections.check import Surroundings, verdict

    deployment = open_deployment(context, Path(settings) if settings else None, local)
    if source:
        found = load_source(deployment.config, connection).connection
    else:
        found = load_connection(deployment.config, connection).stored()
    around = deployment.settings
    result = verdict(
        found,
        deployment.secrets,
        Surroundings(around.project, around.storage_endpoint, around.bigquery_endpoint),
        table,
    )
    output = Output(as_json)
    output.answer(
        {"connection": connection, "ok": result.ok, "message": result.sentence, "retry": result.retry},
        Text(result.sentence, style="" if result.ok else "red"),
    )
    if not result.ok:
        raise typer.Exit(Exit.RETRY if result.retry else Exit.BLOCKED)
