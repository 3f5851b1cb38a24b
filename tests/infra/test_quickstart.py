"""What the quickstart has its reader write and run is what the commands and the module take."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml
from typer.testing import CliRunner

from etl_runner.cli.main import app
from tools.deploy import _VARIABLES
from tools.infra.modules import ROOT

PAGE = (ROOT / "docs" / "quickstart-cloud.md").read_text()
MODULE = ROOT / "infra" / "terraform"


def written() -> dict[str, tuple[str, str]]:
    """File to (operator of the shell, text) of each here-document of the page."""
    found = re.findall(r"^cat (>>?) my-sources/(\S+) <<'EOF'\n(.*?)^EOF$", PAGE, re.MULTILINE | re.DOTALL)
    return {file: (operator, text) for operator, file, text in found}


def test_a_source_is_one_file_and_a_line_of_the_schedules(tmp_path: Path) -> None:
    folder = tmp_path / "my-sources"
    shutil.copytree(MODULE / "example", folder)
    assert set(written()) == {"sources/invoices.yaml", "schedules.yaml"}
    for file, (operator, text) in written().items():
        assert (operator == ">>") == (folder / file).exists()
        with (folder / file).open("a" if operator == ">>" else "w") as out:
            out.write(text)
    result = CliRunner().invoke(app, ["validate", str(folder / "sources" / "invoices.yaml")])
    assert result.exit_code == 0, result.output
    schedules = yaml.safe_load((folder / "schedules.yaml").read_text())
    assert set(schedules) == {"orders", "customers", "invoices"}
    assert set(schedules["invoices"]) <= {"cron", "time_zone", "paused", "alert_after_minutes"}


def test_the_five_variables_are_those_without_a_default() -> None:
    declared = re.findall(
        r'^variable "(\w+)" \{\n(.*?)^\}', (MODULE / "variables.tf").read_text(), re.M | re.S
    )
    needed = {name for name, body in declared if not re.search(r"^  default ", body, re.MULTILINE)}
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert set(rows) == needed
    assert set(rows.values()) == {*_VARIABLES, "IMAGE"}
