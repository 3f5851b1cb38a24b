"""Serve one function on this machine, as the platform would: ``make run-function F=plan PORT=8080``.

The deployment is the one of the environment; with a local topology up, the one of ``.local/settings.env``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent


def settings(path: Path) -> dict[str, str]:
    """The KEY=VALUE lines of a settings file; no file, no settings."""
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def main(arguments: list[str]) -> NoReturn:
    functions = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))
    if len(arguments) != 1 or arguments[0] not in functions:
        sys.exit(f"make run-function F=<function> [PORT=8080]; functions: {', '.join(functions)}")
    name = arguments[0]
    command = [
        str(ROOT / ".venv" / "bin" / "functions-framework"),
        f"--source={ROOT / 'functions' / name / 'main.py'}",
        "--target=main",
        "--host=127.0.0.1",
        "--signature-type=http",
        f"--port={os.environ.get('PORT', '8080')}",
    ]
    # The settings of the environment win: one variable can be tried out on the command line.
    environment = {**settings(ROOT / ".local" / "settings.env"), **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), environment.get("PYTHONPATH", "")])
    os.execve(command[0], command, environment)  # noqa: S606 - this process becomes the server


if __name__ == "__main__":
    main(sys.argv[1:])
