"""CSV: Arrow's reader on blocks of whole records, all values as text, and every bad row named.

Nothing is inferred while reading: values leave as text, exactly as they stand, so ``00123`` stays and the
converter says which value does not fit its column. An unquoted field that equals a null marker is NULL;
a quoted one never is, so ``""`` is the empty string. Whitespace belongs to values and names.

A block is read by Arrow when its quotes open and close fields by turns, it is UTF-8 and all its records
have the same number of fields. Otherwise it is gone through record by record
(:mod:`etl_runner.formats.records`), bad records become :class:`BadRow` with their line, and Arrow reads the
rest. Lines without any character are no rows, except in a file of one column, where such a line is how
a NULL is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.csv as pacsv

from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.formats.base import (
    BadRow,
    Block,
    FormatOptions,
    Limits,
    Lines,
    Opened,
    Part,
    Sample,
    bounded,
    no_values,
    places,
    unique_names,
    wrong,
)
from etl_runner.formats.blocks import TextBlock, count_lines, is_utf8_text, skip_lines, text_blocks
from etl_runner.formats.detect import Seen, texts_seen
from etl_runner.formats.records import Lexer, Record
from etl_runner.formats.text import utf8_bytes
from etl_runner.planning.plan import PlannedColumn

_SMALL = 32 << 10
"""A block that is gone through record by record rather than halved, in bytes."""
_LOOK = 256 << 10
"""Bytes that a sample is read by: mostly they have all the rows that it wants."""


class Csv:
    """The CSV format."""

    def sample_schema(self, opened: Opened, options: FormatOptions, limits: Limits) -> Sample:
        """See :class:`~etl_runner.formats.base.Format`. A file without a header has ``column_1``, ...;
        an empty file has no columns."""
        small = replace(options, block_bytes=min(limits.bytes, _LOOK))
        reading = _Reading(opened, small, None)
        columns = [
            PlannedColumn(name, "text", BqField(str(i), "STRING")) for i, name in enumerate(reading.names)
        ]
        seen: dict[str, Seen] = {}
        rows, size, complete = 0, 0, True
        bad: list[BadRow] = []
        for block in reading.blocks(columns):
            if rows >= limits.rows or size >= limits.bytes:
                complete = False
                break
            batch = block.batch.slice(0, limits.rows - rows)
            complete = batch.num_rows == block.batch.num_rows
            rows, size = rows + batch.num_rows, size + max(block.batch.nbytes, small.block_bytes)
            bad += block.bad
            for i, name in enumerate(reading.names):
                found = texts_seen(batch.column(i))
                seen[name] = seen[name] + found if name in seen else found
        if not seen:
            seen = {name: texts_seen(pa.array([], pa.string())) for name in reading.names}
        return Sample(opened.name, seen, rows, complete, tuple(bad))

    def read(
        self,
        opened: Opened,
        options: FormatOptions,
        columns: Sequence[PlannedColumn],
        part: Part | None = None,
    ) -> Iterator[Block]:
        """See :class:`~etl_runner.formats.base.Format`. All columns are strings."""
        reading = _Reading(opened, options, part)
        options.notice(reading.names)
        if reading.names or not reading.empty:
            yield from reading.blocks(columns)

    def names(self, opened: Opened, options: FormatOptions) -> tuple[str, ...]:
        """The file's column names, for :class:`Part`."""
        return _Reading(opened, options, None).names


class _Reading:
    """One pass over one file: the header at once, then the blocks."""

    def __init__(self, opened: Opened, options: FormatOptions, part: Part | None) -> None:
        self._file = opened.name
        self._options = options
        self._lexer = Lexer(opened.name, options)
        self._from = 0 if part is None else part.start
        self._row = 0
        pieces = utf8_bytes(opened, options, part)
        line = 1
        at_start = self._from == 0
        if at_start and options.skip_lines:
            pieces, line = skip_lines(pieces, options.skip_lines)
        self._blocks = text_blocks(opened.name, pieces, options, self._lexer, line=line)
        self.empty = False
        self.names: tuple[str, ...] = ()
        if at_start:
            self._begin()
        elif part is not None and part.names is not None:
            self.names = part.names
        else:
            raise PermanentError(f"file {self._file!r}: a part that is not its first needs the column names")

    def _begin(self) -> None:
        first = next(self._blocks, None)
        while first is not None:
            offset, line = 0, first.line
            for record in self._lexer.records(first.data):
                if record.fields:
                    self._header(first, record, line, offset)
                    return
                offset, line = record.end, line + 1
            first = next(self._blocks, None)
        self.empty = True

    def _header(self, block: TextBlock, record: Record, line: int, offset: int) -> None:
        """Take the names from the first record that is not an empty line; lines before it are dropped."""
        text = block.data[record.start : record.end]
        if self._options.has_header:
            self._refuse_open(block, record)
            if record.fault is not None or not is_utf8_text(text):
                reason = record.fault or "is not UTF-8 text: set encoding to what it is"
                raise wrong(self._file, f"has a header on line {line} that {reason}")
            self.names = unique_names(self._values(text, record.fields))
            offset, line = record.end, line + count_lines(text)
        else:
            self.names = unique_names([""] * record.fields)
            if record.fields == 1:
                # In one column the empty lines before it are rows.
                offset, line = 0, block.line
        rest = block.data[offset:]
        if rest:
            self._blocks = chain([TextBlock(rest, line, block.plain)], self._blocks)

    def _values(self, text: bytes, count: int) -> list[str]:
        table = self._parse(text, [str(i) for i in range(count)], list(range(count)), nulls=())
        return [column[0].as_py() for column in table.columns]

    def blocks(self, columns: Sequence[PlannedColumn]) -> Iterator[Block]:
        """The rows, by planned column."""
        where = places(self._file, self.names, columns, self._options)
        # Arrow takes an empty list of columns for all.
        used = sorted({place for place in where if place is not None}) or [0]
        names = [str(i) for i in range(len(self.names))]
        for block in self._blocks:
            table, bad, lines = self._rows(block, names, used)
            arrays = []
            for place, column in zip(where, columns, strict=True):
                if place is None:
                    arrays.append(no_values(column, table.num_rows))
                else:
                    arrays.append(table.column(str(place)))
            whole = pa.table(arrays, names=[column.destination.name for column in columns])
            del table, arrays
            yield from bounded(whole, bad, lines)

    def _rows(
        self, block: TextBlock, names: list[str], used: list[int]
    ) -> tuple[pa.Table, list[BadRow], Lines]:
        """Arrow reads what it can; of a block that it cannot, each half is tried, and small ones are
        walked through: a few bad records cost little."""
        tables: list[pa.Table] = []
        bad: list[BadRow] = []
        found: list[tuple[int, Lines]] = []
        pending = [block]
        while pending:
            block = pending.pop()
            plain = block.plain or self._lexer.plain(block.data)
            table = self._quickly(block.data, names, used) if plain else None
            if table is not None:
                self._row += table.num_rows
                tables.append(table)
                found.append((table.num_rows, partial(self._lines_of, block, table.num_rows)))
                continue
            if plain and len(block.data) > _SMALL:
                middle, _ = self._lexer.cut(block.data[: len(block.data) // 2])
                if middle:
                    first, rest = block.data[:middle], block.data[middle:]
                    pending += [
                        TextBlock(rest, block.line + count_lines(first), plain=True),
                        TextBlock(first, block.line, plain=True),
                    ]
                    continue
            table, lines = self._slowly(block, names, used, bad)
            tables.append(table)
            found.append((table.num_rows, partial(_known, lines)))
        return pa.concat_tables(tables), bad, partial(_of_pieces, found)

    def _quickly(self, data: bytes, names: list[str], used: list[int]) -> pa.Table | None:
        """None when a record has too many or too few fields or is not UTF-8."""
        if not is_utf8_text(data):
            return None
        try:
            return self._parse(data, names, used, self._options.null_markers)
        except pa.ArrowInvalid:
            return None

    def _slowly(
        self, block: TextBlock, names: list[str], used: list[int], bad: list[BadRow]
    ) -> tuple[pa.Table, list[int]]:
        good, lines = self._walk(block, bad)
        table = self._parse(b"".join(good), names, used, self._options.null_markers)
        if table.num_rows != len(good):
            raise wrong(
                self._file,
                f"has {len(good)} records from line {block.line} on, but {table.num_rows} could be read",
            )
        return table, lines

    def _walk(self, block: TextBlock, bad: list[BadRow]) -> tuple[list[bytes], list[int]]:
        """The good records and their lines; the others are added to ``bad``."""
        expected = len(self.names)
        good: list[bytes] = []
        lines: list[int] = []
        line = block.line
        all_text = is_utf8_text(block.data)
        for record in self._lexer.records(block.data):
            text = block.data[record.start : record.end]
            here, line = line, line + count_lines(text)
            fields = record.fields
            if fields == 0:
                if expected > 1:
                    continue
                fields = 1
            self._row += 1
            self._refuse_open(block, record)
            if record.fault is not None:
                reason = record.fault
            elif fields != expected:
                reason = f"has {_count(fields, 'field')} where the file has {_count(expected, 'column')}"
            elif not all_text and not is_utf8_text(text):
                reason = "is not UTF-8 text"
            else:
                good.append(text)
                lines.append(here)
                continue
            shown = text.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
            bad.append(BadRow(self._file, self._row, here, reason, shown, from_byte=self._from))
        return good, lines

    def _lines_of(self, block: TextBlock, rows: int, places: Sequence[int]) -> list[int]:
        """Where rows begin, of a block whose records are all rows."""
        ends = count_lines(block.data) + (not block.data.endswith((b"\n", b"\r")))
        if rows == ends:
            # A row has at least one line: here each has just one, and there are no others.
            return [block.line + place for place in places]
        wanted, lines = set(places), []
        line, row = block.line, 0
        for record in self._lexer.records(block.data):
            if record.fields or len(self.names) == 1:
                if row in wanted:
                    lines.append(line)
                row += 1
            line += count_lines(block.data[record.start : record.end])
        return lines

    def _refuse_open(self, block: TextBlock, record: Record) -> None:
        if record.open is not None:
            line = block.line + count_lines(block.data[: record.open])
            after = f" (counted after byte {self._from})" if self._from else ""
            raise wrong(self._file, f"opens a quote on line {line}{after} that is never closed")

    def _parse(self, data: bytes, names: list[str], used: list[int], nulls: Sequence[str]) -> pa.Table:
        include = [names[i] for i in used]
        options = self._options
        if not data:
            return pa.table([pa.array([], pa.string())] * len(include), names=include)
        return pacsv.read_csv(
            pa.BufferReader(data),
            # A block is small: to spread its columns over threads costs as much as it saves.
            read_options=pacsv.ReadOptions(block_size=len(data) + 1, column_names=names, use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=options.delimiter,
                quote_char=options.quote if options.quote is not None else False,
                double_quote=options.quote is not None,
                escape_char=options.escape if options.escape is not None else False,
                newlines_in_values=options.quote is not None or options.escape is not None,
                ignore_empty_lines=len(names) > 1,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(include, pa.string()),
                include_columns=include,
                null_values=list(nulls),
                strings_can_be_null=bool(nulls),
                quoted_strings_can_be_null=False,
                # The block has been looked at as a whole, which is faster.
                check_utf8=False,
            ),
        )


def _known(lines: Sequence[int], places: Sequence[int]) -> list[int]:
    return [lines[place] for place in places]


def _of_pieces(pieces: Sequence[tuple[int, Lines]], places: Sequence[int]) -> list[int]:
    """The lines of rows that were read in several pieces, each with its number of rows."""
    result: list[int] = []
    start = 0
    for rows, lines in pieces:
        inside = [place - start for place in places if start <= place < start + rows]
        if inside:
            result += lines(inside)
        start += rows
    return result


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
