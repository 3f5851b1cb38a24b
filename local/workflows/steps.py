"""Steps: from their source to the model, every mistake noted."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf

from local.workflows import limits, model
from local.workflows.calls import CallBuilder
from local.workflows.checks import Place, hint
from local.workflows.source import Mapping, Node, Scalar, Sequence

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


class StepBuilder(CallBuilder):
    """Builds blocks of steps."""

    def _block(self, node: Node, place: Place) -> model.Block:
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

    def _step(self, name: str, line: int, body: Node, place: Place) -> model.Step:
        place = place.but(step=name)
        if not isinstance(body, Mapping) or not body.items:
            self._problem(line, "a step is a map that says what it does", place)
            return model.Step(name, line, model.Nothing())
        if body.keys() == ("next",):
            return model.Step(name, line, model.Nothing(), self._next(body, place))
        action = self._action(body, place)
        return model.Step(name, line, action, self._next(body, place))

    def _action(self, body: Mapping, place: Place, extra: tuple[str, ...] = ()) -> model.Action:
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

    def _next(self, body: Mapping, place: Place) -> str | None:
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
                f"next: there is no step {name!r} to go to from here{hint(name, place.targets)}",
                place,
            )
        return name

    def _no_next(self, body: Mapping, where: str, place: Place) -> None:
        if body.get("next") is not None:
            self._problem(body.line_of("next"), f"next stands beside {where}, not in it", place)

    def _assign(self, node: Node, place: Place) -> model.Action:
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

    def _return(self, node: Node, place: Place) -> model.Action:
        if place.parallel:
            self._problem(node.line, "return can not leave a parallel step", place)
        return model.Return(self._template(node, place))

    def _switch(self, node: Node, place: Place) -> model.Action:
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

    def _for(self, node: Node, place: Place, *, parallel: bool = False) -> model.Action:
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

    def _loop_name(self, node: Mapping, key: str, place: Place) -> str | None:
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

    def _parallel(self, node: Node, place: Place) -> model.Action:
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

    def _shared(self, node: Mapping, place: Place) -> tuple[str, ...]:
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

    def _concurrency(self, node: Mapping, place: Place) -> int | None:
        found = node.get("concurrency_limit")
        if found is None:
            return None
        value = found.value if isinstance(found, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._problem(found.line, "concurrency_limit is a whole number above zero", place)
            return None
        return value

    def _branches(self, node: Node, place: Place) -> list[tuple[str, model.Block]]:
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

    def _try(self, body: Mapping, node: Node, place: Place) -> model.Action:
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

    def _except(self, node: Node, place: Place) -> model.Except | None:
        name = node.get("as") if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(name, Scalar) or not isinstance(name.value, str):
            self._problem(node.line, "except says as (the error's name) and what to do", place)
            return None
        self._facts.variables.add(name.value)
        self._no_next(node, "except", place)
        return model.Except(name.value, self._action(node, place, extra=("as",)))
