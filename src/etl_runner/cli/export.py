"""``etl-runner export-config``: a source without a credential in its documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import RenderableType
from rich.text import Text

from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.sources import check_id
from etl_runner.errors import ConfigError, Problem


@reporting
def export_config(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id, or a file with its document.")],
    folder: Annotated[
        Path | None, typer.Option("--output", help="Write the two documents into this folder.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Project of the secrets [default: the deployment's].")
    ] = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Rewrite a source as a source and a connection document whose credentials are in Secret Manager.

    The commands that create the secrets are shown; they ask for each value. No value is shown or written.

    Example: etl-runner export-config orders --output exported
    """
    from etl_runner.config.export import export_config as exported
    from etl_runner.config.load import load_source, parse_source

    path = Path(source)
    if path.suffix in (".yaml", ".yml", ".json"):
        text = _read(path)
        parsed = parse_source(text, name=source, source_id=path.stem)
        if parsed.connection is None:
            problem = Problem(
                "connection", "is a document of its own: export the source from the config bucket"
            )
            raise ConfigError(source, (problem,))
        resolved = parsed.resolve(parsed.connection)
        secrets_in = project or open_deployment(context, settings, local).settings.project
    else:
        deployment = open_deployment(context, Path(settings) if settings else None, local)
        resolved = load_source(deployment.config, check_id(source))
        secrets_in = project or deployment.settings.project
    made = exported(resolved, project=secrets_in)
    documents = {
        f"sources/{resolved.source_id}.yaml": made.document,
        f"connections/{made.connection_id}.yaml": made.connection,
    }
    texts = {
        name: yaml.safe_dump(value, sort_keys=False, allow_unicode=True) for name, value in documents.items()
    }
    page: list[RenderableType] = []
    for name, content in texts.items():
        if folder is None:
            page.append(Text(f"# {name}\n{content}"))
        else:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
            page.append(Text(f"wrote {target}"))
    page += [Text(command) for command in made.commands]
    Output(as_json).answer({"documents": documents, "commands": list(made.commands)}, *page)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), (Problem("", f"cannot be read: {error}"),)) from error
