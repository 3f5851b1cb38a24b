"""One way to do a piece of work, as a command that is run in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["limit", "ours", "peer"]


@dataclass(frozen=True)
class Contender:
    """What is measured.

    ``command`` gets an empty folder for its output and returns the command line; ``rows`` is what it reads
    (slow ways read a part of the data: their rate does not depend on how much it is); ``readers`` is the
    number of readers at the same time, by which ``limit`` and others are compared; ``count`` tells from the
    output folder how many rows arrived, where the output can be counted.
    """

    label: str
    kind: Kind
    command: Callable[[Path], list[str]]
    rows: int
    readers: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)
    count: Callable[[Path], int] | None = None
    children: int = 1
    """Processes that do the work side by side; the peak memory of one is multiplied by it."""


def parquet_rows(folder: Path) -> int:
    """Rows of all Parquet files below a folder, by their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))


def csv_rows(folder: Path) -> int:
    """Rows of all CSV files below a folder that have a header and no line end within a field."""
    rows = 0
    for path in folder.rglob("*.csv"):
        with path.open("rb") as file:
            rows += sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1
    return rows
