"""A bucket or container whatever its cloud: listing page by page, opening a version, the check.

What a cloud's client is asked, and how its errors read, is the subclass's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from typing import IO, Any, ClassVar, Generic, TypeVar

from etl_runner.errors import EtlError
from etl_runner.sources.files.store import FileVersion
from etl_runner.sources.files.stores.common import answered, told, unchanged
from etl_runner.sources.files.stores.reading import open_stream

C = TypeVar("C")


class BucketStore(ABC, Generic[C]):
    """Implements :class:`etl_runner.sources.files.store.FileStore` over a client ``C``; see there."""

    page_size: ClassVar[int]
    """Objects in a page of a listing."""

    def __init__(self, client: Callable[[], C], bucket: str, prefix: str = "") -> None:
        """``client`` is called on first use; ``prefix`` is what :meth:`check` looks under."""
        self._make_client = client
        self._name = bucket
        self._prefix = prefix

    def list(self, prefix: str, start: str = "") -> Iterator[FileVersion]:
        pages = self._pages(prefix, start, self.page_size)
        while True:
            with told(self, self.place, f"listing {prefix or 'it'}"):
                page = next(pages, None)
                files = None if page is None else [self._version(item) for item in page]
            if files is None:
                return
            yield from files

    def open(self, file: FileVersion, start: int = 0) -> AbstractContextManager[IO[bytes]]:
        if file.size == 0:  # no byte will be asked for, so that no read could notice
            unchanged(file, self.head(file.name))
        return open_stream(lambda a, b: self._fetch(file, a, b), file.size, start, uri=file.uri)

    def check(self) -> str:
        with told(self, self.place, "testing it"):
            page = next(self._pages(self._prefix, "", 1, retry=False), None)
            first = next((self._version(item) for item in page), None) if page is not None else None
            if first is not None and first.size:
                self._fetch(first, 0, 1, retry=False)
        return answered(self.place, self._prefix, first)

    @abstractmethod
    def head(self, name: str) -> FileVersion | None:
        """The object's current version, or None when there is none."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The bucket or container, in words."""

    @abstractmethod
    def meaning(self, error: Exception, place: str, doing: str) -> EtlError | None:
        """See :class:`etl_runner.sources.files.stores.common.Cloud`."""

    @abstractmethod
    def _pages(self, prefix: str, start: str, size: int, *, retry: bool = True) -> Iterator[Any]:
        """Pages of the client's own items, ``size`` of them at most; from the name ``start`` on, where the
        service can begin there. Without ``retry`` the first error comes out."""

    @abstractmethod
    def _fetch(self, file: FileVersion, start: int, end: int, *, retry: bool = True) -> bytes:
        """The bytes ``[start, end)`` of exactly this version.

        Raises:
            FileReplaced: the object is another one now, or gone.
        """

    @abstractmethod
    def _version(self, item: Any) -> FileVersion:
        """What the client says of an object."""

    @cached_property
    def _client(self) -> C:
        return self._make_client()
