"""A validated definition, ready to run.

Built by :mod:`local.workflows.definition` only; whatever is here has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from local.workflows.expressions import Expr


@dataclass(frozen=True)
class Constant:
    """A value as it stands in the source."""

    value: Any


@dataclass(frozen=True)
class Computed:
    """A ``${...}``."""

    tree: Expr


@dataclass(frozen=True)
class ListTemplate:
    """A list with at least one computed value in it."""

    items: tuple[Template, ...]


@dataclass(frozen=True)
class MapTemplate:
    """A map with at least one computed value in it."""

    items: tuple[tuple[str, Template], ...]


Template: TypeAlias = Constant | Computed | ListTemplate | MapTemplate


@dataclass(frozen=True)
class Target:
    """What an assignment writes: a variable, or an element of one."""

    name: str
    keys: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Assign:
    """``assign``: one after the other."""

    assignments: tuple[tuple[Target, Template], ...]


@dataclass(frozen=True)
class Call:
    """``call`` with ``args`` and ``result``."""

    function: str
    args: Mapping[str, Template]
    result: Target | None


@dataclass(frozen=True)
class Raise:
    """``raise``."""

    value: Template


@dataclass(frozen=True)
class Return:
    """``return``."""

    value: Template


@dataclass(frozen=True)
class Nothing:
    """A step or a case that only says ``next``."""


@dataclass(frozen=True)
class Block:
    """Steps that follow one another, and where each name is."""

    steps: tuple[Step, ...]
    index: Mapping[str, int]


@dataclass(frozen=True)
class Nested:
    """``steps``."""

    block: Block


@dataclass(frozen=True)
class Case:
    """One condition of a switch: what is done when it holds, then where to go."""

    condition: Template
    action: Action
    next: str | None


@dataclass(frozen=True)
class Switch:
    """``switch``: the first case whose condition holds."""

    cases: tuple[Case, ...]


@dataclass(frozen=True)
class For:
    """``for`` over the elements of a list, the keys of a map (``items``) or a range of numbers."""

    value: str
    index: str | None
    items: Template | None
    range: Template | None
    block: Block


@dataclass(frozen=True)
class Parallel:
    """``parallel`` branches, or a parallel ``for``."""

    shared: tuple[str, ...]
    continue_all: bool
    concurrency: int | None
    branches: tuple[tuple[str, Block], ...] = ()
    loop: For | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """When and how often a ``try`` is repeated; the delays are in seconds."""

    predicate: str | None
    max_retries: Template
    initial_delay: Template
    max_delay: Template
    multiplier: Template


@dataclass(frozen=True)
class Except:
    """What runs after an error, which ``name`` holds."""

    name: str
    action: Action


@dataclass(frozen=True)
class Try:
    """``try`` with ``retry``, ``except`` or both."""

    body: Action
    retry: RetryPolicy | None
    handler: Except | None


Action: TypeAlias = Assign | Call | Raise | Return | Nothing | Nested | Switch | For | Parallel | Try


@dataclass(frozen=True)
class Step:
    """A named step, its line in the source (from 1), what it does and where it goes then."""

    name: str
    line: int
    action: Action
    next: str | None = None


@dataclass(frozen=True)
class Routine:
    """``main`` or a subworkflow."""

    name: str
    line: int
    parameters: tuple[str, ...]
    defaults: Mapping[str, Any]
    block: Block


@dataclass(frozen=True)
class Definition:
    """A workflow: ``main`` and its subworkflows."""

    name: str
    source: str
    routines: Mapping[str, Routine]
    connectors: frozenset[str] = field(default_factory=frozenset)
    """The connectors' methods that its steps call."""
