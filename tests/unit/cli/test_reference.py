"""The page of commands is what the commands say, and all of them say what is needed."""

from __future__ import annotations

from typer.main import get_command

from etl_runner.cli.main import app
from tools.cli_reference import PAGE, commands, page

COMMANDS = dict(commands(get_command(app)))


def test_the_page_is_written_from_the_commands() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "make generate writes it"


def test_every_command_has_an_example_of_its_own_and_json() -> None:
    assert len(COMMANDS) > 20
    for name, command in COMMANDS.items():
        assert f"Example: {name}" in (command.help or ""), name
        assert any("--json" in item.opts for item in command.params), name
