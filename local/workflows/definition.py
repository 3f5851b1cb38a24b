"""Definitions: from YAML or JSON source to a checked model, or to every problem in it at once.

The syntax is that of "Workflows syntax overview" and the pages that it links to (Steps, Assignments,
Conditions, Iteration, Parallel steps, Retries, Catch errors, Raise errors, Subworkflows). What is not
written there is refused; where it is silent the stricter reading is taken, so that a definition that
runs here is accepted there.
"""

from __future__ import annotations

from typing import Any

from local.workflows import limits, model
from local.workflows.checks import Place, RoutineFacts, Signature
from local.workflows.errors import DefinitionError, Problem
from local.workflows.source import Mapping, Node, Scalar, Sequence, read
from local.workflows.steps import StepBuilder


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


class _Builder(StepBuilder):
    def __init__(self, name: str, text: str, problems: list[Problem]) -> None:
        super().__init__(problems)
        self._name = name
        self._text = text

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
        self._facts = RoutineFacts()
        place = Place(name)
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
                self._problem(at, f"the variable {variable} is never assigned", Place(name, step))
        return model.Routine(name, line, tuple(param for param, _, _ in well_formed), defaults, block)
