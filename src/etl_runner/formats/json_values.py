"""JSON values exactly as they are written: numbers stay text, and a key that stands twice is noticed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


class Number(str):
    """A number's own text: ``1.10``, ``1e400``, 30 digits."""

    __slots__ = ()


class BadJson(ValueError):  # noqa: N818 - what a value is
    """Not one JSON value, or one that cannot be kept exactly; the message completes "the row ..."."""


class Word(str):
    """``NaN``, ``Infinity`` or ``-Infinity``, which Python's parser takes and JSON has not."""

    __slots__ = ()


class Repeating(dict[str, Any]):
    """An object that has keys more than once."""

    keys_twice: frozenset[str] = frozenset()


class Parser:
    """Parses JSON texts one after another. ``odd`` tells whether the last value has a :class:`Word` or a
    :class:`Repeating` somewhere; :func:`refuse_odd` finds it in the part of the value that matters."""

    def __init__(self) -> None:
        self.odd = False
        self._decoder = json.JSONDecoder(
            parse_int=Number, parse_float=Number, parse_constant=self._word, object_pairs_hook=self._object
        )

    def parse(self, text: str) -> Any:
        """The value of one JSON text: dict, list, str, :class:`Number`, bool or None.

        Raises:
            BadJson: not JSON (RFC 8259), more than one value, half a surrogate pair, nested too deeply.
        """
        self.odd = False
        try:
            value = self._decoder.decode(text)
        except json.JSONDecodeError as error:
            raise BadJson(f"is not JSON: {error.msg} at character {error.pos + 1}") from error
        except RecursionError as error:
            raise BadJson("is nested too deeply") from error
        if "\\u" in text:
            _whole_text(value)
        return value

    def _word(self, name: str) -> Word:
        self.odd = True
        return Word(name)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        self.odd = True
        odd = Repeating(value)
        counts = Counter(key for key, _ in pairs)
        odd.keys_twice = frozenset(key for key, count in counts.items() if count > 1)
        return odd


def refuse_odd(value: Any) -> None:
    """Refuse a value that is not JSON, or not one value.

    Raises:
        BadJson: it holds NaN or an infinity, or an object with a key twice.
    """
    if isinstance(value, Word):
        raise BadJson(f"is not JSON: {value} is no JSON number")
    if isinstance(value, Repeating):
        raise BadJson(f"has the key {min(value.keys_twice)!r} twice in one object")
    if isinstance(value, dict):
        for item in value.values():
            refuse_odd(item)
    elif isinstance(value, list):
        for item in value:
            refuse_odd(item)


def write(value: Any) -> str:
    """The value as JSON text: keys in their order, numbers as they were written, no spaces."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quote(key)}:{write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(item) for item in value) + "]"
    if isinstance(value, str):
        return _quote(value)
    return "null" if value is None else "true" if value else "false"


_quote = json.JSONEncoder(ensure_ascii=False).encode


def _whole_text(value: Any) -> None:
    """Refuse half a surrogate pair, which UTF-8 cannot hold."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise BadJson("holds half a surrogate pair, which is no text") from error
