"""Breadth-first exploration of a model's whole state space, with the shortest trace to a violation.

A model is a value with ``initial()``, ``steps(state)`` and ``check(state)``. States are hashable and equal
exactly when they behave alike, so a model that keeps its processes as a sorted tuple gets the symmetry
between identical processes for free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)
T = TypeVar("T", bound=Hashable)
S_co = TypeVar("S_co", bound=Hashable, covariant=True)


class Broken(Exception):
    """A property does not hold: raised by a model's step or check with a sentence that says which."""


class Model(Protocol[S]):
    """What the explorer asks of a model."""

    def initial(self) -> S:
        """The state in which everything begins."""

    def steps(self, state: S) -> Iterator[tuple[str, S]]:
        """Every single thing that can happen next: ``(label, state afterwards)``.

        A label begins with the name of the code's step, then a colon.

        Raises:
            Broken: a step would do what must never be done.
        """

    def check(self, state: S) -> None:
        """Judge one state, also as if every process had died in it.

        Raises:
            Broken: a property does not hold.
        """


class Violation(NamedTuple):
    """A property that does not hold, and the shortest way there."""

    what: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{number:3}. {label}" for number, label in enumerate(self.trace, 1)]
        return "\n".join([*lines, f"  => {self.what}"])


@dataclass(frozen=True)
class Exploration:
    """How many states there are, and the first violation in breadth-first order (None: there is none)."""

    states: int
    violation: Violation | None


class TooManyStatesError(Exception):
    """The bound was reached before the space was exhausted: nothing is proved."""


def explore(model: Model[S], *, limit: int = 2_000_000) -> Exploration:
    """Visit every reachable state once.

    Raises:
        TooManyStatesError: more than ``limit`` states.
    """
    start = model.initial()
    came_from: dict[S, tuple[S, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        try:
            model.check(state)
            for label, following in model.steps(state):
                if following not in came_from:
                    came_from[following] = (state, label)
                    waiting.append(following)
        except Broken as broken:
            return Exploration(len(came_from), Violation(str(broken), _trace(came_from, state)))
        if len(came_from) > limit:
            raise TooManyStatesError(f"more than {limit} states")
    return Exploration(len(came_from), None)


def _trace(came_from: dict[T, tuple[T, str] | None], state: T) -> tuple[str, ...]:
    labels: list[str] = []
    link = came_from[state]
    while link is not None:
        state, label = link
        labels.append(label)
        link = came_from[state]
    return tuple(reversed(labels))


K = TypeVar("K")
V = TypeVar("V")
Pairs = tuple[tuple[K, V], ...]
"""A small map as a sorted tuple of pairs: hashable, and equal when its contents are."""


def get(pairs: Pairs[K, V], key: K) -> V | None:
    """The value under ``key``, or None."""
    for known, value in pairs:
        if known == key:
            return value
    return None


def put(pairs: Pairs[K, V], key: K, value: V) -> Pairs[K, V]:
    """The map with ``key`` set to ``value``."""
    return tuple(sorted([*(pair for pair in pairs if pair[0] != key), (key, value)], key=_by_key))


def drop(pairs: Pairs[K, V], key: K) -> Pairs[K, V]:
    """The map without ``key``."""
    return tuple(pair for pair in pairs if pair[0] != key)


def _by_key(pair: tuple[object, object]) -> str:
    return repr(pair[0])
