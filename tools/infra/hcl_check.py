"""The providers' schema against ``*.tf``, without terraform: names, required arguments, blocks, references.

What terraform knows beyond this (types, expressions, references between modules) is checked where there is a
terraform binary; this check needs none, and runs everywhere.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hcl2
from lark.exceptions import UnexpectedInput

from tools.infra.report import Problem, Result

_META = frozenset({"for_each", "count", "depends_on", "provider", "lifecycle", "provisioner", "connection"})
_SECTIONS = {"resource": "resource_schemas", "data": "data_source_schemas"}
_REFERENCE = re.compile(
    r"(?<![\w.])(data\.)?((?:google|archive|aws|azurerm)_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?"
)


def checks(module: Path, schemas: Sequence[Path]) -> list[Result]:
    """One result for the module's files."""
    known: dict[str, dict[str, Any]] = {"resource": {}, "data": {}}
    for path in schemas:
        for provider in json.loads(path.read_text())["provider_schemas"].values():
            for section, key in _SECTIONS.items():
                known[section].update(provider[key])
    files = {path: path.read_text() for path in sorted(module.glob("*.tf"))}
    problems: list[Problem] = []
    declared: set[tuple[str, str, str]] = set()
    parsed = []
    for path, text in files.items():
        try:
            document = hcl2.loads(
                text, serialization_options=hcl2.SerializationOptions(strip_string_quotes=True)
            )
        except UnexpectedInput as error:
            problems.append(Problem(path, max(error.line, 1), "is not HCL"))
            continue
        for section in _SECTIONS:
            for entry in document.get(section, []):
                for kind, named in entry.items():
                    for name, body in named.items():
                        declared.add((section, kind, name))
                        parsed.append((path, text, section, kind, name, body))
    for path, text, section, kind, name, body in parsed:
        block = _Block(
            path, text, _line(text, rf'{section} "{kind}" "{name}"', 1, default=1), f"{kind}.{name}"
        )
        if kind not in known[section]:
            problems.append(block.problem(None, f"there is no {section} {kind}{_near(kind, known[section])}"))
        else:
            problems += _check(body, known[section][kind]["block"], block, _META)
    for path, text in files.items():
        problems += _references(path, text, known, declared)
    detail = f"{module.name}, {len(parsed)} blocks of {len(files)} files"
    return [Result("terraform schema", tuple(dict.fromkeys(problems)), detail=detail)]


@dataclass(frozen=True)
class _Block:
    """Where a block is written."""

    path: Path
    text: str
    line: int
    name: str

    def problem(self, field: str | None, message: str) -> Problem:
        line = self.line if field is None else self.inner(rf'(dynamic ")?{field}\b').line
        return Problem(self.path, line, f"{self.name}: {message}")

    def inner(self, pattern: str, name: str = "", number: int = 1) -> _Block:
        """The block below this one's first line that is the ``number``-th to begin with the pattern."""
        line = self.line
        for _ in range(number):
            line = _line(self.text, pattern, line + 1, default=line)
        return _Block(self.path, self.text, line, f"{self.name}.{name}")


def _check(
    body: Mapping[str, Any], schema: Mapping[str, Any], block: _Block, skip: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    attributes, nested = schema["attributes"], schema["block_types"]
    given: set[str] = set()
    for name, value in body.items():
        if name in skip or name.startswith("__"):
            continue
        if name == "dynamic":
            for number, (label, content) in _dynamic(value):
                given.add(label)
                yield from _check_blocks(label, content, nested, block, number)
        elif _is_block(value):
            given.add(name)
            yield from _check_blocks(name, value, nested, block)
            limit = nested.get(name, {}).get("max_items")
            if limit and len(value) > limit:
                yield block.problem(name, f"{len(value)} blocks {name}, at most {limit}")
        else:
            given.add(name)
            if name not in attributes:
                yield block.problem(name, f"no argument {name!r}{_near(name, [*attributes, *nested])}")
            elif not (attributes[name].get("required") or attributes[name].get("optional")):
                yield block.problem(name, f"{name!r} is read-only")
    for name, attribute in attributes.items():
        if attribute.get("required") and name not in given:
            yield block.problem(None, f"the argument {name!r} is missing")
    for name, inner in nested.items():
        if inner.get("min_items") and name not in given:
            yield block.problem(None, f"the block {name!r} is missing")


def _check_blocks(
    name: str,
    bodies: Sequence[Mapping[str, Any]],
    nested: Mapping[str, Any],
    block: _Block,
    dynamic: int | None = None,
) -> Iterator[Problem]:
    """Blocks as they are written, or the content of the ``dynamic``-th dynamic one of this name."""
    if name not in nested:
        yield block.problem(name, f"no block {name!r}{_near(name, nested)}")
        return
    for number, body in enumerate(bodies, 1):
        if dynamic is None:
            inner = block.inner(rf"{name}\b", name, number)
        else:
            place = block.inner(rf'dynamic "{name}"', name, dynamic)
            inner = replace(place.inner(r"content\b"), name=place.name)
        yield from _check(body, nested[name]["block"], inner)


def _references(
    path: Path, text: str, known: Mapping[str, Mapping[str, Any]], declared: set[tuple[str, str, str]]
) -> Iterator[Problem]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for data, kind, name, attribute in _REFERENCE.findall(line):
            section = "data" if data else "resource"
            if (section, kind, name) not in declared:
                yield Problem(path, number, f"{data}{kind}.{name} is declared nowhere")
                continue
            schema = known[section].get(kind, {}).get("block")
            fields = [*schema["attributes"], *schema["block_types"]] if schema else []
            if schema and attribute and attribute not in fields:
                yield Problem(
                    path, number, f"{kind} has no attribute {attribute!r}{_near(attribute, fields)}"
                )


def _dynamic(
    value: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[int, tuple[str, list[Mapping[str, Any]]]]]:
    """How many-th of its name, name and content of each dynamic block."""
    count: Counter[str] = Counter()
    for entry in value:
        for label, body in entry.items():
            if not label.startswith("__"):
                count[label] += 1
                yield count[label], (label, body.get("content", []))


def _is_block(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and each.get("__is_block__") for each in value)
    )


def _line(text: str, pattern: str, start: int, *, default: int) -> int:
    """The first line from ``start`` on that begins with the pattern."""
    lines = text.splitlines()
    for number in range(start, len(lines) + 1):
        if re.match(rf"\s*{pattern}", lines[number - 1]):
            return number
    return default


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f", did you mean {close[0]!r}?" if close else ""
