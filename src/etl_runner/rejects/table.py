"""A rejects table as the rest of the package sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from etl_runner import jsontypes


@dataclass(frozen=True)
class RejectedRow:
    """One row of ``<destination>__rejects``; the columns are described in commit/rejects.py."""

    run_id: str
    unit: str
    file: str | None
    line: int | None
    row: int
    from_byte: int
    column: str
    reason: str
    value: str | None
    record: dict[str, Any]
    types: dict[str, Any] | None
    """None: the row is no row, and ``record`` is ``{"file", "line", "text"}``."""

    @property
    def key(self) -> tuple[str, str, str | None, int, int]:
        """What tells it from every other rejected row of its source."""
        return self.run_id, self.unit, *self.spot

    @property
    def spot(self) -> tuple[str | None, int, int]:
        """Where the row stands; of a row of a file it stays so when a replay rejects it again."""
        return self.file, self.from_byte, self.row

    def corrected(self, values: dict[str, Any]) -> RejectedRow:
        """The row with other values; ``types`` says ``corrected`` of them."""
        kept = {} if self.types is None else self.record
        types = {**(self.types or {}), **dict.fromkeys(values, CORRECTED)}
        return replace(self, record={**kept, **values}, types=types)

    def to_line(self) -> bytes:
        return jsontypes.dumps(asdict(self)) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> RejectedRow:
        return cls(**jsontypes.loads(line))


CORRECTED = "corrected"


@dataclass(frozen=True)
class RejectedRun:
    """A run with rejects: its id, how many there are, when it was planned (RFC 3339)."""

    run_id: str
    rows: int
    rejected_at: str


class RejectsTable(Protocol):
    """Reads a rejects table; a table that does not exist has no rows."""

    def runs(self, path: str, source_id: str) -> list[RejectedRun]:
        """The runs of a source that have rows in the table, oldest first."""

    def rows(
        self, path: str, source_id: str, run_ids: Sequence[str], limit: int | None = None
    ) -> Iterator[RejectedRow]:
        """The rows of these runs, in the order run, unit, file, row."""
