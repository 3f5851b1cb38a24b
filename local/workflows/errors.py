"""Errors of workflow executions and of workflow definitions.

The tags are those of the Workflows documentation, "Workflow errors" (error tags).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a definition: where (routine, step, line counted from 1) and what."""

    line: int
    message: str
    step: str | None = None
    routine: str | None = None

    def __str__(self) -> str:
        place = f"line {self.line}"
        if self.step is not None:
            place += f', step "{self.step}"'
        if self.routine is not None:
            place += f' of "{self.routine}"'
        return f"{place}: {self.message}"


class DefinitionError(Exception):
    """A definition that cannot be run, with every problem found in it, in the order of their lines."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        count = len(self.problems)
        head = f"{name}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems)]))


@dataclass(frozen=True)
class Frame:
    """Where an execution stands: one level of the call stack."""

    routine: str
    step: str
    line: int


@dataclass(eq=False)
class WorkflowError(Exception):
    """An error inside an execution: what ``raise`` throws and ``except`` catches.

    ``value`` is what ``except`` sees: for errors of the service itself a map with ``message`` and
    ``tags``; for ``raise`` whatever was raised. ``catchable`` is false for limits that the service
    enforces on its own ("can't be caught and always causes immediate failure of the execution").
    """

    value: Any
    catchable: bool = True
    frames: tuple[Frame, ...] = field(default=())
    """The call stack when it was raised, innermost first; filled in by the engine."""

    def __str__(self) -> str:
        return str(self.value)

    @property
    def tags(self) -> tuple[str, ...]:
        """The error's tags; empty for what ``raise`` threw without any."""
        tags = self.value.get("tags") if isinstance(self.value, dict) else None
        return tuple(tags) if isinstance(tags, list) else ()


class ExecutionCancelled(Exception):  # noqa: N818 - a signal to unwind, which no definition can catch
    """The execution was cancelled from outside."""


def tagged(tag: str, message: str, **more: Any) -> WorkflowError:
    """An error of the service: ``{"message": ..., "tags": [tag], ...}``."""
    return WorkflowError({"message": message, "tags": [tag], **more})


def limit_exceeded(message: str) -> WorkflowError:
    """ResourceLimitError, which ends the execution whatever its ``try`` steps say."""
    return WorkflowError({"message": message, "tags": ["ResourceLimitError"]}, catchable=False)
