"""Where the command's words go: pages or one JSON document to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType

from etl_runner.cli.exits import Exit
from etl_runner.errors import ConfigError


@dataclass(frozen=True)
class Output:
    """One command's output. With ``as_json`` stdout gets exactly one JSON document and nothing else."""

    as_json: bool

    def answer(self, document: dict[str, Any], *page: RenderableType) -> None:
        """Give the command's answer: the document, or the page that shows it to people."""
        if self.as_json:
            write_json(document)
            return
        console = page_console()
        for part in page:
            console.print(part)

    def say(self, text: str) -> None:
        """Something for people beside the answer, on stderr."""
        stderr_console().print(text, markup=False, highlight=False)

    def failure(self, error: Exception, code: Exit) -> None:
        """One clear message on stderr, and with ``as_json`` the same as a document on stdout."""
        if self.as_json:
            write_json(error_document(error, code))
        stderr_console().print(str(error), markup=False, highlight=False, soft_wrap=True)


def page_console() -> Console:
    """For pages: as wide as the terminal, wide enough for any table where there is none."""
    console = Console(file=sys.stdout, highlight=False)
    return console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=200)


def stderr_console() -> Console:
    """For messages and progress."""
    return Console(file=sys.stderr, highlight=False)


def write_json(document: dict[str, Any]) -> None:
    """One document, readable, non-ASCII as it is."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def write_line(document: dict[str, Any]) -> None:
    """One document on one line, sent at once."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def error_document(error: Exception, code: Exit) -> dict[str, Any]:
    """``{"error": {"type", "message", "problems"}, "exit_code"}``."""
    told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, ConfigError):
        told["document"] = error.document
        told["problems"] = [problem.to_json() for problem in error.problems]
    return {"error": told, "exit_code": int(code)}
