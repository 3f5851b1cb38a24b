"""Evaluation of parsed expressions.

Types of results follow the tables of "Data types, functions, operators" (implicit conversions); errors
carry the documented tags TypeError, KeyError, IndexError, ValueError and ZeroDivisionError.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Protocol

from local.workflows.errors import tagged
from local.workflows.expressions import (
    Access,
    Binary,
    Expr,
    FunctionCall,
    ListOf,
    Literal,
    Name,
    Unary,
    dotted_name,
)
from local.workflows.values import checked_integer, equal, is_number, to_text, type_name


class Environment(Protocol):
    """What an expression can reach: the variables in scope, and functions."""

    def variable(self, name: str) -> Any:
        """The variable's value; a WorkflowError tagged KeyError when there is none."""

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        """The result of a function or a subworkflow."""


def evaluate(tree: Expr, environment: Environment) -> Any:
    """The value of an expression.

    Raises:
        WorkflowError: with the tag of the documentation.
    """
    match tree:
        case Literal(value):
            return value
        case ListOf(items):
            return [evaluate(item, environment) for item in items]
        case Name(name):
            return environment.variable(name)
        case Access(of, key, _):
            return element(evaluate(of, environment), evaluate(key, environment), dotted_name(of) or "value")
        case FunctionCall(name, args):
            return environment.call(name, tuple(evaluate(arg, environment) for arg in args))
        case Unary(sign, operand):
            return _unary(sign, evaluate(operand, environment))
        case Binary("and" | "or" as word, left, right):
            first = _boolean(evaluate(left, environment), word)
            if first == (word == "or"):
                return first
            return _boolean(evaluate(right, environment), word)
        case Binary(symbol, left, right):
            return binary(symbol, evaluate(left, environment), evaluate(right, environment))


def element(of: Any, key: Any, name: str = "value") -> Any:
    """``of[key]`` of a map or a list."""
    if isinstance(of, dict):
        if not isinstance(key, str):
            raise tagged("TypeError", f"a key of a map is a string, not a {type_name(key)} ({name})")
        if key not in of:
            raise tagged("KeyError", f"key not found: {key}")
        return of[key]
    if isinstance(of, list):
        return of[list_index(of, key)]
    raise tagged("TypeError", f"{name} is a {type_name(of)}, which has no elements")


def list_index(of: list[Any], key: Any) -> int:
    """The key as an index into the list, within its bounds."""
    if not isinstance(key, int) or isinstance(key, bool):
        raise tagged("TypeError", f"an index of a list is an integer, not a {type_name(key)}")
    if not 0 <= key < len(of):
        raise tagged("IndexError", f"index {key} is out of range of a list of {len(of)}")
    return key


def binary(symbol: str, left: Any, right: Any) -> Any:
    """``left symbol right`` for every operator but ``and`` and ``or``, which may skip their right side."""
    if symbol == "==":
        return equal(left, right)
    if symbol == "!=":
        return not equal(left, right)
    if symbol == "in":
        return _contains(right, left)
    if symbol in _ORDER:
        comparable = (is_number(left) and is_number(right)) or (
            isinstance(left, str) and isinstance(right, str)
        )
        if not comparable:
            raise _mismatch(symbol, left, right)
        return _ORDER[symbol](left, right)
    if symbol == "+" and (isinstance(left, str) or isinstance(right, str)):
        if left is None or right is None or isinstance(left, list | dict) or isinstance(right, list | dict):
            raise _mismatch(symbol, left, right)
        return to_text(left) + to_text(right)
    if not (is_number(left) and is_number(right)):
        raise _mismatch(symbol, left, right)
    return _arithmetic(symbol, left, right)


def _arithmetic(symbol: str, left: float, right: float) -> int | float:
    if symbol in ("/", "//", "%") and right == 0:
        raise tagged("ZeroDivisionError", "division by zero")
    try:
        result: int | float = _ARITHMETIC[symbol](left, right)
    except OverflowError as error:
        raise tagged("ValueError", f"the result of {symbol} does not fit into a double") from error
    return checked_integer(result) if isinstance(result, int) else result


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _floor(left: float, right: float) -> int:
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    quotient = left / right
    if not math.isfinite(quotient):
        raise tagged("ValueError", "the quotient is not finite")
    return math.floor(quotient)


_ARITHMETIC: dict[str, Callable[[Any, Any], int | float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": _floor,
    "%": operator.mod,
}


def _unary(sign: str, value: Any) -> Any:
    if sign == "not":
        return not _boolean(value, "not")
    if not is_number(value):
        raise tagged("TypeError", f"- takes a number, not a {type_name(value)}")
    return checked_integer(-value) if isinstance(value, int) else -value


def _boolean(value: Any, word: str) -> bool:
    if not isinstance(value, bool):
        raise tagged("TypeError", f"{word} takes booleans, not a {type_name(value)}")
    return value


def _contains(container: Any, item: Any) -> bool:
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if isinstance(container, list):
        return any(equal(item, other) for other in container)
    raise tagged("TypeError", f"in takes a list or a map on its right, not a {type_name(container)}")


def _mismatch(symbol: str, left: Any, right: Any) -> Exception:
    return tagged("TypeError", f"{symbol} does not take a {type_name(left)} and a {type_name(right)}")
