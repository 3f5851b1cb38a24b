"""The object store that the protocol is written against.

Cloud Storage gives each object a generation number; a write may demand that the object does not exist
yet (``ifGenerationMatch=0``) or still has the generation that was read. Nothing else is needed to keep
a table exact. https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class StoredObject:
    """An object's bytes and the generation they belong to."""

    data: bytes
    generation: int


@dataclass(frozen=True)
class ObjectInfo:
    """One line of a listing: name within the bucket, size in bytes, generation, and the custom metadata
    that the object was created with."""

    name: str
    size: int
    generation: int
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)


class ObjectStore(Protocol):
    """One bucket. Every method may raise RetryableError (429, 5xx, connection lost) or PermanentError."""

    def uri(self, name: str) -> str:
        """``gs://bucket/name``."""

    def read(self, name: str) -> StoredObject | None:
        """The whole object, or None when there is none."""

    def read_tail(self, name: str, size: int) -> tuple[bytes, int] | None:
        """The last ``size`` bytes and the object's whole size, or None when there is none."""

    def create(
        self,
        name: str,
        data: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Write a new object and return its generation. ``metadata`` comes with every listing; names and
        values are 8 KiB at most together (https://cloud.google.com/storage/quotas#objects).

        Raises:
            ObjectExists: the name is taken.
        """

    def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
        """As :meth:`create`, streaming a local file."""

    def replace(self, name: str, data: bytes, generation: int) -> int:
        """Overwrite the object if it still has ``generation`` and return the new one.

        Raises:
            GenerationMismatch: it has not, or the object is gone.
        """

    def delete(self, name: str) -> None:
        """Delete the object; one that is gone already is no error."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose name begins with ``prefix``, in name order."""
