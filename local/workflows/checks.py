"""What every part of a definition is checked with: values, expressions, functions that can be called."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from local.workflows import connectors, http_calls, model, stdlib
from local.workflows.errors import Problem
from local.workflows.expressions import (
    Expr,
    ExpressionSyntaxError,
    FunctionCall,
    Name,
    dotted_name,
    is_expression,
    parse_target,
    parse_value,
    walk,
)
from local.workflows.source import Mapping, Node, Scalar, Sequence


@dataclass(frozen=True)
class Signature:
    """What a ``call`` step may pass."""

    names: tuple[str, ...]
    required: frozenset[str]


@dataclass
class Place:
    """Where the builder is: names that steps here can jump to, loops and parallel steps around it."""

    routine: str
    step: str | None = None
    targets: frozenset[str] = frozenset()
    in_loop: bool = False
    parallel: int = 0
    outer: frozenset[str] = frozenset()
    """Variables of the scopes outside the innermost parallel step that its branches may not write."""

    def but(self, **changes: Any) -> Place:
        return Place(**{**vars(self), **changes})


@dataclass
class RoutineFacts:
    """What is collected of one routine while it is built."""

    variables: set[str] = field(default_factory=set)
    uses: list[tuple[str, int, str | None]] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)


class Checks:
    """Collects problems, and builds values; the rest of the builder extends it."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._signatures: dict[str, Signature] = {}
        self._facts = RoutineFacts()
        self._connectors: set[str] = set()

    def _template(self, node: Node, place: Place) -> model.Template:
        match node:
            case Sequence(items, _):
                built = tuple(self._template(item, place) for item in items)
                if all(isinstance(item, model.Constant) for item in built):
                    return model.Constant([item.value for item in built if isinstance(item, model.Constant)])
                return model.ListTemplate(built)
            case Mapping(items, _):
                pairs = tuple((key, self._template(value, place)) for key, _, value in items)
                if all(isinstance(value, model.Constant) for _, value in pairs):
                    return model.Constant({k: v.value for k, v in pairs if isinstance(v, model.Constant)})
                return model.MapTemplate(pairs)
            case Scalar(str(text), line) if is_expression(text):
                try:
                    tree = parse_value(text)
                except ExpressionSyntaxError as error:
                    self._problem(line, f"{text}: {error}", place)
                    return model.Constant(None)
                self._check_tree(tree, line, place)
                return model.Computed(tree)
            case Scalar(str(text), line) if "${" in text:
                self._problem(
                    line,
                    f"{text!r}: an expression is the whole value, text is joined with + inside of it",
                    place,
                )
        assert isinstance(node, Scalar)  # noqa: S101 - the other kinds returned above
        return model.Constant(node.value)

    def _target(self, text: Any, line: int, place: Place) -> model.Target | None:
        try:
            name, keys = parse_target(str(text))
        except ExpressionSyntaxError as error:
            self._problem(line, str(error), place)
            return None
        if name in place.outer:
            self._problem(
                line, f"{name} belongs to the steps around the parallel step: name it in shared", place
            )
        if keys:
            self._facts.uses.append((name, line, place.step))
        else:
            self._facts.variables.add(name)
        for key in keys:
            self._check_tree(key, line, place)
        return model.Target(name, keys)

    def _function_name(self, node: Node, place: Place) -> str | None:
        text = node.value if isinstance(node, Scalar) else None
        if isinstance(text, str) and is_expression(text):
            try:
                name = dotted_name(parse_value(text))
            except ExpressionSyntaxError:
                name = None
            if name is not None:
                return name
        self._problem(node.line, "this names a function: ${name}", place)
        return None

    def _check_tree(self, tree: Expr, line: int, place: Place) -> None:
        for part in walk(tree):
            match part:
                case Name(name):
                    self._facts.uses.append((name, line, place.step))
                case FunctionCall(name, args):
                    self._check_function(name, len(args), line, place)

    def _check_function(self, name: str, given: int, line: int, place: Place) -> None:
        signature = self._callable(name)
        function = stdlib.FUNCTIONS.get(name)
        if signature is None:
            self._problem(line, f"unknown function {name}{hint(name, self._callables())}", place)
            return
        blocking = function.blocking if function else name not in self._signatures
        if blocking:
            self._problem(line, f"{name} waits: it can be called by a call step only", place)
        elif not len(signature.required) <= given <= len(signature.names):
            names = ", ".join(signature.names) or "none"
            self._problem(line, f"{name} is given {given} arguments, it takes: {names}", place)

    def _callable(self, name: str) -> Signature | None:
        if name in self._signatures:
            return self._signatures[name]
        if name in stdlib.FUNCTIONS:
            function = stdlib.FUNCTIONS[name]
            required = frozenset(p.name for p in function.parameters if p.required)
            return Signature(function.names(), required)
        if name in http_calls.METHODS:
            return Signature(http_calls.arguments(name), http_calls.required(name))
        if name in connectors.METHODS:
            method = connectors.METHODS[name]
            return Signature(method.arguments(), method.required())
        return None

    def _callables(self) -> tuple[str, ...]:
        return (*self._signatures, *stdlib.FUNCTIONS, *http_calls.METHODS, *connectors.METHODS)

    def _only(self, node: Mapping, known: tuple[str, ...], place: Place, where: str) -> None:
        for key, line, _ in node.items:
            if key not in known:
                self._problem(line, f"{key!r} can not stand {where}{hint(key, known)}", place)

    def _problem(self, line: int, message: str, place: Place | None = None) -> None:
        if place is None:
            self._problems.append(Problem(line, message))
        else:
            self._problems.append(Problem(line, message, place.step, place.routine))


def hint(name: str, known: Any) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
