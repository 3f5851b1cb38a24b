"""The contract of file formats: from an open file to record batches, and nothing lost without a word.

A format sees one file as a stream of bytes. It knows nothing of clouds, plans on disk or destinations'
types beyond the :class:`~etl_runner.planning.plan.PlannedColumn` that it is asked for: values leave it in
the file's own shape (text where the file holds text) and :mod:`etl_runner.convert` turns them into the
destination's types, so that a value that does not fit is rejected there, with its original text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Literal, Protocol

import pyarrow as pa

from etl_runner import jsontypes
from etl_runner.convert.arrow_schema import arrow_field
from etl_runner.convert.rejects import Reject
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlannedColumn

if TYPE_CHECKING:
    from etl_runner.config.files import FileFormatOptions
    from etl_runner.formats.detect import Seen

Compression = Literal["auto", "none", "gzip", "zstd", "bz2"]
BATCH_BYTES = 16 << 20
"""About the largest batch that leaves a format, in bytes of Arrow memory."""
BLOCK_BYTES = 1 << 20
"""Text that is parsed at once; a record that is longer makes its block longer."""
MAX_RECORD_BYTES = 256 << 20
"""The longest record; what is longer is an open quote or bracket rather than a row."""


@dataclass(frozen=True)
class FormatOptions:
    """How a file is written; the fields of ``file_format_options``, with None for ``none``.

    ``quote`` None: no field is quoted, so a line end always ends a record. ``escape`` None: a quote inside
    a quoted field is doubled (which is understood with ``escape``, too).
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    has_header: bool = True
    null_markers: tuple[str, ...] = ("",)
    skip_lines: int = 0
    compression: Compression = "auto"
    missing_columns: Literal["fail", "null"] = "fail"
    """What a planned column that a CSV or Parquet file lacks means: an error that names it, or NULLs."""
    required: frozenset[str] = frozenset()
    """Columns without which a CSV or Parquet file cannot be loaded, whatever ``missing_columns`` says."""
    block_bytes: int = BLOCK_BYTES
    max_record_bytes: int = MAX_RECORD_BYTES
    known: frozenset[str] | None = None
    """Names of columns or keys that the plan knows, whether or not it loads them; None: all."""
    on_unplanned: Callable[[tuple[str, ...]], None] | None = None
    """Called with names that ``known`` lacks when they turn up while reading; may raise."""

    def notice(self, names: Iterable[str]) -> None:
        """Report the names that the plan does not know, if there are any."""
        if self.known is None or self.on_unplanned is None:
            return
        unknown = tuple(name for name in names if name not in self.known)
        if unknown:
            self.on_unplanned(unknown)

    @classmethod
    def of(cls, config: FileFormatOptions) -> FormatOptions:
        """The options of a source document."""
        return cls(
            delimiter=config.delimiter,
            quote=None if config.quote == "none" else config.quote,
            # An escape that is the quote itself says what doubling says.
            escape=None if config.escape in ("none", config.quote) else config.escape,
            encoding=config.encoding,
            has_header=config.has_header,
            null_markers=tuple(config.null_markers),
            skip_lines=config.skip_lines,
            compression=config.compression,
        )


@dataclass(frozen=True)
class Opened:
    """An open file: its name for people, and its bytes from the start.

    ``stream`` needs ``read(n)``; Parquet also needs ``seek`` and ``tell``, and a ``read(n)`` that gives fewer
    bytes only at the end. Its owner closes it.
    """

    name: str
    stream: IO[bytes]


@dataclass(frozen=True)
class Part:
    """A byte range of a plain file, ``[start, end)``: the lines that begin in it.

    ``names`` are the file's column names, which only its beginning shows (None for JSON Lines). The stream
    of a part with ``start > 0`` begins one byte earlier, at ``start - 1``: see
    :mod:`etl_runner.formats.ranges`.
    """

    start: int
    end: int
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class BadRow:
    """A row of a file that is not a row: where, why, and what stands there.

    ``line`` counts from 1 (from the line that begins at or after ``from_byte``, for a part of a file); it
    is None where the format has no lines. ``row`` is the row's ordinal within what was read, from 1, good
    and bad rows together.
    ``text`` is the original, with bytes that are not UTF-8 as ``\\xff``.
    """

    file: str
    row: int
    line: int | None
    reason: str
    text: str
    column: str = ""
    """The destination's column, when one value is at fault rather than the row."""
    from_byte: int = 0

    @property
    def place(self) -> str:
        """``line 17`` or ``row 17``, and after which byte when a part of the file was read."""
        place = f"row {self.row}" if self.line is None else f"line {self.line}"
        return f"{place} after byte {self.from_byte}" if self.from_byte else place

    def reject(self, unit: str) -> Reject:
        """The reject to record; ``record`` keeps the whole text."""
        return Reject(
            unit=unit,
            row=self.row,
            column=self.column,
            reason=self.reason,
            value=self.text,
            record=jsontypes.dumps({"file": self.file, "line": self.line, "text": self.text}).decode(),
            file=self.file,
            line=self.line,
            from_byte=self.from_byte,
        )


Lines = Callable[[Sequence[int]], Sequence[int]]
"""For places of rows in a batch (from 0, ascending) the lines on which they begin, counted as in
:class:`BadRow`. Looked up when it is asked for, which is only where a value did not fit."""


@dataclass(frozen=True)
class Block:
    """The next rows of a file: ``batch`` has a column for each planned one, named like its destination;
    ``bad`` are the rows between its rows that could not be read. What follows in the file follows here.
    ``lines`` tells where a row of the batch stands; None where the format has no lines."""

    batch: pa.RecordBatch
    bad: tuple[BadRow, ...] = ()
    lines: Lines | None = None


@dataclass(frozen=True)
class Limits:
    """How much of a file is looked at to detect its columns. ``widen`` it when a later value does not fit."""

    rows: int = 1_000
    bytes: int = 4 << 20

    def widen(self, factor: int = 10) -> Limits:
        """A sample that is ``factor`` times as large."""
        return Limits(self.rows * factor, self.bytes * factor)


@dataclass(frozen=True)
class Sample:
    """What the beginning of one file shows. ``seen`` has the columns in the file's order."""

    file: str
    seen: dict[str, Seen]
    rows: int
    complete: bool
    """The whole file was looked at."""
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()


class Format(Protocol):
    """One file format."""

    def sample_schema(self, opened: Opened, options: FormatOptions, limits: Limits) -> Sample:
        """Look at the beginning of the file; :func:`etl_runner.formats.detect.merge` makes columns of the
        samples of several files.

        Raises:
            PermanentError: the file cannot be read as this format.
        """

    def read(
        self,
        opened: Opened,
        options: FormatOptions,
        columns: Sequence[PlannedColumn],
        part: Part | None = None,
    ) -> Iterator[Block]:
        """All rows of the file (or of a part of it), in order, in blocks of about :data:`BATCH_BYTES`.

        Raises:
            PermanentError: the file is truncated or damaged, or lacks a planned column; the message
                names file and place. What was yielded before must not be committed then.
        """


def wrong(file: str, what: str) -> PermanentError:
    """The error of a file that cannot be read."""
    return PermanentError(f"file {file!r} {what}")


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The header's names with each one different: an empty one becomes ``column_<position>``, a repeated
    one gets ``_2``, ``_3``, ... in the order of the columns."""
    taken = set(names)
    used: set[str] = set()
    result: list[str] = []
    for position, name in enumerate(names, 1):
        candidate = base = name or f"column_{position}"
        number = 1
        while candidate in used or (number > 1 and candidate in taken):
            number += 1
            candidate = f"{base}_{number}"
        used.add(candidate)
        result.append(candidate)
    return tuple(result)


def places(
    file: str, names: Sequence[str], columns: Sequence[PlannedColumn], options: FormatOptions
) -> list[int | None]:
    """For each planned column its position in the file, None where the file lacks it and that is allowed.

    Raises:
        PermanentError: the file lacks a planned column.
    """
    index = {name: position for position, name in enumerate(names)}
    missing = [column.source for column in columns if column.source not in index]
    if options.missing_columns == "null":
        missing = [name for name in missing if name in options.required]
    if missing:
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise wrong(file, f"lacks the column {missing[0]!r}; it has: {shown or 'none'}")
    return [index.get(column.source) for column in columns]


def no_values(column: PlannedColumn, rows: int) -> pa.Array:
    """NULLs of the destination's type, for a column that a file lacks."""
    return pa.nulls(rows, arrow_field(column.destination).type)


def bounded(table: pa.Table, bad: Sequence[BadRow] = (), lines: Lines | None = None) -> Iterator[Block]:
    """The table in blocks of about :data:`BATCH_BYTES`, of any number of columns; the bad rows go with
    the first, which may have no rows. ``lines`` are those of the table's rows."""
    rows = max(1, table.num_rows * BATCH_BYTES // max(table.nbytes, 1))
    batches = table.combine_chunks().to_batches(max_chunksize=rows)
    if not batches and bad:
        empty = [pa.array([], field.type) for field in table.schema]
        yield Block(pa.RecordBatch.from_arrays(empty, schema=table.schema), tuple(bad))
    start = 0
    for number, batch in enumerate(batches):
        theirs = None if lines is None else partial(_from, lines, start)
        yield Block(batch, tuple(bad) if number == 0 else (), theirs)
        start += batch.num_rows


def _from(lines: Lines, start: int, places: Sequence[int]) -> Sequence[int]:
    return lines([start + place for place in places])
