"""Definitions: from YAML or JSON source to a checked model, or to every problem in it at once.

The syntax is that of "Workflows syntax overview" and the pages that it links to (Steps, Assignments,
Conditions, Iteration, Parallel steps, Retries, Catch errors, Raise errors, Subworkflows). What is not
written there is refused; where it is silent the stricter reading is taken, so that a definition that
runs here is accepted there.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from local.workflows import connectors, http_calls, limits, model, stdlib
from local.workflows.errors import DefinitionError, Problem
from local.workflows.expressions import (
    Access,
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
from local.workflows.source import Mapping, Node, Scalar, Sequence, read

_JUMPS = ("end", "break", "continue")
_ACTIONS = ("assign", "call", "switch", "for", "parallel", "try", "raise", "return", "steps")
_ALSO = {
    "assign": ("next",),
    "call": ("args", "result", "next"),
    "switch": ("next",),
    "for": ("next",),
    "parallel": ("next",),
    "try": ("retry", "except", "next"),
    "raise": (),
    "return": (),
    "steps": ("next",),
}


@dataclass(frozen=True)
class Signature:
    """What a ``call`` step may pass."""

    names: tuple[str, ...]
    required: frozenset[str]


@dataclass
class _Place:
    """Where the builder is: names that steps here can jump to, loops and parallel steps around it."""

    routine: str
    step: str | None = None
    targets: frozenset[str] = frozenset()
    in_loop: bool = False
    parallel: int = 0
    outer: frozenset[str] = frozenset()
    """Variables of the scopes outside the innermost parallel step that its branches may not write."""

    def but(self, **changes: Any) -> _Place:
        return _Place(**{**vars(self), **changes})


@dataclass
class _RoutineFacts:
    """What is collected of one routine while it is built."""

    variables: set[str] = field(default_factory=set)
    uses: list[tuple[str, int, str | None]] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)


def load(text: str, *, name: str = "workflow") -> model.Definition:
    """Check a definition and make it ready to run. ``name`` is for messages.

    Raises:
        DefinitionError: with every problem found, each with its step and line.
    """
    size = len(text.encode())
    if size > limits.SOURCE_BYTES:
        problem = Problem(1, f"the source has {size} bytes, the limit is {limits.SOURCE_BYTES}")
        raise DefinitionError(name, [problem])
    tree, problems = read(text)
    if tree is None:
        raise DefinitionError(name, problems)
    return _Builder(name, text, problems).build(tree)


class _Builder:
    def __init__(self, name: str, text: str, problems: list[Problem]) -> None:
        self._name = name
        self._text = text
        self._problems = problems
        self._signatures: dict[str, Signature] = {}
        self._facts = _RoutineFacts()
        self._connectors: set[str] = set()

    # -- the document ---------------------------------------------------------------------------

    def build(self, tree: Node) -> model.Definition:
        sources = self._routine_sources(tree)
        for name, line, source in sources:
            self._signatures[name] = self._signature(name, line, source)
        routines = {name: self._routine(name, line, source) for name, line, source in sources}
        if self._problems:
            raise DefinitionError(self._name, self._problems)
        return model.Definition(self._name, self._text, routines, frozenset(self._connectors))

    def _routine_sources(self, tree: Node) -> list[tuple[str, int, Mapping]]:
        if isinstance(tree, Sequence):  # a main workflow without parameters may stand alone
            return [("main", tree.line, Mapping((("steps", tree.line, tree),), tree.line))]
        if not isinstance(tree, Mapping):
            self._problem(tree.line, "a definition is a list of steps, or main and its subworkflows")
            return []
        found = []
        for name, line, source in tree.items:
            if not name.isidentifier():
                self._problem(line, f"{name!r} is no name for a workflow")
            elif isinstance(source, Mapping):
                found.append((name, line, source))
            else:
                self._problem(line, f"{name} must be a map with steps and, if it takes any, params")
        if tree.get("main") is None:
            self._problem(tree.line, "there is no main workflow")
        return found

    def _signature(self, routine: str, line: int, source: Mapping) -> Signature:
        names: list[str] = []
        optional: set[str] = set()
        for name, _, default in self._params(source):
            names.append(name)
            if default is not None:
                optional.add(name)
        if routine == "main" and len(names) > 1:
            self._problem(line, "main takes one parameter: the execution's argument")
        return Signature(tuple(names), frozenset(names) - optional)

    def _params(self, source: Mapping) -> list[tuple[str, int, Node | None]]:
        params = source.get("params")
        if not isinstance(params, Sequence):
            return []
        found: list[tuple[str, int, Node | None]] = []
        for item in params.items:
            match item:
                case Scalar(str(name), line):
                    found.append((name, line, None))
                case Mapping(((name, line, default),), _):
                    found.append((name, line, default))
        return found

    def _routine(self, name: str, line: int, source: Mapping) -> model.Routine:
        self._facts = _RoutineFacts()
        place = _Place(name)
        self._only(source, ("params", "steps"), place, f'in "{name}"')
        params = source.get("params")
        well_formed = self._params(source)
        if params is not None and (not isinstance(params, Sequence) or len(well_formed) != len(params.items)):
            self._problem(params.line, "params is a list of names, or name: default", place)
        defaults: dict[str, Any] = {}
        for param, param_line, default in well_formed:
            if not param.isidentifier():
                self._problem(param_line, f"{param!r} is no name for a parameter", place)
            if param in self._facts.variables:
                self._problem(param_line, f"the parameter {param} stands there twice", place)
            self._facts.variables.add(param)
            if default is not None:
                template = self._template(default, place)
                if isinstance(template, model.Constant):
                    defaults[param] = template.value
                else:
                    self._problem(param_line, f"the default of {param} must be a constant", place)
        steps = source.get("steps")
        if steps is None:
            self._problem(line, f'"{name}" has no steps', place)
            block = model.Block((), {})
        else:
            block = self._block(steps, place)
        for variable, at, step in self._facts.uses:
            if variable not in self._facts.variables:
                self._problem(at, f"the variable {variable} is never assigned", _Place(name, step))
        return model.Routine(name, line, tuple(param for param, _, _ in well_formed), defaults, block)

    # -- steps ----------------------------------------------------------------------------------

    def _block(self, node: Node, place: _Place) -> model.Block:
        if not isinstance(node, Sequence) or not node.items:
            self._problem(node.line, "steps is a list of at least one step", place)
            return model.Block((), {})
        named: list[tuple[str, int, Node]] = []
        for item in node.items:
            if isinstance(item, Mapping) and len(item.items) == 1:
                named.append(item.items[0])
            else:
                self._problem(item.line, "a step is one name with what it does", place)
        for name, line, _ in named:
            if name in _JUMPS:
                self._problem(line, f"{name!r} can not be a step's name", place)
            elif name in self._facts.steps:
                first = self._facts.steps[name]
                self._problem(line, f"another step has this name, on line {first}", place.but(step=name))
            self._facts.steps.setdefault(name, line)
        inner = place.but(targets=place.targets | {name for name, _, _ in named})
        steps = tuple(self._step(name, line, body, inner) for name, line, body in named)
        return model.Block(steps, {step.name: number for number, step in enumerate(steps)})

    def _step(self, name: str, line: int, body: Node, place: _Place) -> model.Step:
        place = place.but(step=name)
        if not isinstance(body, Mapping) or not body.items:
            self._problem(line, "a step is a map that says what it does", place)
            return model.Step(name, line, model.Nothing())
        if body.keys() == ("next",):
            return model.Step(name, line, model.Nothing(), self._next(body, place))
        action = self._action(body, place)
        return model.Step(name, line, action, self._next(body, place))

    def _action(self, body: Mapping, place: _Place, extra: tuple[str, ...] = ()) -> model.Action:
        """What a step, a case, a try or an except does; ``extra`` are keys that belong around it."""
        kinds = [key for key in body.keys() if key in _ACTIONS]  # noqa: SIM118 - not a dict
        if len(kinds) != 1:
            unknown = [key for key in body.keys() if key not in (*extra, "next")]  # noqa: SIM118
            if kinds:
                self._problem(body.line, f"one step can not do both {' and '.join(kinds)}", place)
            elif unknown:
                self._only(body, (*_ACTIONS, *extra, "next"), place, "in a step")
            else:
                self._problem(body.line, "nothing says what is to be done here", place)
            return model.Nothing()
        kind = kinds[0]
        self._only(body, (kind, *_ALSO[kind], *extra), place, f"beside {kind}")
        value = body.get(kind)
        assert value is not None  # noqa: S101 - it is among the keys
        builders: MappingOf[str, Callable[[], model.Action]] = {
            "assign": lambda: self._assign(value, place),
            "call": lambda: self._call(body, value, place),
            "switch": lambda: self._switch(value, place),
            "for": lambda: self._for(value, place),
            "parallel": lambda: self._parallel(value, place),
            "try": lambda: self._try(body, value, place),
            "raise": lambda: model.Raise(self._template(value, place)),
            "return": lambda: self._return(value, place),
            "steps": lambda: model.Nested(self._block(value, place)),
        }
        return builders[kind]()

    def _next(self, body: Mapping, place: _Place) -> str | None:
        node = body.get("next")
        if node is None:
            return None
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._problem(node.line, "next is the name of a step", place)
            return None
        name = node.value
        if name in ("break", "continue"):
            if not place.in_loop:
                self._problem(node.line, f"next: {name} stands outside of a for loop", place)
        elif name == "end":
            if place.parallel:
                self._problem(node.line, "next: end can not leave a parallel step", place)
        elif name not in place.targets:
            self._problem(
                node.line,
                f"next: there is no step {name!r} to go to from here{_hint(name, place.targets)}",
                place,
            )
        return name

    def _no_next(self, body: Mapping, where: str, place: _Place) -> None:
        if body.get("next") is not None:
            self._problem(body.line_of("next"), f"next stands beside {where}, not in it", place)

    def _assign(self, node: Node, place: _Place) -> model.Action:
        if not isinstance(node, Sequence):
            self._problem(node.line, "assign is a list of assignments", place)
            return model.Nothing()
        if len(node.items) > limits.ASSIGNMENTS:
            count = len(node.items)
            self._problem(node.line, f"{count} assignments, the limit is {limits.ASSIGNMENTS}", place)
        assignments: list[tuple[model.Target, model.Template]] = []
        for item in node.items:
            if not isinstance(item, Mapping) or len(item.items) != 1:
                self._problem(item.line, "an assignment is one variable and its value", place)
                continue
            text, line, value = item.items[0]
            template = self._template(value, place)
            target = self._target(text, line, place)
            if target is not None:
                assignments.append((target, template))
        return model.Assign(tuple(assignments))

    def _target(self, text: Any, line: int, place: _Place) -> model.Target | None:
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

    def _return(self, node: Node, place: _Place) -> model.Action:
        if place.parallel:
            self._problem(node.line, "return can not leave a parallel step", place)
        return model.Return(self._template(node, place))

    # -- call -----------------------------------------------------------------------------------

    def _call(self, body: Mapping, node: Node, place: _Place) -> model.Action:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._problem(node.line, "call is the name of a function", place)
            return model.Nothing()
        function = node.value
        signature = self._callable(function)
        if signature is None:
            self._problem(
                node.line, f"unknown function {function}{_hint(function, self._callables())}", place
            )
        args: dict[str, model.Template] = {}
        args_node = body.get("args")
        if args_node is not None and not isinstance(args_node, Mapping):
            self._problem(args_node.line, "args is a map of names and values", place)
        if isinstance(args_node, Mapping):
            for name, line, value in args_node.items:
                if signature is not None and name not in signature.names:
                    hint = _hint(name, signature.names)
                    self._problem(line, f"{function} takes no argument {name!r}{hint}", place)
                args[name] = self._template(value, place)
        if signature is not None:
            for name in sorted(signature.required - args.keys()):
                self._problem(node.line, f"{function} needs the argument {name}", place)
        for line, text in _constant_problems(function, args_node):
            self._problem(line, text, place)
        if function in connectors.METHODS:
            self._connectors.add(function)
        result = body.get("result")
        target = None
        if result is not None:
            if isinstance(result, Scalar) and isinstance(result.value, str):
                target = self._target(result.value, result.line, place)
            else:
                self._problem(result.line, "result is the name of a variable", place)
        return model.Call(function, args, target)

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

    # -- switch, for, parallel, try -------------------------------------------------------------

    def _switch(self, node: Node, place: _Place) -> model.Action:
        if not isinstance(node, Sequence) or not node.items:
            self._problem(node.line, "switch is a list of conditions", place)
            return model.Nothing()
        if len(node.items) > limits.CONDITIONS:
            self._problem(node.line, f"{len(node.items)} conditions, the limit is {limits.CONDITIONS}", place)
        cases: list[model.Case] = []
        for item in node.items:
            condition = item.get("condition") if isinstance(item, Mapping) else None
            if not isinstance(item, Mapping) or condition is None:
                self._problem(item.line, "a case of a switch begins with its condition", place)
                continue
            template = self._template(condition, place)
            if isinstance(template, model.Constant) and not isinstance(template.value, bool):
                self._problem(condition.line, "a condition is an expression, true or false", place)
            if set(item.keys()) - {"condition"} <= {"next"}:
                if item.get("next") is None:
                    self._problem(item.line, "nothing says what happens when the condition holds", place)
                action: model.Action = model.Nothing()
            else:
                action = self._action(item, place, extra=("condition",))
            cases.append(model.Case(template, action, self._next(item, place)))
        return model.Switch(tuple(cases))

    def _for(self, node: Node, place: _Place, *, parallel: bool = False) -> model.Action:
        if not isinstance(node, Mapping):
            self._problem(node.line, "for is a map with value, in or range, and steps", place)
            return model.Nothing()
        self._only(node, ("value", "index", "in", "range", "steps"), place, "in a for loop")
        value = self._loop_name(node, "value", place)
        index = self._loop_name(node, "index", place)
        if value is None:
            self._problem(node.line, "a for loop names its value", place)
        items, span = node.get("in"), node.get("range")
        if (items is None) == (span is None):
            self._problem(node.line, "a for loop has either in or range", place)
        if index is not None and span is not None:
            self._problem(node.line_of("index"), "a loop over a range has no index", place)
        if isinstance(span, Sequence) and len(span.items) != 2:
            self._problem(span.line, "range is a list of two numbers: first and last", place)
        steps = node.get("steps")
        if steps is None:
            self._problem(node.line, "a for loop has no steps", place)
            block = model.Block((), {})
        else:
            # Jumps do not cross a loop's border, and iterations of a parallel loop can not stop one another.
            block = self._block(steps, place.but(targets=frozenset(), in_loop=not parallel))
        return model.For(
            value or "",
            index,
            None if items is None else self._template(items, place),
            None if span is None else self._template(span, place),
            block,
        )

    def _loop_name(self, node: Mapping, key: str, place: _Place) -> str | None:
        found = node.get(key)
        if found is None:
            return None
        if (
            not isinstance(found, Scalar)
            or not isinstance(found.value, str)
            or not found.value.isidentifier()
        ):
            self._problem(found.line, f"{key} is the name of a variable", place)
            return None
        self._facts.variables.add(found.value)
        return found.value

    def _parallel(self, node: Node, place: _Place) -> model.Action:
        if not isinstance(node, Mapping):
            self._problem(node.line, "parallel is a map with branches or for", place)
            return model.Nothing()
        known = ("exception_policy", "shared", "concurrency_limit", "branches", "for")
        self._only(node, known, place, "in a parallel step")
        depth = place.parallel + 1
        if depth > limits.PARALLEL_DEPTH:
            self._problem(node.line, f"parallel steps nest {limits.PARALLEL_DEPTH} deep at most", place)
        shared = self._shared(node, place)
        policy = node.get("exception_policy")
        if policy is not None and (not isinstance(policy, Scalar) or policy.value != "continueAll"):
            self._problem(policy.line, "exception_policy is continueAll or left out", place)
        concurrency = self._concurrency(node, place)
        branches, loop = node.get("branches"), node.get("for")
        if (branches is None) == (loop is None):
            self._problem(node.line, "a parallel step has either branches or for", place)
        outer = frozenset(self._facts.variables) - set(shared)
        inside = place.but(targets=frozenset(), in_loop=False, parallel=depth, outer=outer)
        found: list[tuple[str, model.Block]] = []
        built_loop: model.For | None = None
        if branches is not None:
            found = self._branches(branches, inside)
        if loop is not None:
            built = self._for(loop, inside, parallel=True)
            built_loop = built if isinstance(built, model.For) else None
        return model.Parallel(shared, policy is not None, concurrency, tuple(found), built_loop)

    def _shared(self, node: Mapping, place: _Place) -> tuple[str, ...]:
        shared = node.get("shared")
        if shared is None:
            return ()
        if not isinstance(shared, Sequence):
            self._problem(shared.line, "shared is a list of variables", place)
            return ()
        names: list[str] = []
        for item in shared.items:
            if not isinstance(item, Scalar) or not isinstance(item.value, str):
                self._problem(item.line, "shared is a list of variables", place)
            elif item.value not in self._facts.variables:
                self._problem(
                    item.line, f"the shared variable {item.value} is assigned by no earlier step", place
                )
            elif item.value in place.outer:
                self._problem(
                    item.line, f"{item.value} is not shared by the parallel step around this one", place
                )
            else:
                names.append(item.value)
        return tuple(names)

    def _concurrency(self, node: Mapping, place: _Place) -> int | None:
        found = node.get("concurrency_limit")
        if found is None:
            return None
        value = found.value if isinstance(found, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._problem(found.line, "concurrency_limit is a whole number above zero", place)
            return None
        return value

    def _branches(self, node: Node, place: _Place) -> list[tuple[str, model.Block]]:
        found: list[tuple[str, model.Block]] = []
        if not isinstance(node, Sequence) or not 2 <= len(node.items) <= limits.BRANCHES:
            self._problem(node.line, f"branches is a list of 2 to {limits.BRANCHES} branches", place)
            return found
        for item in node.items:
            if not isinstance(item, Mapping) or len(item.items) != 1:
                self._problem(item.line, "a branch is one name with its steps", place)
                continue
            name, line, body = item.items[0]
            steps = body.get("steps") if isinstance(body, Mapping) else None
            if not isinstance(body, Mapping) or steps is None:
                self._problem(line, f"the branch {name} has no steps", place)
                continue
            self._only(body, ("steps",), place, f"in the branch {name}")
            found.append((name, self._block(steps, place)))
        return found

    def _try(self, body: Mapping, node: Node, place: _Place) -> model.Action:
        if not isinstance(node, Mapping):
            self._problem(node.line, "try is a call or a list of steps", place)
            return model.Nothing()
        inner = self._action(node, place)
        self._no_next(node, "try", place)
        retry, handler = body.get("retry"), body.get("except")
        if retry is None and handler is None:
            self._problem(node.line, "a try has retry, except or both", place)
        return model.Try(
            inner,
            None if retry is None else self._retry(retry, place),
            None if handler is None else self._except(handler, place),
        )

    def _except(self, node: Node, place: _Place) -> model.Except | None:
        name = node.get("as") if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(name, Scalar) or not isinstance(name.value, str):
            self._problem(node.line, "except says as (the error's name) and what to do", place)
            return None
        self._facts.variables.add(name.value)
        self._no_next(node, "except", place)
        return model.Except(name.value, self._action(node, place, extra=("as",)))

    def _retry(self, node: Node, place: _Place) -> model.RetryPolicy | None:
        if isinstance(node, Scalar):
            name = self._function_name(node, place)
            if name is None:
                return None
            if name not in stdlib.RETRY_POLICIES:
                self._problem(
                    node.line, f"{name} is no retry policy{_hint(name, tuple(stdlib.RETRY_POLICIES))}", place
                )
                return None
            policy = stdlib.RETRY_POLICIES[name]
            delays = {key: model.Constant(value) for key, value in policy["backoff"].items()}
            return model.RetryPolicy(policy["predicate"], model.Constant(policy["max_retries"]), **delays)
        if not isinstance(node, Mapping):
            self._problem(node.line, "retry is a policy", place)
            return None
        self._only(node, ("predicate", "max_retries", "backoff"), place, "in retry")
        backoff = node.get("backoff")
        if backoff is not None and not isinstance(backoff, Mapping):
            self._problem(backoff.line, "backoff is a map of delays", place)
        if isinstance(backoff, Mapping):
            self._only(backoff, ("initial_delay", "max_delay", "multiplier"), place, "in backoff")
        predicate = node.get("predicate")
        name = None
        if predicate is not None:
            name = self._function_name(predicate, place)
            signature = self._callable(name) if name else None
            if name and (signature is None or len(signature.names) != 1):
                self._problem(
                    predicate.line, f"the predicate {name} is no function of one argument, the error", place
                )
        if node.get("max_retries") is None:
            self._problem(node.line, "retry needs max_retries", place)

        def number(within: Node | None, key: str, default: float) -> model.Template:
            found = within.get(key) if isinstance(within, Mapping) else None
            if found is None:
                return model.Constant(default)
            template = self._template(found, place)
            if isinstance(template, model.Constant):
                value = template.value
                if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                    self._problem(found.line, f"{key} is a number, not below zero", place)
            return template

        return model.RetryPolicy(
            name,
            number(node, "max_retries", 0),
            number(backoff, "initial_delay", 1.0),
            number(backoff, "max_delay", 60.0),
            number(backoff, "multiplier", 1.25),
        )

    def _function_name(self, node: Node, place: _Place) -> str | None:
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

    # -- values ---------------------------------------------------------------------------------

    def _template(self, node: Node, place: _Place) -> model.Template:
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

    def _check_tree(self, tree: Expr, line: int, place: _Place) -> None:
        for part in walk(tree):
            match part:
                case Name(name):
                    self._facts.uses.append((name, line, place.step))
                case FunctionCall(name, args):
                    self._check_function(name, len(args), line, place)
                case Access():
                    pass

    def _check_function(self, name: str, given: int, line: int, place: _Place) -> None:
        signature = self._callable(name)
        function = stdlib.FUNCTIONS.get(name)
        if signature is None:
            self._problem(line, f"unknown function {name}{_hint(name, self._callables())}", place)
            return
        blocking = function.blocking if function else name not in self._signatures
        if blocking:
            self._problem(line, f"{name} waits: it can be called by a call step only", place)
        elif not len(signature.required) <= given <= len(signature.names):
            names = ", ".join(signature.names) or "none"
            self._problem(line, f"{name} is given {given} arguments, it takes: {names}", place)

    # -- helpers --------------------------------------------------------------------------------

    def _only(self, node: Mapping, known: tuple[str, ...], place: _Place, where: str) -> None:
        for key, line, _ in node.items:
            if key not in known:
                self._problem(line, f"{key!r} can not stand {where}{_hint(key, known)}", place)

    def _problem(self, line: int, message: str, place: _Place | None = None) -> None:
        if place is None:
            self._problems.append(Problem(line, message))
        else:
            self._problems.append(Problem(line, message, place.step, place.routine))


def _hint(name: str, known: Any) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _constant_problems(function: str, args: Node | None) -> list[tuple[int, str]]:
    """What is wrong with arguments that are constants: timeouts above the limit, unknown auth types."""
    if not isinstance(args, Mapping):
        return []
    if function in http_calls.METHODS:
        return http_calls.constant_problems(args)
    if function in connectors.METHODS:
        return connectors.constant_problems(args)
    return []
