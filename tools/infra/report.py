"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """Something wrong, and where; ``line`` counts from 1."""

    path: Path
    line: int
    message: str

    def show(self, root: Path) -> str:
        """``file:line: message``, the file relative to ``root``."""
        path = self.path.relative_to(root) if self.path.is_relative_to(root) else self.path
        return f"{path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Result:
    """How a check ended: what it looked at, its problems, or why it could not be made."""

    name: str
    problems: tuple[Problem, ...] = ()
    skipped: str | None = None
    detail: str = ""

    def lines(self, root: Path) -> list[str]:
        """For people."""
        if self.skipped is not None:
            return [f"SKIPPED  {self.name}: {self.skipped}"]
        if self.problems:
            return [f"FAILED   {self.name}", *(f"  {problem.show(root)}" for problem in self.problems)]
        return [f"ok       {self.name}" + (f": {self.detail}" if self.detail else "")]
