"""An object store in memory, with the real one's preconditions.

For tests and for looking at what would happen (``etl-runner plan``); one process only.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from etl_runner.errors import GenerationMismatch, ObjectExists
from etl_runner.state.objects import ObjectInfo, StoredObject


class MemoryObjectStore:
    """Implements :class:`etl_runner.state.objects.ObjectStore`; safe for threads."""

    def __init__(self, bucket: str = "memory") -> None:
        self._bucket = bucket
        self._objects: dict[str, StoredObject] = {}
        self._metadata: dict[str, dict[str, str]] = {}
        self._generations = itertools.count(1)
        self._lock = threading.Lock()

    def uri(self, name: str) -> str:
        return f"gs://{self._bucket}/{name}"

    def read(self, name: str) -> StoredObject | None:
        with self._lock:
            return self._objects.get(name)

    def read_tail(self, name: str, size: int) -> tuple[bytes, int] | None:
        stored = self.read(name)
        return None if stored is None else (stored.data[-size:], len(stored.data))

    def create(
        self,
        name: str,
        data: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        del content_type
        with self._lock:
            if name in self._objects:
                raise ObjectExists(name)
            self._metadata[name] = dict(metadata or {})
            return self._put(name, data)

    def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
        data = Path(path).read_bytes()
        return ObjectInfo(name, len(data), self.create(name, data, content_type))

    def replace(self, name: str, data: bytes, generation: int) -> int:
        with self._lock:
            current = self._objects.get(name)
            if current is None or current.generation != generation:
                raise GenerationMismatch(name)
            return self._put(name, data)

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(name, None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._lock:
            found = [
                ObjectInfo(name, len(stored.data), stored.generation, self._metadata.get(name, {}))
                for name, stored in self._objects.items()
                if name.startswith(prefix)
            ]
        return iter(sorted(found, key=lambda info: info.name))

    def _put(self, name: str, data: bytes) -> int:
        generation = next(self._generations)
        self._objects[name] = StoredObject(bytes(data), generation)
        return generation
