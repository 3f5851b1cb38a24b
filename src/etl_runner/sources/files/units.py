"""Cutting files into work units: small ones together, large ones apart where that is safe.

A unit is of about ``unit_rows`` rows, but of at least a megabyte, and holds at most a few hundred files.
Files are cut only where every part can be read by itself: Parquet between row groups, JSON Lines and some
CSV (:mod:`etl_runner.formats.ranges`) between lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.files.store import FileVersion

LEAST_BYTES = 1 << 20
MOST_BYTES = 256 << 20
MOST_FILES = 500
"""Files in one unit, unless there are so many that units would become too many."""
SPLIT_FROM = 2
"""A file is cut when it is this many times as large as a unit should be."""
_SHARD_BYTES = 128 << 20
"""Rather less than what a shard takes: units of much data write several."""
_MOST_SHARDS = 8_000
_RATE = 0.01
"""Rows in a byte where nothing was seen."""

Cuts = Callable[[FileVersion, int], Sequence[int]]
"""Where a file may be cut into parts of about so many bytes: 0, ..., its size. Two for one part."""


@dataclass(frozen=True)
class Piece:
    """A file or a part of one, ``[start, end)`` in bytes."""

    file: FileVersion
    start: int | None = None
    end: int | None = None

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.file.size if self.start is None or self.end is None else self.end - self.start

    def spec(self) -> dict[str, Any]:
        """What a unit stores of it."""
        part = {} if self.start is None else {"start": self.start, "end": self.end}
        return {**asdict(self.file), **part}


def cut(
    files: Sequence[FileVersion], unit_rows: int, rate: float | None, max_units: int, cuts: Cuts
) -> tuple[WorkUnit, ...]:
    """The units, largest first. ``rate`` is rows in a byte of the files."""
    if not files:
        return ()
    rate = rate or _RATE
    total = sum(file.size for file in files)
    limit = max(1, min(max_units, _MOST_SHARDS - total // _SHARD_BYTES))
    target = min(max(math.ceil(unit_rows / rate), LEAST_BYTES), MOST_BYTES)
    most_files = MOST_FILES
    while True:
        pieces = [piece for file in files for piece in _pieces(file, target, cuts)]
        groups = list(_groups(pieces, target, most_files))
        if len(groups) <= limit:
            break
        factor = len(groups) / limit * 1.1
        target, most_files = math.ceil(target * factor), math.ceil(most_files * factor)
    units = [_unit(group, rate) for group in groups]
    units.sort(key=lambda unit: -(unit.bytes or 0))
    return tuple(replace(unit, id=f"u{index:05d}") for index, unit in enumerate(units))


def _pieces(file: FileVersion, target: int, cuts: Cuts) -> Iterator[Piece]:
    if file.size >= SPLIT_FROM * target:
        at = cuts(file, target)
        if len(at) > 2:
            yield from (Piece(file, start, end) for start, end in pairwise(at))
            return
    yield Piece(file)


def _groups(pieces: Sequence[Piece], target: int, most: int) -> Iterator[list[Piece]]:
    """Neighbours together up to about ``target`` bytes; a part of a file is a unit of its own."""
    held: list[Piece] = []
    size = 0
    for piece in pieces:
        if piece.start is not None:
            yield [piece]
            continue
        if held and (size + piece.bytes > target or len(held) == most):
            yield held
            held, size = [], 0
        held.append(piece)
        size += piece.bytes
    if held:
        yield held


def _unit(group: Sequence[Piece], rate: float) -> WorkUnit:
    size = sum(piece.bytes for piece in group)
    first = group[0]
    label = first.file.name
    if first.start is not None:
        label += f" [{first.start}, {first.end})"
    elif len(group) > 1:
        label += f" and {len(group) - 1} more"
    return WorkUnit(
        id="",
        kind="file",
        spec={"files": [piece.spec() for piece in group]},
        label=label,
        rows=round(size * rate),
        bytes=size,
    )
