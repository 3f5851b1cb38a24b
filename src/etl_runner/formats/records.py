"""Where CSV records end: the same lexical rules as Arrow's reader, plus those that it does not enforce.

A field is quoted when a quote is its first character; inside, a doubled quote is one, and a delimiter or
line end belongs to the value. A quote anywhere else is an ordinary character. LF, CRLF and CR end a record
(RFC 4180, section 2, which knows CRLF only). Arrow lets two things pass that hide damage: text
between a closing quote and the delimiter, which is how a forgotten quote shows itself one or many lines
later, and a quote that is open at the end of the file. Here they are faults.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.formats.base import FormatOptions, wrong

_CR, _LF = 13, 10


@dataclass(frozen=True)
class Record:
    """One record: its bytes are ``data[start:end]``, line end included."""

    start: int
    end: int
    fields: int
    """0 for a line without any character."""
    fault: str | None = None
    open: int | None = None
    """Where a quote stands that is never closed."""


class Lexer:
    """Finds record ends for one set of options.

    Raises:
        PermanentError: delimiter, quote or escape is not ASCII, which Arrow's reader cannot use.
    """

    def __init__(self, file: str, options: FormatOptions) -> None:
        for what, character in (
            ("delimiter", options.delimiter),
            ("quote", options.quote),
            ("escape", options.escape),
        ):
            if character is not None and not character.isascii():
                raise wrong(
                    file, f"cannot be read with the {what} {character!r}: only ASCII characters can be used"
                )
        self._delimiter = options.delimiter.encode()
        self._quote = None if options.quote is None else options.quote.encode()
        self._escape = None if options.escape is None else options.escape.encode()
        delimiter = re.escape(self._delimiter)
        escaped = b"" if self._escape is None else re.escape(self._escape) + b".|"
        not_escape = b"" if self._escape is None else re.escape(self._escape)
        plain = b"[^" + delimiter + b"\r\n" + not_escape + b"]"
        unquoted = b"(?:" + escaped + plain + b")*+"
        self._unquoted = re.compile(unquoted, re.DOTALL)
        if self._quote is not None:
            quote = re.escape(self._quote)
            first = b"[^" + quote + delimiter + b"\r\n" + not_escape + b"]"
            # Any number of unquoted fields at once.
            self._many = re.compile(
                b"(?:(?:(?:" + escaped + first + b")" + unquoted + b")?" + delimiter + b")*+", re.DOTALL
            )
            inside = b"[^" + quote + not_escape + b"]"
            self._quoted = re.compile(
                quote + b"(?:" + escaped + inside + b"|" + quote + quote + b")*+" + quote, re.DOTALL
            )
        else:
            self._many = re.compile(b"(?:" + unquoted + delimiter + b")*+", re.DOTALL)

    def cut(self, data: bytes) -> tuple[int, bool]:
        """The end of the last record that is certainly whole, 0 when there is none; and whether the
        records up to there are surely free of faults."""
        if self._escape is not None and self._escape in data:
            return self._cut_by_walking(data), False
        if self._quote is None or self._quote not in data:
            return _line_end_before(data, len(data)), True
        quotes = self._regular_quotes(data)
        if quotes is None:
            return self._cut_by_walking(data), False
        end = _line_end_before(data, len(data))
        while end > 0:
            before = bisect_left(quotes, end)
            if before % 2 == 0:
                return end, True
            end = _line_end_before(data, quotes[before - 1])
        return 0, False

    def bare(self, piece: bytes) -> bool:
        """Whether a piece of text has neither quotes nor escapes."""
        return (self._quote is None or self._quote not in piece) and (
            self._escape is None or self._escape not in piece
        )

    def plain(self, data: bytes) -> bool:
        """Whether whole records are surely free of faults, told quickly; False is no verdict."""
        if self._escape is not None and self._escape in data:
            return False
        if self._quote is None or self._quote not in data:
            return True
        quotes = self._regular_quotes(data)
        return quotes is not None and len(quotes) % 2 == 0

    def _regular_quotes(self, data: bytes) -> _Positions | None:
        """The quotes' positions, if they open and close fields by turns; None when some do not.

        By turns: every even one (from 0) opens, at the beginning of a field or right after the one before
        (a doubled quote), and every odd one closes, at the end of a field or right before the next one.
        Then the number of quotes before a place tells whether it is inside a value.
        """
        assert self._quote is not None  # noqa: S101 - the callers ask first
        octets = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
        at = pc.cast(pc.indices_nonzero(pc.equal(octets, pa.scalar(self._quote[0], pa.uint8()))), pa.int64())
        turns = pa.array([True, False] * (len(at) // 2 + 1), pa.bool_()).slice(0, len(at))
        borders = pa.array([self._delimiter[0], _CR, _LF, self._quote[0]], pa.uint8())
        opening, closing = at.filter(turns), at.filter(pc.invert(turns))
        before = pc.subtract(opening.filter(pc.greater(opening, 0)), 1)
        after = pc.add(closing.filter(pc.less(closing, len(data) - 1)), 1)
        for neighbours in (before, after):
            if not pc.all(pc.is_in(octets.take(neighbours), value_set=borders), min_count=0).as_py():
                return None
        return _Positions(at)

    def _cut_by_walking(self, data: bytes) -> int:
        end = 0
        for record in self.records(data):
            # A CR at the very end may be the first half of a CRLF.
            if record.end == len(data) and (record.open is not None or data[-1:] != b"\n"):
                break
            end = record.end
        return end

    def records(self, data: bytes) -> Iterator[Record]:
        """The records one by one; the last one may lack a line end. ``data`` begins with a record."""
        position, size = 0, len(data)
        while position < size:
            start, fields, fault, opened = position, 1, None, None
            while True:
                many = self._many.match(data, position)
                assert many is not None  # noqa: S101 - the pattern matches nothing, too
                if many.end() > position:
                    fields += self._delimiters(many.group())
                    position = many.end()
                if self._quote is not None and data.startswith(self._quote, position):
                    quoted = self._quoted.match(data, position)
                    if quoted is None:
                        opened, position = position, size
                        break
                    position = quoted.end()
                    rest = self._unquoted.match(data, position)
                    assert rest is not None  # noqa: S101 - as above
                    if rest.end() > position:
                        fault = "has text between a closing quote and the end of its field"
                    position = rest.end()
                else:
                    rest = self._unquoted.match(data, position)
                    assert rest is not None  # noqa: S101 - as above
                    position = rest.end()
                if not data.startswith(self._delimiter, position):
                    break
                position += len(self._delimiter)
                fields += 1
            if position < size and data[position] not in (_CR, _LF):
                # An escape is the very last byte: nothing follows that it could be for.
                fault, position = "ends with an escape character that escapes nothing", size
            if start == position:
                fields = 0
            position += 2 if data.startswith(b"\r\n", position) else 1 if position < size else 0
            yield Record(start, position, fields, fault, opened)

    def _delimiters(self, text: bytes) -> int:
        if self._escape is not None and self._escape in text:
            text = re.sub(re.escape(self._escape) + b".", b"", text, flags=re.DOTALL)
        return text.count(self._delimiter)


class _Positions:
    """Quote positions as a sequence for bisection, without a Python object for each."""

    def __init__(self, positions: pa.Array) -> None:
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> int:
        return int(self._positions[index].as_py())


def _line_end_before(data: bytes, limit: int) -> int:
    """The end of the last line that ends before ``limit``; 0 when there is none."""
    end = data.rfind(b"\n", 0, limit) + 1
    if end == 0:
        # Old files end lines with CR alone. One at the very end may be the first half of a CRLF.
        end = data.rfind(b"\r", 0, min(limit, len(data) - 1)) + 1
    return end
