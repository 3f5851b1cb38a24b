"""Readers of one session, lent to threads one at a time, never more than a given number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from etl_runner.sources.base import Reader, Session


@dataclass(frozen=True)
class _Open:
    reader: Reader
    stack: ExitStack


class Readers:
    """At most ``limit`` open readers. One serves until something fails while it is lent: what state its
    connection is in then nobody knows, so it is closed and the next borrower gets a fresh one."""

    def __init__(self, session: Session, limit: int) -> None:
        self._session = session
        self._limit = limit
        self._idle: list[_Open] = []
        self._lent = 0
        self._changed = threading.Condition()

    @contextmanager
    def lend(self) -> Iterator[Reader]:
        """A reader for the calling thread alone; waits while all of them are lent.

        Raises:
            RetryableError, PermanentError: a fresh one could not be opened.
        """
        with self._changed:
            while self._lent >= self._limit:
                self._changed.wait()
            self._lent += 1
            taken = self._idle.pop() if self._idle else None
        try:
            taken = taken or self._open()
            try:
                yield taken.reader
            except BaseException:
                taken.stack.close()
                raise
            with self._changed:
                self._idle.append(taken)
        finally:
            with self._changed:
                self._lent -= 1
                self._changed.notify()

    def close(self) -> None:
        """Close the readers that nobody has."""
        with self._changed:
            idle, self._idle = self._idle, []
        for each in idle:
            each.stack.close()

    def _open(self) -> _Open:
        with ExitStack() as stack:
            reader = stack.enter_context(self._session.reader())
            return _Open(reader, stack.pop_all())
