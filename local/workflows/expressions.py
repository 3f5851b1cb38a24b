"""Parser of ``${...}`` expressions: text to a syntax tree, without ever evaluating text as code.

Grammar and precedence follow the Workflows documentation, "Data types, functions, operators"::

    or < and < comparison, equality, in < + - < * / // % < unary minus < not < access

``not`` binds tighter than every binary operator, so ``not a == b`` means ``(not a) == b`` there and
here. Logical operators are all lower or all upper case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from local.workflows.limits import EXPRESSION_CHARACTERS
from local.workflows.values import INT_MAX


class ExpressionSyntaxError(Exception):
    """Text that is no expression; the message says where, counted in characters from 1."""


@dataclass(frozen=True)
class Literal:
    """A number, string, boolean or null."""

    value: Any


@dataclass(frozen=True)
class ListOf:
    """``[a, b]``."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Name:
    """A variable, or the first part of a function's name."""

    name: str


@dataclass(frozen=True)
class Access:
    """``of.key`` and ``of[key]``; ``dotted`` tells them apart."""

    of: Expr
    key: Expr
    dotted: bool


@dataclass(frozen=True)
class FunctionCall:
    """``name(args)``, the name with its dots."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Unary:
    """``-x`` and ``not x``."""

    operator: str
    operand: Expr


@dataclass(frozen=True)
class Binary:
    """``left operator right``."""

    operator: str
    left: Expr
    right: Expr


Expr: TypeAlias = Literal | ListOf | Name | Access | FunctionCall | Unary | Binary

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![A-Za-z_]))
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>==|!=|<=|>=|//|[-+*/%<>()\[\].,])""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    "null": None,
}
_WORDS = {"and": "and", "AND": "and", "or": "or", "OR": "or", "not": "not", "NOT": "not", "in": "in"}
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", '"': '"', "'": "'", "/": "/"}
_MAX_DEPTH = 50


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def is_expression(text: str) -> bool:
    """True for text that is one ``${...}`` from end to end."""
    stripped = text.strip()
    return stripped.startswith("${") and stripped.endswith("}")


def parse_value(text: str) -> Expr:
    """Parse ``${...}``.

    Raises:
        ExpressionSyntaxError: not an expression, or one above the limit of 400 characters.
    """
    stripped = text.strip()
    if not is_expression(stripped):
        raise ExpressionSyntaxError("an expression is written ${...}")
    if len(stripped) > EXPRESSION_CHARACTERS:
        raise ExpressionSyntaxError(
            f"the expression has {len(stripped)} characters, the limit is {EXPRESSION_CHARACTERS}"
        )
    return parse(stripped[2:-1])


def parse(text: str) -> Expr:
    """Parse what stands between ``${`` and ``}``.

    Raises:
        ExpressionSyntaxError: it is no expression.
    """
    return _Parser(text).whole()


def parse_target(text: str) -> tuple[str, tuple[Expr, ...]]:
    """Parse what an assignment or a result writes to: a variable and the keys into it.

    Raises:
        ExpressionSyntaxError: not a variable, or a variable's element.
    """
    tree = parse(text)
    keys: list[Expr] = []
    while isinstance(tree, Access):
        keys.append(tree.key)
        tree = tree.of
    if not isinstance(tree, Name):
        raise ExpressionSyntaxError(f"{text!r} is not a variable that can be assigned")
    return tree.name, tuple(reversed(keys))


def walk(tree: Expr) -> Iterator[Expr]:
    """The tree's nodes, itself first."""
    yield tree
    match tree:
        case ListOf(items):
            children: tuple[Expr, ...] = items
        case Access(of, key, _):
            children = (of, key)
        case FunctionCall(_, args):
            children = args
        case Unary(_, operand):
            children = (operand,)
        case Binary(_, left, right):
            children = (left, right)
        case _:
            children = ()
    for child in children:
        yield from walk(child)


def dotted_name(tree: Expr) -> str | None:
    """``a.b.c`` for a chain of dotted names, None for anything else."""
    parts: list[str] = []
    while isinstance(tree, Access) and tree.dotted and isinstance(tree.key, Literal):
        parts.append(str(tree.key.value))
        tree = tree.of
    if not isinstance(tree, Name):
        return None
    return ".".join([tree.name, *reversed(parts)])


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionSyntaxError(f"{text[at]!r} at character {at + 1} can not stand there")
        kind = match.lastgroup or ""
        if kind == "name" and match[0] in _WORDS:
            yield _Token("operator", _WORDS[match[0]], at)
        elif kind != "space":
            yield _Token(kind, match[0], at)
        at = match.end()
    yield _Token("end", "", at)


def _unquote(token: _Token) -> str:
    def escape(match: re.Match[str]) -> str:
        code = match[1]
        if code.startswith("u"):
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise ExpressionSyntaxError(f"\\{code} at character {token.at + 1} is no escape")
        return _ESCAPES[code]

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", escape, token.text[1:-1], flags=re.DOTALL)


class _Parser:
    """Recursive descent, one method a level of precedence."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def whole(self) -> Expr:
        tree = self._or()
        self._expect("end")
        return tree

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *operators: str) -> str | None:
        token = self._peek()
        if token.kind == "operator" and token.text in operators:
            self._next += 1
            return token.text
        return None

    def _expect(self, kind: str, text: str = "") -> _Token:
        token = self._peek()
        if token.kind != kind or (text and token.text != text):
            found = f"{token.text!r} at character {token.at + 1}" if token.text else "the end"
            raise ExpressionSyntaxError(f"expected {text or kind}, found {found}")
        self._next += 1
        return token

    def _or(self) -> Expr:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpressionSyntaxError("the expression is nested too deeply")
        tree = self._and()
        while operator := self._take("or"):
            tree = Binary(operator, tree, self._and())
        self._depth -= 1
        return tree

    def _and(self) -> Expr:
        tree = self._comparison()
        while operator := self._take("and"):
            tree = Binary(operator, tree, self._comparison())
        return tree

    def _comparison(self) -> Expr:
        tree = self._sum()
        while operator := self._take(*_COMPARISONS):
            tree = Binary(operator, tree, self._sum())
        return tree

    def _sum(self) -> Expr:
        tree = self._product()
        while operator := self._take("+", "-"):
            tree = Binary(operator, tree, self._product())
        return tree

    def _product(self) -> Expr:
        tree = self._unary()
        while operator := self._take("*", "/", "//", "%"):
            tree = Binary(operator, tree, self._unary())
        return tree

    def _unary(self) -> Expr:
        signs: list[str] = []
        while operator := self._take("-", "not"):
            signs.append(operator)
        tree = self._postfix()
        for sign in reversed(signs):
            tree = Unary(sign, tree)
        return tree

    def _postfix(self) -> Expr:
        tree = self._primary()
        while operator := self._take(".", "[", "("):
            if operator == ".":
                tree = Access(tree, Literal(self._expect("name").text), dotted=True)
            elif operator == "[":
                tree = Access(tree, self._or(), dotted=False)
                self._expect("operator", "]")
            else:
                name = dotted_name(tree)
                if name is None:
                    raise ExpressionSyntaxError("only a function's name can stand before ( )")
                tree = FunctionCall(name, self._items(")"))
        return tree

    def _items(self, closing: str) -> tuple[Expr, ...]:
        items: list[Expr] = []
        if not self._take(closing):
            items.append(self._or())
            while self._take(","):
                items.append(self._or())
            self._expect("operator", closing)
        return tuple(items)

    def _primary(self) -> Expr:
        token = self._peek()
        if self._take("("):
            tree = self._or()
            self._expect("operator", ")")
            return tree
        if self._take("["):
            return ListOf(self._items("]"))
        if token.kind not in ("number", "string", "name"):
            found = f"{token.text!r} at character {token.at + 1}" if token.text else "the end"
            raise ExpressionSyntaxError(f"expected a value, found {found}")
        self._next += 1
        if token.kind == "string":
            return Literal(_unquote(token))
        if token.kind == "name":
            return Literal(_CONSTANTS[token.text]) if token.text in _CONSTANTS else Name(token.text)
        if token.text.isdecimal():
            if int(token.text) > INT_MAX:
                raise ExpressionSyntaxError(f"{token.text} does not fit into 64 bits")
            return Literal(int(token.text))
        return Literal(float(token.text))
