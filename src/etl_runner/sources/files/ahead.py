"""Small files of a unit, fetched a few at a time before their turn.

Reading one after the other would cost a round trip to the bucket for each: of a unit of 500 files most of the
time is waiting. What is fetched is exactly the planned version, as when it is opened in its turn.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import IO

from etl_runner.sources.files.store import FileStore, FileVersion

SMALL = 256 << 10
"""Bytes of a file that is fetched whole: one request."""
AHEAD = 8
"""Files in memory, at most: two megabytes."""

Open = AbstractContextManager[IO[bytes]]


def ahead(store: FileStore, files: Sequence[FileVersion]) -> Generator[Future[bytes] | None]:
    """For each file, in order, the future of its content; None for one that is too large to be fetched
    whole. Errors of fetching come out of the future."""
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="ahead")
    rest = iter(files)

    def fetch(file: FileVersion) -> Future[bytes] | None:
        return pool.submit(_content, store, file) if file.size <= SMALL else None

    try:
        waiting = deque(fetch(file) for file in islice(rest, AHEAD))
        while waiting:
            yield waiting.popleft()
            waiting.extend(fetch(file) for file in islice(rest, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def opened(store: FileStore, file: FileVersion, fetched: Future[bytes] | None, start: int) -> Open:
    """The file as a stream from ``start`` on, from memory where it was fetched.

    Raises:
        FileReplaced, RetryableError, PermanentError: see :class:`FileStore`.
    """
    if fetched is None:
        return store.open(file, start)
    content = io.BytesIO(fetched.result())
    content.seek(start)
    return nullcontext(content)


def _content(store: FileStore, file: FileVersion) -> bytes:
    with store.open(file) as stream:
        return stream.read()
