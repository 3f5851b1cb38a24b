"""What the files of a window hold, told from a sample of them.

Every file of a small window is looked at. Of many files the first and last by order and by size and others
spread evenly between them are looked at closely, more of them briefly (a header, a footer, some rows); the
plan says how many were not looked at. What turns up later all the same is noticed when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from etl_runner.errors import FileError, PermanentError
from etl_runner.sources.files.store import FileReplaced, FileStore, FileVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from etl_runner.formats.base import Format, FormatOptions, Sample

CLOSELY = 20
BRIEFLY = 500
"""Files that are looked at, at most."""
_THREADS = 8
_BRIEF_ROWS, _BRIEF_BYTES = 50, 256 << 10
_WIDENED = 16
"""How much more of a file is looked at in which a run found what its plan did not know."""


@dataclass(frozen=True)
class Looked:
    """Samples in the order of their files, rows in a byte of the files, and what was not looked at."""

    samples: tuple[Sample, ...]
    rows_per_byte: float | None
    unseen: int

    @property
    def empty(self) -> bool:
        """No row was seen and none can be there: all files were looked at to their ends."""
        return not self.unseen and all(s.complete and s.rows == 0 and not s.bad for s in self.samples)


@contextmanager
def blamed(file: FileVersion) -> Iterator[None]:
    """A permanent error inside is this file's."""
    try:
        yield
    except FileReplaced as error:
        raise FileReplaced(str(error), file.uri, file.version) from error
    except FileError as error:
        if error.uri:
            raise
        raise FileError(str(error), file.uri, file.version) from error
    except PermanentError as error:
        raise FileError(str(error), file.uri, file.version) from error


def look(
    store: FileStore,
    files: Sequence[FileVersion],
    reader: Format,
    options: FormatOptions,
    unplanned: Mapping[str, str] | None = None,
) -> Looked:
    """Sample the files; those in which the run before found what it did not know are looked at further.

    Raises:
        FileError: a file cannot be read as the format that the document says.
    """
    from etl_runner.formats.base import Limits

    suspects = set((unplanned or {}).values())
    closely = set(_spread(files, CLOSELY))
    places = sorted(closely | set(_spread(files, BRIEFLY)) | _places_of(files, suspects))
    limits = Limits()
    brief = Limits(_BRIEF_ROWS, _BRIEF_BYTES)

    def sample(place: int) -> tuple[Sample, float | None]:
        file = files[place]
        far = limits.widen(_WIDENED) if file.uri in suspects else limits if place in closely else brief
        with blamed(file), store.open(file) as stream:
            return _sample(reader, options, file, stream, far)

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(sample, places))
    # The largest say most about all of them.
    measured = [
        (files[place].size, rate) for place, (_, rate) in zip(places, found, strict=True) if rate is not None
    ]
    weight = sum(size for size, _ in measured)
    rate = sum(size * rate for size, rate in measured) / weight if weight else None
    return Looked(tuple(sample for sample, _ in found), rate, len(files) - len(places))


def _sample(
    reader: Format, options: FormatOptions, file: FileVersion, stream: IO[bytes], limits: Any
) -> tuple[Sample, float | None]:
    from etl_runner.formats.base import Opened

    counted: Any = _Counting(stream)
    sample = reader.sample_schema(Opened(file.uri, counted), options, limits)
    seen = file.size if sample.complete else min(counted.taken, file.size)
    # A block is read before its rows are counted, and of a large one not all rows are.
    rate = sample.rows / seen if seen and (sample.complete or sample.rows < limits.rows) else None
    if rate is None and seen and sample.rows:
        rate = _lines(options, file, stream, seen) or sample.rows / seen
    return sample, rate


def _lines(options: FormatOptions, file: FileVersion, stream: IO[bytes], seen: int) -> float | None:
    """Lines in a byte of the file, from its beginning: rows of text files are mostly lines."""
    from etl_runner.formats.base import Opened
    from etl_runner.formats.compression import plain_bytes

    stream.seek(0)
    counted: Any = _Counting(stream)
    lines = size = 0
    for piece in plain_bytes(Opened(file.uri, counted), options.compression):
        lines += piece.count(b"\n")
        size += len(piece)
        if size >= _BRIEF_BYTES:
            break
    taken: int = counted.taken
    return lines / max(1, min(taken, seen, file.size))


class _Counting:
    """Counts what is read of a stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.taken = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """As the stream's."""
        data = self._stream.read(size)
        self.taken += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As the stream's."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """As the stream's."""
        return self._stream.tell()

    def readable(self) -> bool:
        """Asked for by Arrow."""
        return True

    def seekable(self) -> bool:
        """Asked for by Arrow."""
        return True

    def close(self) -> None:
        """The stream's owner closes it."""


def _spread(files: Sequence[FileVersion], most: int) -> list[int]:
    """Places of at most ``most`` files: the smallest and the largest, and evenly from first to last."""
    count = len(files)
    if count <= most:
        return list(range(count))
    places = {round(i * (count - 1) / (most - 3)) for i in range(most - 2)}
    sizes = [file.size for file in files]
    return sorted(places | {sizes.index(min(sizes)), sizes.index(max(sizes))})


def _places_of(files: Sequence[FileVersion], uris: set[str]) -> set[int]:
    return {place for place, file in enumerate(files) if file.uri in uris} if uris else set()


def with_unplanned(samples: Sequence[Sample], unplanned: Mapping[str, str]) -> tuple[Sample, ...]:
    """The samples, with columns added that were met while reading and lie beyond what was sampled."""
    from etl_runner.formats.detect import Seen

    result = list(samples)
    known = {name for sample in samples for name in sample.seen}
    for column, uri in unplanned.items():
        place = next((i for i, sample in enumerate(result) if sample.file == uri), None)
        if column in known or place is None:
            continue
        seen = {**result[place].seen, column: Seen(frozenset({"text"}), ("met while reading",))}
        result[place] = replace(result[place], seen=seen)
    return tuple(result)
