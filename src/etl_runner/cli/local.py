"""``etl-runner local``: the whole topology on this machine."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.options import AsJson, reporting
from etl_runner.cli.output import Output
from etl_runner.errors import PermanentError

app = typer.Typer(
    no_args_is_help=True,
    help="Start, stop and look at the whole topology on this machine.\n\nExample: etl-runner local up",
)


Clouds = Annotated[
    str, typer.Option("--with", metavar="s3,azure", help="Storage of other clouds to start, too.")
]


@app.command()
@reporting
def up(clouds: Clouds = "", as_json: AsJson = False) -> None:
    """Start every part on loopback and write .local/settings.env; parts that run already stay.

    Example: etl-runner local up --with s3,azure
    """
    output = Output(as_json)
    wanted = [name.strip() for name in clouds.split(",") if name.strip()]
    if not as_json:
        more = "".join(f"{name}, " for name in wanted)
        output.say(
            "starting PostgreSQL, Cloud Storage, BigQuery, Pub/Sub, Workflows, Cloud Run, "
            f"{more}functions ..."
        )
    _answer(output, _stack().up(clouds=wanted))


@app.command()
@reporting
def down(as_json: AsJson = False) -> None:
    """Stop every part.

    Example: etl-runner local down
    """
    _stack().down()
    Output(as_json).answer({"running": False}, Text("the local topology is stopped"))


@app.command()
@reporting
def status(as_json: AsJson = False) -> None:
    """Show which parts run, and where.

    Example: etl-runner local status --json
    """
    _answer(Output(as_json), _stack().status())


def _answer(output: Output, parts: dict[str, Any]) -> None:
    table = show.facts()
    for name, value in parts.items():
        table.add_row(name, str(value))
    output.answer(parts, table)


def _stack() -> Any:
    """The package ``local``, which is in the repository and not in the wheel.

    Raises:
        PermanentError: it is not there.
    """
    if Path("local/stack.py").exists():  # a console script does not look into the current folder
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module("local.stack")
    except ModuleNotFoundError as error:
        if error.name not in ("local", "local.stack"):
            raise PermanentError(f"{error.name} is not installed: `make setup` in the repository") from error
        raise PermanentError(
            "the local topology is part of the repository, not of the installed package: "
            "run this command in a clone of it, after `make setup`"
        ) from error
