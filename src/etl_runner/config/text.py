"""From a document's bytes to plain values, with the line of each.

YAML is read with fewer surprises than YAML 1.1 has: a plain scalar is a whole number, ``true``/``false``
or ``null`` only when it is spelt exactly so; everything else is text: dates, ``yes``, ``no``, ``on``,
``off``, ``0123``, ``1e3``, ``1.5``, ``12:30``. JSON's fractions stay text in the same way. Duplicate keys
are refused. No message repeats a value, since any value may be a credential.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from etl_runner.errors import ConfigError, Problem

Path = tuple[str, ...]
MAX_BYTES = 1_048_576
_MAX_NODES = 20_000
_MAX_DEPTH = 32
_WHOLE = re.compile(r"-?[1-9][0-9]{0,17}|0")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_TAGS = {"tag:yaml.org,2002:str", "!", None}


@dataclass(frozen=True)
class Raw:
    """A document's value and the line (from 1) on which each path begins."""

    value: Any
    lines: Mapping[Path, int] = field(default_factory=dict)


def read_document(data: bytes | str, *, name: str) -> Raw:
    """Parse JSON (when ``name`` ends in ``.json``) or YAML.

    Raises:
        ConfigError: not UTF-8, larger than 1 MiB, a syntax error (with line and column), a key twice, or
            YAML beyond plain documents (tags, merge keys, several documents).
    """
    text = _decode(data, name)
    if name.lower().endswith(".json"):
        return _read_json(text, name)
    return _read_yaml(text, name)


def _refuse(name: str, message: str, *, line: int | None = None, column: int | None = None) -> NoReturn:
    place = "" if line is None else f"line {line}" + ("" if column is None else f", column {column}") + ": "
    raise ConfigError(name, (Problem("", f"{place}{message}"),))


def _decode(data: bytes | str, name: str) -> str:
    if len(data) > MAX_BYTES:
        _refuse(name, f"is larger than {MAX_BYTES} bytes")
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
    _refuse(name, "is not UTF-8", line=line)


class _DuplicateKeyError(Exception):
    pass


def _read_json(text: str, name: str) -> Raw:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise _DuplicateKeyError
        return dict(pairs)

    def whole(digits: str) -> int | str:
        return int(digits) if _WHOLE.fullmatch(digits) else digits

    message, line, column = "", None, None
    try:
        return Raw(
            json.loads(text, object_pairs_hook=unique, parse_float=str, parse_int=whole, parse_constant=str)
        )
    except json.JSONDecodeError as error:
        message, line, column = f"is not JSON: {error.msg}", error.lineno, error.colno
    except _DuplicateKeyError:
        message = "an object has the same key twice"
    except RecursionError:
        message = "is nested too deeply"
    _refuse(name, message, line=line, column=column)


def _read_yaml(text: str, name: str) -> Raw:
    import yaml  # only where a document is read: workers get theirs from the plan

    message, mark = "", None
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        message, mark = _without_words(error.problem or "cannot be read"), error.problem_mark
    except yaml.YAMLError:
        message = "holds a control character"
    except (RecursionError, ValueError):
        message = "is nested too deeply or holds a number that is too long"
    if message:
        line, column = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
        _refuse(name, f"is not YAML: {message}", line=line, column=column)
    if node is None:
        return Raw(None)
    builder = _Builder(name)
    return Raw(builder.value(node, (), 0), builder.lines)


def _without_words(problem: str) -> str:
    """The parser's message without what it quotes from the document; its own token names stay."""
    return re.sub(r"(['\"])(?!<[a-z ]+>\1)(?:.{2,}?)\1", "a word", problem, flags=re.DOTALL)


class _Builder:
    """Python values from YAML's nodes."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Path, int] = {}
        self._name = name
        self._nodes = 0

    def value(self, node: Any, path: Path, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            _refuse(self._name, "is nested too deeply or is too large", line=line)
        if node.id == "scalar":
            return self._scalar(node, line)
        if node.tag not in (f"tag:yaml.org,2002:{'map' if node.id == 'mapping' else 'seq'}", "!", None):
            _refuse(self._name, "a YAML tag is used, which is not supported", line=line)
        if node.id == "sequence":
            return [self.value(item, (*path, str(i)), depth + 1) for i, item in enumerate(node.value)]
        return dict(self._items(node, path, depth))

    def _items(self, node: Any, path: Path, depth: int) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.id != "scalar":
                _refuse(self._name, "a key is not text", line=line)
            key = key_node.value
            if key == "<<" and key_node.style is None:
                _refuse(self._name, "a merge key (<<) is used, which is not supported", line=line)
            if key in seen:
                where = f"the same key is already on line {seen[key]}"
                _refuse(
                    self._name, f"duplicate key: {where}", line=line, column=key_node.start_mark.column + 1
                )
            seen[key] = line
            self.lines[(*path, key)] = line
            yield key, self.value(value_node, (*path, key), depth + 1)

    def _scalar(self, node: Any, line: int) -> Any:
        if node.tag not in _TAGS:
            _refuse(self._name, "a YAML tag is used, which is not supported", line=line)
        text: str = node.value
        if node.style is not None or node.tag == "!":
            return text
        if text in _WORDS:
            return _WORDS[text]
        return int(text) if _WHOLE.fullmatch(text) else text
