"""A bucket in memory, with versions, that notices when an object is replaced while it is read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from etl_runner.sources.files.store import FileReplaced, FileVersion


class MemoryBucket:
    """Implements FileStore. ``opened`` lists the names that were opened, in order."""

    def __init__(self, bucket: str = "inbox", scheme: str = "gs") -> None:
        self._base = f"{scheme}://{bucket}/"
        self._objects: dict[str, tuple[FileVersion, bytes]] = {}
        self._count = 0
        self.opened: list[str] = []
        self.lists: list[str] = []
        self.before_read: Callable[[str], None] = lambda name: None

    def put(self, name: str, data: bytes = b"", modified: str | None = None) -> FileVersion:
        """Write an object, over an older one if there is one."""
        self._count += 1
        when = modified or f"2026-01-01T00:00:{self._count // 1_000_000:02}.{self._count % 1_000_000:06}Z"
        file = FileVersion(self._base + name, name, str(self._count), len(data), when)
        self._objects[name] = file, data
        return file

    def delete(self, name: str) -> None:
        """Remove an object."""
        del self._objects[name]

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        self.lists.append(prefix)
        for name in sorted(self._objects):
            if name.startswith(prefix) and name >= start:
                yield self._objects[name][0]

    def head(self, name: str) -> FileVersion | None:
        found = self._objects.get(name)
        return None if found is None else found[0]

    @contextmanager
    def open(self, file: FileVersion, start: int = 0) -> Iterator[IO[bytes]]:
        self.opened.append(file.name)
        stream = _Stream(self, file, self._data(file))
        stream.seek(start)
        yield cast("IO[bytes]", stream)

    def data(self, name: str) -> bytes:
        """The current bytes of an object."""
        return self._objects[name][1]

    def check(self) -> str:
        return f"{self._base} answers"

    def _data(self, file: FileVersion) -> bytes:
        found = self._objects.get(file.name)
        if found is None or found[0].version != file.version:
            raise FileReplaced(f"{file.uri} is not version {file.version} any more")
        return found[1]


class _Stream(io.BytesIO):
    def __init__(self, bucket: MemoryBucket, file: FileVersion, data: bytes) -> None:
        super().__init__(data)
        self._bucket = bucket
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        self._bucket.before_read(self._file.name)
        self._bucket._data(self._file)
        return super().read(size)
