"""What a source of files needs of a bucket or container, whichever cloud it is in.

An object is read at exactly the version that was planned: its generation on Cloud Storage, its etag on S3 and
Azure. One that was replaced meanwhile is noticed, never read half and half.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from etl_runner.errors import FileError


class FileReplaced(FileError):  # noqa: N818 - says what happened to the file
    """The object has another version than the planned one, or is gone; the message names it."""


@dataclass(frozen=True)
class FileVersion:
    """One version of one object.

    ``name`` is the key within the bucket, ``uri`` the whole address (``gs://``, ``s3://``, ``az://`` +
    bucket + ``/`` + name), ``version`` the generation or etag (without quotes), ``size`` in bytes,
    ``modified`` RFC 3339 in UTC with microseconds, so that text order is time order.
    """

    uri: str
    name: str
    version: str
    size: int
    modified: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes a file this file, in ledger and arrivals."""
        return self.uri, self.version


class FileStore(Protocol):
    """One bucket or container, read with the connection's own identity.

    Every method may raise RetryableError (429, 5xx, connection lost) or PermanentError (one sentence: bucket
    missing, permission missing, wrong credentials).
    """

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        """All objects whose name begins with ``prefix``, in name order, page by page; from the name
        ``start`` on, where the service can begin there. It may be left out itself."""

    def head(self, name: str) -> FileVersion | None:
        """The object's current version, or None when there is none."""

    def open(self, file: FileVersion, start: int = 0) -> AbstractContextManager[IO[bytes]]:
        """A buffered, seekable stream of exactly this version, positioned at ``start``. Reads ahead in
        bounded memory.

        Raises:
            FileReplaced: on opening or on any later read, the object is another one now, or gone.
        """

    def check(self) -> str:
        """One sentence about the bucket that answered; raises what is wrong as one sentence."""
