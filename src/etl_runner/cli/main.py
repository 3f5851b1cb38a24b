"""The ``etl-runner`` command."""

from __future__ import annotations

import typer

from etl_runner.cli import connections, exits, files, history, local, rejects
from etl_runner.cli.adopt import adopt
from etl_runner.cli.backfill import backfill
from etl_runner.cli.cancel import cancel
from etl_runner.cli.details import show
from etl_runner.cli.doctor import doctor
from etl_runner.cli.export import export_config
from etl_runner.cli.init import init
from etl_runner.cli.plan import plan
from etl_runner.cli.preview import preview
from etl_runner.cli.reconcile import reconcile
from etl_runner.cli.repair import reset, resolve
from etl_runner.cli.retry import retry
from etl_runner.cli.run import run
from etl_runner.cli.runs import runs
from etl_runner.cli.status import status
from etl_runner.cli.validate import validate

app = typer.Typer(
    name="etl-runner",
    help="Exact loading of databases and cloud files into BigQuery.\n\nExample: etl-runner plan orders\n\n"
    "Completion in the shell: etl-runner --install-completion",
    epilog="Exit codes:\n\n" + exits.table(),
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    *(init, validate, preview, plan, run, status, runs, show),
    *(backfill, reconcile, retry, cancel, resolve, reset, adopt, export_config, doctor),
)
for command in COMMANDS:
    app.command(name=command.__name__.replace("_", "-"))(command)
app.add_typer(connections.app, name="connections")
app.add_typer(files.app, name="files")
app.add_typer(history.app, name="history")
app.add_typer(rejects.app, name="rejects")
app.add_typer(local.app, name="local")


def main() -> None:
    """Entry point of the console script."""
    app()
