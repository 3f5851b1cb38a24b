"""What is wrong before anything is verified is one sentence."""

from __future__ import annotations

import pytest

from etl_runner.errors import ConfigError, Problem
from tools import verify_cloud


def test_without_a_local_topology_it_says_what_starts_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ConfigError("settings.env", (Problem("", "there is no local topology here"),))

    monkeypatch.setattr(verify_cloud, "_local", missing)
    assert verify_cloud.main(["--local"]) == 2
    assert "there is no local topology here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["--project", "p"], ["--local", "--project", "p", "--dataset", "d"]]
)
def test_a_half_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_cloud.main(arguments) == 2
    assert "give --project and --dataset, or --local" in capsys.readouterr().err
