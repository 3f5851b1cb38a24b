"""One object as a seekable stream: ranged requests, read ahead in bounded memory, taken up after a drop.

A reader that goes on from where it stopped gets larger pieces, and the next ones are fetched meanwhile; one
that jumps (a Parquet footer, a few columns) gets small ones and nothing in advance.
"""

from __future__ import annotations

import io
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from etl_runner.errors import RetryableError

FIRST_BYTES = 256 << 10
PIECE_BYTES = 8 << 20
"""The largest range asked for at once."""
AHEAD = 2
"""Pieces fetched in advance of a sequential reader: memory is ``(AHEAD + 1) * PIECE_BYTES`` an open file."""
ATTEMPTS = 5
"""Of one range; a client's own repetitions of a request come on top."""

Fetch = Callable[[int, int], bytes]
"""The bytes ``[start, end)`` of one version of one object. Raises FileReplaced when it is another one, and
RetryableError when the connection was lost or the server is busy."""


def open_stream(
    fetch: Fetch, size: int, start: int, *, uri: str, sleep: Callable[[float], None] = time.sleep
) -> io.BufferedReader:
    """A buffered stream over ``fetch``, positioned at ``start``; closing it ends its read-ahead."""
    return io.BufferedReader(_Ranges(fetch, size, start, uri, sleep), buffer_size=64 << 10)


class _Ranges(io.RawIOBase):
    """The unbuffered stream. Not for use by two threads at once."""

    def __init__(self, fetch: Fetch, size: int, start: int, uri: str, sleep: Callable[[float], None]) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._position = start
        self._uri = uri
        self._sleep = sleep
        self._piece = b""
        self._piece_start = 0
        self._next_size = FIRST_BYTES
        self._ahead: deque[tuple[int, int, Future[bytes]]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self.closed:
            raise ValueError("read of a closed file")
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not len(view):
            return 0
        offset = self._position - self._piece_start
        if not 0 <= offset < len(self._piece):
            self._load(len(view))
            offset = self._position - self._piece_start
        part = memoryview(self._piece)[offset : offset + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        self._forget()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._piece = b""
        super().close()

    def _load(self, wanted: int) -> None:
        """Make the piece at the position the current one."""
        position = self._position
        sequential = bool(self._piece) and position == self._piece_start + len(self._piece)
        while self._ahead and self._ahead[0][1] <= position:
            self._ahead.popleft()[2].cancel()
        if self._ahead and self._ahead[0][0] <= position:
            start, _, future = self._ahead.popleft()
            self._piece, self._piece_start = future.result(), start
        else:
            self._forget()
            if not sequential:
                self._next_size = FIRST_BYTES
            size = min(max(self._next_size, wanted), PIECE_BYTES)
            self._piece = b""  # before the next one is there: one piece less in memory
            self._piece = self._range(position, min(position + size, self._size))
            self._piece_start = position
        if sequential:
            self._go_ahead()

    def _go_ahead(self) -> None:
        last = self._ahead[-1][1] if self._ahead else self._piece_start + len(self._piece)
        while len(self._ahead) < AHEAD and last < self._size:
            self._next_size = min(self._next_size * 2, PIECE_BYTES)
            end = min(last + self._next_size, self._size)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead")
            self._ahead.append((last, end, self._pool.submit(self._range, last, end)))
            last = end

    def _forget(self) -> None:
        while self._ahead:
            self._ahead.popleft()[2].cancel()

    def _range(self, start: int, end: int) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                data = self._fetch(start, end)
            except RetryableError:
                if attempt == ATTEMPTS:
                    raise
            else:
                if len(data) == end - start:
                    return data
                if attempt == ATTEMPTS:
                    raise RetryableError(
                        f"{self._uri}: the connection was lost again and again while reading"
                        f" bytes {start} to {end}"
                    )
            self._sleep(min(2.0**attempt, 20.0) * random.uniform(0.5, 1.0))
        raise AssertionError("the last attempt returns or raises")
