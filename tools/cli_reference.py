"""Write the commands' section of docs/cli.md from the commands: ``python -m tools.cli_reference``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
BEGIN, END = "<!-- commands: begin, written by make generate -->", "<!-- commands: end -->"
_COMMON = ("--json", "--settings", "--local", "--help")


def commands(group: Any, prefix: str = "etl-runner") -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, groups looked into."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def reference() -> str:
    """The section, as Markdown."""
    from typer.main import get_command

    from etl_runner.cli.main import app

    lines = []
    for name, command in commands(get_command(app)):
        lines += [f"### `{_usage(name, command)}`", "", *_paragraphs(command), ""]
        options = [_option(item) for item in command.params if _told(item)]
        lines += [*options, ""] if options else []
    return "\n".join(lines).rstrip() + "\n"


def page(text: str) -> str:
    """The page with its section written anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{reference()}\n{END}{tail}"


def _usage(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    names = [(item.metavar or item.name or "").upper() for item in arguments]
    words = [name + ("..." if item.nargs == -1 else "") for name, item in zip(names, arguments, strict=True)]
    shown = [word if item.required else f"[{word}]" for word, item in zip(words, arguments, strict=True)]
    return " ".join([name, *shown])


def _paragraphs(command: Any) -> list[str]:
    text = re.sub(r"[ \t]+", " ", command.help or "")
    lines = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        flat = " ".join(paragraph.split())
        example = flat.removeprefix("Example: ")
        lines += [f"```\n{example}\n```" if example != flat else flat, ""]
    return lines[:-1]


def _told(item: Any) -> bool:
    return item.param_type_name == "option" and not any(name in _COMMON for name in item.opts)


def _option(item: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*item.opts, *item.secondary_opts))
    return f"- {names}: {item.help}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
