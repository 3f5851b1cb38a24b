"""JSON documents: an array of objects, or one object (or several, one after another), as rows.

The document is cut into its elements while it streams, so an array of any length needs the memory of a few
elements. An element that is no object, or has other faults of its own, is a bad row with the line on which
it begins; a fault of the document around the elements (a missing comma, an end too early) cannot be told
from its content any more and ends the reading with one error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from etl_runner.formats.base import Block, FormatOptions, Limits, Opened, Part, Sample, wrong
from etl_runner.formats.json_rows import JsonBlock, JsonRows, objects_seen
from etl_runner.formats.text import utf8_bytes
from etl_runner.planning.plan import PlannedColumn

Element = tuple[int, bytes]
"""The line on which it begins, and its text."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
# An object nested at most three levels deep with the comma after it: nearly all elements, at one match each.
_FLAT = rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+'
_TWO = _FLAT + rb"(?:[\[{]" + _FLAT + rb"[\]}]" + _FLAT + rb")*+"
_THREE = _FLAT + rb"(?:[\[{]" + _TWO + rb"[\]}]" + _FLAT + rb")*+"
_COMMON = re.compile(rb"[ \t\r\n]*+(\{" + _THREE + rb"\})[ \t\r\n]*+,", re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(_STRING + rb'|[^"\[\]{},\s]++(?=[\[\]{},\s"])', re.DOTALL)


class Json:
    """The JSON document format."""

    def sample_schema(self, opened: Opened, options: FormatOptions, limits: Limits) -> Sample:
        """See :class:`~etl_runner.formats.base.Format`."""
        taken = _Limited(elements(opened.name, utf8_bytes(opened, options), options.max_record_bytes), limits)
        seen, rows, whole = objects_seen(taken, limits.rows)
        return Sample(opened.name, dict(seen.fields), rows, whole and not taken.cut)

    def read(
        self,
        opened: Opened,
        options: FormatOptions,
        columns: Sequence[PlannedColumn],
        part: Part | None = None,
    ) -> Iterator[Block]:
        """See :class:`~etl_runner.formats.base.Format`; keys as with JSON Lines. A document has no parts.

        Raises:
            PermanentError: besides: a part was asked for.
        """
        if part is not None:
            raise wrong(opened.name, "is a JSON document and cannot be read in parts")
        rows = JsonRows(opened.name, columns, options)
        held: list[Element] = []
        size = 0
        for element in elements(opened.name, utf8_bytes(opened, options), options.max_record_bytes):
            held.append(element)
            size += len(element[1])
            if size >= options.block_bytes:
                yield from rows.tables(JsonBlock.of(held))
                held, size = [], 0
        if held:
            yield from rows.tables(JsonBlock.of(held))


class _Limited:
    """The texts of elements, up to a number of bytes."""

    def __init__(self, found: Iterator[Element], limits: Limits) -> None:
        self._found = found
        self._left = limits.bytes
        self.cut = False

    def __iter__(self) -> Iterator[bytes]:
        for _, text in self._found:
            if self._left <= 0:
                self.cut = True
                return
            self._left -= len(text)
            yield text


def elements(file: str, pieces: Iterator[bytes], max_bytes: int) -> Iterator[Element]:
    """The elements of the array, or the objects that stand one after another.

    Raises:
        PermanentError: the document is neither, is cut off, or goes on after its end.
    """
    text = _Text(file, pieces, max_bytes)
    if not text.skip_space():
        return
    if text.byte() == b"{":
        while text.skip_space():
            if text.byte() != b"{":
                raise text.wrong("goes on with something that is not an object")
            yield text.nested()
        return
    if text.byte() != b"[":
        raise text.wrong("is neither a JSON array nor an object: it begins with something else")
    text.advance(1)
    first = True
    while True:
        while (element := text.common()) is not None:
            yield element
            first = False
        _need(text)
        if text.byte() == b"]" and first:
            break
        yield text.nested() if text.byte() in (b"{", b"[") else text.scalar()
        first = False
        _need(text)
        if text.byte() == b"]":
            break
        if text.byte() != b",":
            raise text.wrong("is not JSON: a comma or the array's end is missing")
        text.advance(1)
    text.advance(1)
    if text.skip_space():
        raise text.wrong("goes on after the end of its array")


def _need(text: _Text) -> None:
    if not text.skip_space():
        raise text.wrong("is truncated: it ends within its array")


class _Text:
    """The unread text of a document, with its line."""

    def __init__(self, file: str, pieces: Iterator[bytes], max_bytes: int) -> None:
        self._file = file
        self._pieces = pieces
        self._max = max_bytes
        self._data = b""
        self._at = 0
        self._line = 1

    def wrong(self, what: str, line: int | None = None) -> Exception:
        """An error at this place."""
        return wrong(self._file, f"{what}, on line {self._line if line is None else line}")

    def byte(self) -> bytes:
        """The next byte."""
        return self._data[self._at : self._at + 1]

    def advance(self, count: int) -> bytes:
        """Take ``count`` bytes."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        self._line += taken.count(b"\n")
        return taken

    def skip_space(self) -> bool:
        """Go to the next byte that is no white space; False at the end of the file."""
        while True:
            space = _SPACE.match(self._data, self._at)
            assert space is not None  # noqa: S101 - the pattern matches nothing, too
            self.advance(space.end() - self._at)
            if self._at < len(self._data):
                return True
            if not self._more(1):
                return False

    def common(self) -> Element | None:
        """Take one object and the comma after it, if both are here and the object is of the common kind."""
        found = _COMMON.match(self._data, self._at)
        if found is None:
            return None
        line = self._line + self._data.count(b"\n", self._at, found.start(1))
        self._line = line + self._data.count(b"\n", found.start(1), found.end())
        self._at = found.end()
        return line, found.group(1)

    def nested(self) -> Element:
        """Take one object or array."""
        line, depth, at = self._line, 0, self._at
        while True:
            found = _TO_BRACKET.match(self._data, at)
            if found is None:
                at -= self._at
                if not self._more(len(self._data) - self._at):
                    raise self.wrong("is truncated: it ends within an element that begins", line)
                at += self._at
                continue
            at = found.end()
            depth += 1 if found.group(1) in b"{[" else -1
            if depth == 0:
                return line, self.advance(at - self._at)

    def scalar(self) -> Element:
        """Take one text, number or word."""
        line = self._line
        while True:
            found = _SCALAR.match(self._data, self._at)
            if found is not None:
                return line, self.advance(found.end() - self._at)
            if self.byte() in (b",", b"]", b"}"):
                raise self.wrong("is not JSON: an element is missing")
            if not self._more(len(self._data) - self._at):
                raise self.wrong("is truncated: it ends within an element that begins", line)

    def _more(self, least: int) -> bool:
        """Read on, dropping what was taken: at least as much again as is held, so that a long element is
        looked at a few times only."""
        held = [self._data[self._at :]]
        if len(held[0]) > self._max:
            raise self.wrong(f"has an element of more than {self._max} bytes that begins")
        self._at, size = 0, 0
        for piece in self._pieces:
            held.append(piece)
            size += len(piece)
            if size >= least:
                break
        self._data = b"".join(held)
        return size > 0
