"""Where a large file may be cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from etl_runner.sources.files.look import blamed
from etl_runner.sources.files.store import FileStore, FileVersion

if TYPE_CHECKING:
    from etl_runner.config.files import FileFormat
    from etl_runner.formats.base import FormatOptions

_HEADER_BYTES = 1 << 20
"""Skipped lines and the header of a CSV file lie in its first part, which is at least this large."""


class Cutter:
    """Finds cut points in files of one format; opens a file only when it is large."""

    def __init__(self, store: FileStore, file_format: FileFormat, options: FormatOptions) -> None:
        self._store = store
        self._format = file_format
        self._options = options

    def __call__(self, file: FileVersion, target: int) -> Sequence[int]:
        """Byte positions from 0 to the file's size; ``(0, size)`` where it cannot be cut.

        Raises:
            FileError: the file's footer cannot be read.
        """
        whole = (0, file.size)
        if self._format == "parquet":
            with blamed(file), self._store.open(file) as stream:
                from etl_runner.formats.base import Opened
                from etl_runner.formats.parquet import group_starts

                starts = group_starts(Opened(file.uri, stream))
            return _apart([0, *starts[1:], file.size], target)
        if self._format == "json":
            return whole
        from etl_runner.formats.ranges import can_split, split

        if not can_split(file.name, self._format, self._options):
            return whole
        first = 0 if self._format == "jsonl" else _HEADER_BYTES + 1_000 * self._options.skip_lines
        if not self._plain(file):
            return whole
        parts = split(file.size, target, first=first)
        return (0, *(part.end for part in parts))

    def _plain(self, file: FileVersion) -> bool:
        """The file is not compressed, whatever its name says."""
        from etl_runner.formats.compression import HEAD_BYTES, by_magic

        with blamed(file), self._store.open(file) as stream:
            return by_magic(stream.read(HEAD_BYTES)) == "none"


def _apart(points: list[int], target: int) -> Sequence[int]:
    """The points that lie at least ``target`` apart, first and last included."""
    kept = [points[0]]
    for point in points[1:-1]:
        if point - kept[-1] >= target and points[-1] - point > 0:
            kept.append(point)
    return (*kept, points[-1])
