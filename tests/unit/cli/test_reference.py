"""The page of commands is what the commands say, and all of them say what is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from etl_runner.cli.main import app
from tools.cli_reference import PAGE, commands, page

COMMANDS = dict(commands(get_command(app)))
SPEAKING = {
    name: command
    for name, command in COMMANDS.items()
    if any("--settings" in item.opts for item in command.params)
}
"""Those that speak to a deployment."""


def test_the_page_is_written_from_the_commands() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "make generate writes it"


def test_every_command_has_an_example_of_its_own_and_json() -> None:
    assert len(COMMANDS) > 20
    for name, command in COMMANDS.items():
        assert f"Example: {name}" in (command.help or ""), name
        assert any("--json" in item.opts for item in command.params), name


def _required(command: Any) -> list[str]:
    """Something for each argument and option that has to be given."""
    words: list[str] = []
    for item in command.params:
        if item.required:
            words += ["x"] if item.param_type_name == "argument" else [item.opts[0], "x"]
    return words


@pytest.mark.parametrize("name", SPEAKING)
def test_every_command_that_fails_says_so_in_one_document_and_by_its_exit_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = name.removeprefix("etl-runner ").split()
    given = [*_required(SPEAKING[name]), "--settings", "missing.env", "--json"]
    result = CliRunner().invoke(app, [*words, *given])
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["exit_code"], answer["error"]["type"]) == (3, 3, "ConfigError")
    assert result.stderr.strip() == answer["error"]["message"]
    assert "Traceback" not in result.output
