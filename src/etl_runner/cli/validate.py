"""``etl-runner validate``: every problem of documents, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.errors import ConfigError, Problem
from etl_runner.state.objects import ObjectStore

_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Verdict:
    """One document: what is wrong with it, what is worth knowing."""

    document: str
    kind: str
    problems: Sequence[Problem] = ()
    warnings: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        return {
            "document": self.document,
            "kind": self.kind,
            "valid": not self.problems,
            "problems": [problem.to_json() for problem in self.problems],
            "warnings": list(self.warnings),
        }


@reporting
def validate(
    context: typer.Context,
    documents: Annotated[
        list[str], typer.Argument(help="Files (.yaml, .yml, .json), or ids of sources in the config bucket.")
    ],
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Check source and connection documents and list every problem with its field's path.

    A source file's connection is looked for in the folder connections/ beside it or beside its folder.

    Example: etl-runner validate sources/orders.yaml connections/warehouse.yaml

    Ends with 0, or with 3 when any document has a problem.
    """
    verdicts: list[Verdict] = []
    for name in documents:
        if name.endswith(_ENDINGS) or Path(name).exists():
            verdicts.append(check_file(Path(name)))
        else:
            deployment = open_deployment(context, Path(settings) if settings else None, local)
            verdicts.append(check_source(deployment.config, check_id(name), name))
    valid = not any(verdict.problems for verdict in verdicts)
    answer = {"valid": valid, "documents": [verdict.to_json() for verdict in verdicts]}
    Output(as_json).answer(answer, Group(*(_page(verdict) for verdict in verdicts)))
    if not valid:
        raise typer.Exit(Exit.CONFIGURATION)


def check_source(objects: ObjectStore, source_id: str, shown: str) -> Verdict:
    """A source of a config bucket, with the connection that it names."""
    from etl_runner.config.load import load_source

    try:
        resolved = load_source(objects, source_id)
    except ConfigError as error:
        return Verdict(shown, "source", error.problems)
    return Verdict(shown, "source", warnings=resolved.warnings)


def check_file(path: Path) -> Verdict:
    """A document in a file: a connection in a folder of that name or without a destination, else a source."""
    from etl_runner.config.load import parse_connection, parse_source

    shown = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Verdict(shown, "document", (Problem("", f"cannot be read: {error}"),))
    if _is_connection(path, text):
        try:
            return Verdict(shown, "connection", warnings=parse_connection(text, name=shown).warnings)
        except ConfigError as error:
            return Verdict(shown, "connection", error.problems)
    try:
        parsed = parse_source(text, name=shown, source_id=path.stem)
        warnings = parsed.warnings
        if parsed.connection is None:
            beside = _connection_beside(path, str(parsed.document.connection))
            if beside is None:
                unchecked = f"connection {parsed.document.connection} is not beside the file: not checked"
                warnings = (*warnings, unchecked)
            else:
                connection = parse_connection(beside.read_text(encoding="utf-8"), name=str(beside))
                warnings = parsed.resolve(connection).warnings
    except ConfigError as error:
        return Verdict(shown, "source", _named(error, shown))
    return Verdict(shown, "source", warnings=warnings)


def _connection_beside(path: Path, connection_id: str) -> Path | None:
    folders = (path.absolute().parent.parent / "connections", path.absolute().parent / "connections")
    candidates = (folder / f"{connection_id}{ending}" for folder in folders for ending in _ENDINGS)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _named(error: ConfigError, shown: str) -> tuple[Problem, ...]:
    """The error's problems, with their document's name where it is another one than the file's."""
    if error.document == shown:
        return tuple(error.problems)
    return tuple(
        replace(problem, message=f"{problem.message} (in {error.document})") for problem in error.problems
    )


def _is_connection(path: Path, text: str) -> bool:
    if path.absolute().parent.name in ("connections", "sources"):
        return path.absolute().parent.name == "connections"
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return False  # reading it as a source says what is wrong and where
    sourcelike = {"load_type", "dest_table_name", "connection", "connection_params"}
    return isinstance(data, dict) and "source_type" in data and not data.keys() & sourcelike


def _page(verdict: Verdict) -> RenderableType:
    if not verdict.problems:
        lines = [Text.assemble((f"{verdict.document}: ", ""), ("valid", "green"), f" {verdict.kind}")]
    else:
        number = len(verdict.problems)
        many = "s" if number != 1 else ""
        lines = [Text.assemble(f"{verdict.document}: ", (f"{number} problem{many}", "red"))]
        lines += [Text(f"  - {problem}") for problem in verdict.problems]
    lines += [Text(f"  warning: {warning}", style="yellow") for warning in verdict.warnings]
    return Group(*lines)
