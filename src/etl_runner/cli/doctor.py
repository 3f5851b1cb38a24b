"""``etl-runner doctor``: what is missing of a deployment, and what mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import RenderableType
from rich.text import Text

from etl_runner.cli.deployment import cloud_deployment, read_settings
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output

if TYPE_CHECKING:
    from etl_runner.doctor.diagnose import Report


@reporting
def doctor(
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Look at a deployment's functions, workflow, job, buckets, schedules and permissions; change nothing.

    Each finding comes with the command that mends it.

    Example: etl-runner doctor --settings my.env

    Ends with 0 when all is as it should be, else with 6.
    """
    # Imported here: --help of any command starts without Google's libraries.
    from etl_runner.doctor.diagnose import diagnose
    from etl_runner.gcp.admin import GoogleCloud

    known = read_settings(Path(settings) if settings else None, local)
    report = diagnose(known, cloud_deployment(known).config, GoogleCloud(known))
    Output(as_json).answer(report.to_json(), *_page(report))
    if report.findings:
        raise typer.Exit(Exit.BLOCKED)


def _page(report: Report) -> list[RenderableType]:
    looked = f"{report.things} things, {report.grants} grants and {report.documents} documents looked at: "
    if not report.findings:
        return [Text(looked + "all is as it should be", style="green")]
    page: list[RenderableType] = [Text(f"{looked}{len(report.findings)} findings")]
    for finding in report.findings:
        page.append(Text(f"\n{finding.thing}: {finding.problem}", style="red", overflow="fold"))
        page.append(Text(f"  {finding.command}", overflow="fold"))
    return page
