"""``etl-runner show``: one run in full."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from etl_runner.cli import show as facts
from etl_runner.cli.cancel import SourceOption
from etl_runner.cli.deployment import open_deployment
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output
from etl_runner.cli.progress import ProgressReader
from etl_runner.cli.sources import the_run
from etl_runner.cli.watch import sentence, utc_now


@reporting
def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    source: SourceOption = None,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Show one run: its receipt, or how far it is.

    Example: etl-runner show 0d5f6a6c-4c4e-4bb0-9d43-7f3d0f0b4e55 --json
    """
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    found = the_run(deployment, run, source)
    document: dict[str, Any] = {"source_id": found.source_id, "run_id": run, "receipt": found.receipt}
    page: list[RenderableType] = []
    if found.receipt is not None:
        page.append(facts.receipt_facts(found.receipt))
        if found.receipt.get("rejects_objects"):
            objects = "\n".join(deployment.staging.uri(name) for name in found.receipt["rejects_objects"])
            page.append(Text(f"rejected rows are in\n{objects}"))
    else:
        progress = ProgressReader(deployment.state, deployment.staging, found.source_id, run).read()
        document["progress"] = progress.to_json()
        page.append(Text(f"{found.source_id}: {sentence(progress, utc_now())}"))
        if found.slot is not None:
            page.append(Text(f"it holds the slot until {facts.moment(found.slot.deadline)}"))
    Output(as_json).answer(document, *page)
