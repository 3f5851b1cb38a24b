"""What holds for every command: help, usage errors, settings, exit codes."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from etl_runner.cli.exits import MEANING, Exit, exit_of
from etl_runner.cli.main import app
from etl_runner.errors import ConfigError, CorruptStateError, JobRefused, PermanentError, RetryableError


def _commands(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    for command in group.registered_commands:
        yield [*path, command.name or command.callback.__name__]  # type: ignore[union-attr]
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _commands(inner.typer_instance, (*path, str(inner.name)))


COMMANDS = list(_commands(app))
ETL_RUNNER = Path(sys.executable).with_name("etl-runner")
DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ETL_PROJECT", "GOOGLE_CLOUD_PROJECT", "ETL_LOCATION", "ETL_DATASET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_json(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Example: etl-runner {' '.join(command)}" in " ".join(result.stdout.split())
    assert "--json" in result.stdout


def test_help_names_every_exit_code() -> None:
    text = " ".join(re.sub(r"[│•]", " ", CliRunner().invoke(app, ["--help"]).stdout).split())
    for code, meaning in MEANING.items():
        assert f"{code.value}: {meaning}" in text


def test_the_documentation_names_every_exit_code() -> None:
    assert set(MEANING) == set(Exit)
    documented = dict(re.findall(r"^\| (\d+) \| (.+) \|$", DOCS.read_text(), flags=re.MULTILINE))
    assert documented == {str(code.value): meaning for code, meaning in MEANING.items()}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 3),
        (RetryableError("x"), 5),
        (PermanentError("x"), 6),
        (JobRefused("x"), 6),
        (CorruptStateError("x"), 6),
    ],
)
def test_errors_have_their_exit_codes(error: PermanentError, code: int) -> None:
    assert exit_of(error) == code


@pytest.mark.parametrize("arguments", [["plan"], ["plan", "a", "b"], ["stauts"], ["runs", "--limit", "0"]])
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.usefixtures("no_settings")
def test_missing_settings_are_listed_all_at_once() -> None:
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code == 3
    problems = {problem["path"] for problem in json.loads(result.stdout)["error"]["problems"]}
    assert {"ETL_PROJECT", "ETL_LOCATION", "ETL_DATASET", "ETL_STATE_BUCKET"} <= problems


@pytest.mark.usefixtures("no_settings")
def test_without_a_local_topology_local_says_how_to_start_it() -> None:
    result = CliRunner().invoke(app, ["status", "--local"])
    assert result.exit_code == 3
    assert "etl-runner local up" in result.stderr


@pytest.mark.usefixtures("no_settings")
def test_a_settings_file_with_a_broken_line_names_the_line_and_not_its_text(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("# a comment\nETL_PROJECT=p\nhunter2-secret\n")
    result = CliRunner().invoke(app, ["status", "--settings", str(file)])
    assert result.exit_code == 3
    assert "line 3" in result.stderr
    assert "hunter2-secret" not in result.stderr


def test_outside_a_clone_local_says_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name, name=name.partition(".")[0])

    monkeypatch.setattr(importlib, "import_module", missing)
    result = CliRunner().invoke(app, ["local", "up"])
    assert result.exit_code == 6
    assert "clone" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell: str) -> None:
    spoken = {
        "bash": {"COMP_WORDS": "etl-runner back", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "etl-runner back"},
        "fish": {"_TYPER_COMPLETE_ARGS": "etl-runner back", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    asked = {**os.environ, "_ETL_RUNNER_COMPLETE": f"complete_{shell}", **spoken}
    done = subprocess.run([ETL_RUNNER], env=asked, capture_output=True, text=True, check=False, timeout=60)
    assert "backfill" in done.stdout, done
    assert "reconcile" not in done.stdout


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("backfill", {"--from", "--to", "--only", "--append", "--allow-empty", "--json"}),
        ("reconcile", {"--by", "--repair", "--json"}),
    ],
)
def test_the_shell_completes_the_options_of_a_command(command: str, options: set[str]) -> None:
    words = f"etl-runner {command} --"
    spoken = {"COMP_WORDS": words, "COMP_CWORD": "2", "_ETL_RUNNER_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [ETL_RUNNER], env={**os.environ, **spoken}, capture_output=True, text=True, check=False, timeout=60
    )
    assert options <= set(done.stdout.split()), done
