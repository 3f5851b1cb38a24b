"""The repository's own pages and commands stay true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
WANTED = (
    *("help", "setup", "demo", "test", "lint", "type", "bench", "model", "infra", "local-up", "local-down"),
    *("clean", "run-function"),
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_make_help_is_the_default_and_describes_every_target() -> None:
    told = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    described = re.sub(r"\x1b\[[0-9;]*m", "", told).splitlines()
    targets = {line.split()[0] for line in described if len(line.split()) > 1}
    assert set(WANTED) <= targets


def test_ci_runs_the_tests_and_the_demo() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "make test" in text
    assert "make demo" in text


def test_an_unknown_function_is_refused_with_those_that_there_are() -> None:
    command = [sys.executable, str(ROOT / "tools" / "run_function.py"), "nope"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "finalize, plan, sweep, trigger" in done.stderr


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
