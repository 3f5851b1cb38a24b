"""YAML source with line numbers.

Read as YAML 1.2's core types (``yes`` is text, dates are text), because that is how the service reads
definitions; JSON is YAML. Duplicate keys, anchors, aliases, merge keys and custom tags are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from local.workflows.errors import Problem

# libyaml's loader where PyYAML was built with it: ten times as fast, with the same marks.
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_PLAIN = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)


@dataclass(frozen=True)
class Scalar:
    """A number, text, boolean or null, and its line (from 1)."""

    value: Any
    line: int


@dataclass(frozen=True)
class Sequence:
    """A list and its line."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True)
class Mapping:
    """A map, its keys' lines and its own."""

    items: tuple[tuple[str, int, Node], ...]
    line: int

    def get(self, key: str) -> Node | None:
        """The value under a key, or None."""
        return next((value for name, _, value in self.items if name == key), None)

    def line_of(self, key: str) -> int:
        """The key's line."""
        return next((line for name, line, _ in self.items if name == key), self.line)

    def keys(self) -> tuple[str, ...]:
        """The keys in their order."""
        return tuple(name for name, _, _ in self.items)


Node: TypeAlias = Scalar | Sequence | Mapping


def read(text: str) -> tuple[Node | None, list[Problem]]:
    """The document's tree, and what is wrong with its YAML.

    The tree is None when the text can not be parsed at all; otherwise problems come with a tree.
    """
    problems: list[Problem] = []
    try:
        for token in yaml.scan(text, Loader=_LOADER):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                what = type(token).__name__.removesuffix("Token").lower()
                problems.append(Problem(token.start_mark.line + 1, f"a YAML {what} can not be used here"))
        if problems:
            return None, problems
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        return None, [Problem(line, f"this is not YAML: {error.problem or error.context}")]
    except yaml.YAMLError as error:
        return None, [Problem(1, f"this is not YAML: {error}")]
    if root is None:
        return None, [Problem(1, "the definition is empty")]
    return _convert(root, problems), problems


def _convert(node: yaml.Node, problems: list[Problem]) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return Sequence(tuple(_convert(item, problems) for item in node.value), line)
    if isinstance(node, yaml.MappingNode):
        items: list[tuple[str, int, Node]] = []
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                problems.append(Problem(key_line, "a key must be text"))
                continue
            key = str(key_node.value)
            if key in seen:
                problems.append(Problem(key_line, f"the key {key!r} stands there twice"))
                continue
            seen.add(key)
            items.append((key, key_line, _convert(value_node, problems)))
        return Mapping(tuple(items), line)
    assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - the third and last kind
    return Scalar(_scalar(node, problems), line)


def _scalar(node: yaml.ScalarNode, problems: list[Problem]) -> Any:
    if node.style:  # quoted; of a plain scalar it is None or empty, depending on the loader
        return node.value
    for pattern, convert in _PLAIN:
        if pattern.fullmatch(node.value):
            value = convert(node.value)
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                problems.append(Problem(node.start_mark.line + 1, f"{value} does not fit into 64 bits"))
            if isinstance(value, float) and not math.isfinite(value):
                problems.append(Problem(node.start_mark.line + 1, f"{node.value} does not fit into a double"))
            return value
    return node.value
