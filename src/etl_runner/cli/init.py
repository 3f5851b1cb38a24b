"""``etl-runner init``: a first source document from the live source."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.config.connections import BucketConnection
from etl_runner.errors import ConfigError, ObjectExists, PermanentError, Problem
from etl_runner.proposal import database_document, file_document, format_of

_LOOK_AT = 1_000


@reporting
def init(
    context: typer.Context,
    connection: Annotated[str, typer.Argument(help="The connection's id, in the config bucket.")],
    what: Annotated[str, typer.Argument(help="A table, also schema.table; or a prefix within the bucket.")],
    save: Annotated[
        str | None, typer.Option("--save", metavar="ID", help="Put it into the config bucket as this source.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Write it to this file.")] = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Propose a source document: columns, key, cursor and strategy, with the reasons as comments.

    Looks at the source's metadata only. An existing document or file is never overwritten.

    Example: etl-runner init warehouse public.orders --save orders
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    text = propose_document(deployment, check_id(connection), what)
    written = []
    if output is not None:
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            problem = Problem("--output", f"{output} cannot be written: {error.strerror}")
            raise ConfigError("command line", (problem,)) from error
        written.append(str(output))
    if save is not None:
        name = f"sources/{check_id(save)}.yaml"
        try:
            deployment.config.create(name, text.encode(), "application/yaml")
        except ObjectExists as error:
            raise PermanentError(
                f"{deployment.config.uri(name)} is there already: choose another id"
            ) from error
        written.append(deployment.config.uri(name))
    page = [Text(f"wrote {name}") for name in written] or [Text(text.rstrip("\n"))]
    Output(as_json).answer({"document": text, "written": written}, *page)


def propose_document(deployment: Deployment, connection_id: str, what: str) -> str:
    """The proposal for a table or prefix of a connection, as YAML with comments.

    Raises:
        ConfigError: the connection or the table does not exist.
        RetryableError, PermanentError: the source cannot be reached, or refuses.
    """
    from etl_runner.config.load import load_connection, parse_source

    found = load_connection(deployment.config, connection_id)
    source_type = found.connection.source_type
    base = {
        "source_type": source_type,
        "connection": connection_id,
        "load_type": "catalog",
        "dest_table_name": "proposed",
    }
    if isinstance(found.connection, BucketConnection):
        parsed = parse_source(
            {**base, "file_pattern": "*", "file_format": "csv"}, name="init", source_id="init"
        )
        files = deployment.open_files(parsed.resolve(found, stored=True))
        prefix = found.connection.prefix + what.strip("/") + ("/" if what.strip("/") else "")
        listed = [file.name for file in itertools.islice(files.list(prefix), _LOOK_AT)]
        if not listed:
            raise ConfigError("init", (Problem("prefix", "no object's name begins with it", found=prefix),))
        names = [name.removeprefix(found.connection.prefix) for name in listed]
        kind, pattern = format_of([name.removeprefix(what.strip("/")).lstrip("/") for name in names])
        inner = what.strip("/")
        table = re.sub("[^A-Za-z0-9_]+", "_", inner or connection_id).strip("_").lower()
        whole = f"{inner}/{pattern}" if inner else pattern
        return file_document(source_type, connection_id, whole, kind, table or "files", names)
    schema, _, table = what.rpartition(".")
    named = {"source_table_name": table, **({"schema_name": schema} if schema else {})}
    parsed = parse_source({**base, **named}, name="init", source_id="init")
    description = deployment.open_source(parsed.resolve(found, stored=True)).describe()
    return database_document(source_type, connection_id, schema or None, table, description)
