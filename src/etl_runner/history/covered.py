"""Which runs the history has: the watermark of a drain.

A source's epochs grow by one each time its slot is taken, and each epoch has one receipt; so what was
drained is a few ranges of epochs a source, however many runs there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Ranges = Mapping[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Covered:
    """``{source_id: ((first epoch, last epoch), ...)}``, both ends included, in order, none adjacent."""

    ranges: Ranges

    def has(self, source_id: str, epoch: int) -> bool:
        """Whether that run is in the history."""
        return any(first <= epoch <= last for first, last in self.ranges.get(source_id, ()))

    def adding(self, runs: Iterable[tuple[str, int]]) -> Covered:
        """This and the runs ``(source_id, epoch)``."""
        found: dict[str, list[tuple[int, int]]] = {}
        for source_id, epoch in runs:
            found.setdefault(source_id, []).append((epoch, epoch))
        changed = {
            source_id: _joined([*self.ranges.get(source_id, ()), *more]) for source_id, more in found.items()
        }
        return Covered({**self.ranges, **changed})

    def to_watermark(self) -> dict[str, Any]:
        """As a state's watermark."""
        return {"covered": {source_id: list(map(list, ranges)) for source_id, ranges in self.ranges.items()}}

    @classmethod
    def from_watermark(cls, watermark: Mapping[str, Any] | None) -> Covered:
        """The value behind :meth:`to_watermark`; None is nothing."""
        stored = (watermark or {}).get("covered", {})
        return cls(
            {source_id: tuple((first, last) for first, last in pairs) for source_id, pairs in stored.items()}
        )


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)
