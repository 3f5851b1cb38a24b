"""Subscription filters. https://cloud.google.com/pubsub/docs/subscription-message-filter"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Filter = Callable[[Mapping[str, str]], bool]
"""Whether a message with these attributes passes."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<symbol>!=|[=:.,()-])
    | (?P<word>[A-Za-z_][A-Za-z0-9_-]*)
    )""",
    re.VERBOSE,
)


class FilterSyntaxError(ValueError):
    """A filter that the service would refuse."""


def parse_filter(text: str) -> Filter:
    """Compile a filter; an empty one passes everything.

    Raises:
        FilterSyntaxError: naming what stands where something else should.
    """
    return _Parser(text).parse() if text.strip() else lambda _: True


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)
        self._position = 0

    def parse(self) -> Filter:
        result = self._expression()
        if self._peek() is not None:
            raise self._unexpected()
        return result

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens: list[str] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise FilterSyntaxError(f"Filter: unexpected {text[position:].strip()[:20]!r}.")
            tokens.append(match[0].strip())
            position = match.end()
        return tokens

    def _peek(self) -> str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _unexpected(self) -> FilterSyntaxError:
        return FilterSyntaxError(f"Filter {self._text!r}: unexpected {self._peek() or 'end'!r}.")

    def _accept(self, token: str) -> bool:
        if self._peek() == token:
            self._position += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise self._unexpected()

    def _expression(self) -> Filter:
        # AND and OR may not be mixed without parentheses.
        parts = [self._term()]
        operator = self._peek()
        if operator in ("AND", "OR"):
            while self._accept(operator):
                parts.append(self._term())
            if operator == "AND":
                return lambda attributes: all(part(attributes) for part in parts)
            return lambda attributes: any(part(attributes) for part in parts)
        return parts[0]

    def _term(self) -> Filter:
        if self._accept("NOT") or self._accept("-"):
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if self._accept("("):
            inner = self._expression()
            self._expect(")")
            return inner
        if self._accept("hasPrefix"):
            self._expect("(")
            key = self._attribute()
            self._expect(",")
            prefix = self._string()
            self._expect(")")
            return lambda attributes: attributes.get(key, "").startswith(prefix)
        if self._accept("attributes"):
            if self._accept(":"):
                name = self._key()
                return lambda attributes: name in attributes
            self._expect(".")
            key = self._key()
            equal = self._accept("=")
            if not equal:
                self._expect("!=")
            value = self._string()
            # A message without the attribute is "not equal" too.
            return lambda attributes: (attributes.get(key) == value) == equal
        raise self._unexpected()

    def _attribute(self) -> str:
        self._expect("attributes")
        self._expect(".")
        return self._key()

    def _key(self) -> str:
        token = self._peek()
        if token is None or not (token[0].isalpha() or token[0] in '_"'):
            raise self._unexpected()
        self._position += 1
        return _unquoted(token) if token[0] == '"' else token

    def _string(self) -> str:
        token = self._peek()
        if token is None or token[0] != '"':
            raise self._unexpected()
        self._position += 1
        return _unquoted(token)


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])
