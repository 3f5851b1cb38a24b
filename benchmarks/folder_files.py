"""A folder as the bucket of a source of files, so that what is measured is the reading itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from etl_runner.sources.files.store import FileVersion


class FolderFiles:
    """Implements :class:`etl_runner.sources.files.store.FileStore` over one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        """The folder's files whose name begins with ``prefix``."""
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith(prefix) and path.name >= start:
                yield self._version(path)

    def head(self, name: str) -> FileVersion | None:
        """The file, or None."""
        path = self._folder / name
        return self._version(path) if path.is_file() else None

    @contextmanager
    def open(self, file: FileVersion, start: int = 0) -> Iterator[IO[bytes]]:
        """The file itself."""
        with (self._folder / file.name).open("rb") as stream:
            stream.seek(start)
            yield stream

    def check(self) -> str:
        """Where it is."""
        return f"folder {self._folder}"

    def _version(self, path: Path) -> FileVersion:
        size = path.stat().st_size
        return FileVersion(f"gs://bench/{path.name}", path.name, "1", size, "2026-01-01T00:00:00.000000Z")
