"""The promises of docs/guarantees.yaml, checked against the tests and rendered as docs/guarantees.md.

``python -m tests.guarantees`` writes the page.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "guarantees.yaml"
PAGE = ROOT / "docs" / "guarantees.md"


@dataclass(frozen=True)
class Guarantee:
    """One promise: the tests that prove it, or why none does yet."""

    id: str
    promise: str
    requirements: tuple[str, ...]
    proof: tuple[str, ...]
    """Test node ids, without parameters: ``tests/unit/test_x.py::TestY::test_z``."""
    gap: str | None


@dataclass(frozen=True)
class Document:
    """The whole file: groups of promises in order, then what is not promised."""

    groups: tuple[tuple[str, tuple[Guarantee, ...]], ...]
    non_guarantees: tuple[str, ...]

    @property
    def guarantees(self) -> tuple[Guarantee, ...]:
        """All promises."""
        return tuple(entry for _, entries in self.groups for entry in entries)


def read(text: str) -> Document:
    """Parse the YAML.

    Raises:
        ValueError: an entry has an unknown or missing key.
    """
    data = yaml.safe_load(text)
    groups = tuple(
        (group["name"], tuple(_entry(entry) for entry in group["entries"])) for group in data["groups"]
    )
    return Document(groups, tuple(data["non_guarantees"]))


def _entry(data: dict[str, Any]) -> Guarantee:
    needed, optional = {"id", "promise", "requirements"}, {"proof", "gap"}
    if not needed <= set(data) <= needed | optional:
        raise ValueError(f"{data.get('id', data)}: keys are {sorted(needed)} and one of {sorted(optional)}")
    return Guarantee(
        id=data["id"],
        promise=data["promise"],
        requirements=tuple(data["requirements"]),
        proof=tuple(data.get("proof", ())),
        gap=data.get("gap"),
    )


def problems(document: Document, root: Path = ROOT) -> list[str]:
    """Everything that is wrong with the document, one sentence each."""
    found: list[str] = []
    seen: set[str] = set()
    tests: dict[str, set[str]] = {}
    for entry in document.guarantees:
        if entry.id in seen:
            found.append(f"{entry.id}: the id stands twice")
        seen.add(entry.id)
        if bool(entry.proof) == bool(entry.gap):
            found.append(f"{entry.id}: has to have either a proof or a gap")
        for node in entry.proof:
            file, _, name = node.partition("::")
            if file not in tests:
                path = root / file
                tests[file] = set(names_of_tests(path.read_text())) if path.is_file() else set()
            if name.partition("[")[0] not in tests[file]:
                found.append(f"{entry.id}: there is no test {node}")
    return found


def names_of_tests(source: str) -> Iterator[str]:
    """Names of the tests in a test module: ``test_x`` and ``TestY::test_z``."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name.startswith("test_"):
                    yield f"{node.name}::{inner.name}"


def render(document: Document) -> str:
    """The page, as Markdown."""
    proved = sum(bool(entry.proof) for entry in document.guarantees)
    gaps = len(document.guarantees) - proved
    lines = [
        "# Guarantees",
        "",
        "Written from [guarantees.yaml](guarantees.yaml) by `python -m tests.guarantees`, not by hand.",
        "",
        f"{proved} promises are proved by the tests named with them, {gaps} are gaps.",
        "What is not promised stands at the end.",
    ]
    for name, entries in document.groups:
        lines += ["", f"## {name}", ""]
        for entry in entries:
            lines.append(f"- **{entry.id}** ({', '.join(entry.requirements)}): {entry.promise}")
            if entry.gap:
                lines.append(f"  - *gap*: {entry.gap}")
            lines += [f"  - [`{_short(node)}`](../{node.partition('::')[0]})" for node in entry.proof]
    lines += ["", "## Not guaranteed", ""]
    lines += [f"- {sentence}" for sentence in document.non_guarantees]
    return "\n".join(lines) + "\n"


def _short(node: str) -> str:
    return node.removeprefix("tests/")


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(read(SOURCE.read_text())))


if __name__ == "__main__":
    main()
