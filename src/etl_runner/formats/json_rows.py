"""JSON objects as rows: by Arrow a block at a time where that is exact, one by one where it is not.

Arrow's reader is given the planned types, so it infers nothing, and a block that does not fit them fails
as a whole. Then, and for columns that Arrow cannot read exactly (JSON text, numbers with exponents into
decimals), each object is parsed by itself: scalars leave as text (a number as it was written), nested
values in the planned shape or as JSON text, and the converter decides. An object that is not JSON, has a
key twice in what is planned, or has another shape than the planned one is a bad row with its line. NaN or
a repeated key in a part that is not planned is nobody's loss and is passed over, either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from etl_runner.convert.fields import BqField
from etl_runner.formats import json_values
from etl_runner.formats.base import BadRow, Block, FormatOptions, Lines, bounded
from etl_runner.formats.blocks import is_utf8_text
from etl_runner.formats.detect import Kind, Seen, number_seen
from etl_runner.planning.plan import PlannedColumn

_EXACT: dict[str, pa.DataType] = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
}
# Arrow takes a value that spans lines, and a value null where an object should stand crashes its reader
# (pyarrow 25) or is a row of NULLs to it: lines begin with an object, and no null follows one.
_OTHER_LINE = re.compile(rb"\n[ \t\r]*+[^{ \t\r\n]")
_NULL_AFTER = re.compile(rb"\}[ \t\r\n]*+n")
# Exponents, and more digits before the point than the type has room for, become other decimals in Arrow
# without a word, in numbers as in texts.
_ODD_NUMBER = (
    r"[:\[,][ \t\r\n]*(?:-?(?:[0-9.]+[eE]|[0-9]{30})|"
    r'"[-+]?(?:[0-9.]+[eE][-+]?[0-9]+"|[0-9]{30}[0-9.]*"))'
)
_FEED, _SPACE, _OPEN, _CLOSE, _N = b"\n {}n"

_SMALL = 32 << 10
"""A block that is gone through object by object rather than halved, in bytes."""


@dataclass(frozen=True)
class JsonBlock:
    """Some objects: ``data`` has one a line, ``records`` gives them one by one with their lines."""

    data: bytes
    records: Callable[[], Iterable[tuple[int, bytes]]]

    @classmethod
    def of(cls, records: Sequence[tuple[int, bytes]]) -> JsonBlock:
        """The block of some objects."""
        # A line end between tokens may as well be a tab; within a string neither is JSON, so a faulty
        # object stays faulty.
        return cls(b"\n".join(text.replace(b"\n", b"\t") for _, text in records), lambda: records)


@dataclass(frozen=True)
class _Schema:
    """Types to read by; ``decimals``: Arrow makes decimals, which it can only of some numbers."""

    arrow: pa.Schema
    decimals: bool = False


class JsonRows:
    """Turns blocks of one file into tables; counts the rows."""

    def __init__(
        self, file: str, columns: Sequence[PlannedColumn], options: FormatOptions, from_byte: int = 0
    ) -> None:
        self._file = file
        self._options = options
        self._watching = options.known is not None
        self._columns = tuple(columns)
        self._from = from_byte
        self._row = 0
        self._titles = [column.destination.name for column in columns]
        kinds = [_arrow_type(column.destination) for column in columns]
        sources = [column.source for column in columns]
        self._sources = frozenset(sources)
        self._parser = json_values.Parser()
        self._structs = any(_has_struct(column.destination) for column in columns)
        decimals = any(_has_decimal(column.destination) for column in columns)
        self._schemas: list[_Schema] = []
        if None not in kinds and len(set(sources)) == len(sources):
            self._schemas.append(_Schema(pa.schema(list(zip(sources, kinds, strict=True))), decimals))
            if decimals:
                # Decimals that are written as texts are read as such: then no number can be an odd one.
                kinds = [_arrow_type(column.destination, pa.string()) for column in columns]
                self._schemas.insert(0, _Schema(pa.schema(list(zip(sources, kinds, strict=True)))))

    def tables(self, block: JsonBlock) -> Iterator[Block]:
        """The block's rows by planned column, with the bad ones between them.

        Of a block that Arrow cannot read each half is tried, so that a few bad objects cost little. Columns
        are text where values were read one by one, so batches differ in type.
        """
        pending = [block]
        while pending:
            block = pending.pop()
            table = self._quickly(block.data) if self._schemas else None
            if table is not None:
                self._row += table.num_rows
                yield from bounded(table, (), partial(_lines_of, block))
                continue
            if self._schemas and len(block.data) > _SMALL:
                records = list(block.records())
                if len(records) > 1:
                    middle = len(records) // 2
                    pending += [JsonBlock.of(records[middle:]), JsonBlock.of(records[:middle])]
                    continue
            yield from bounded(*self._one_by_one(block))

    def _quickly(self, data: bytes) -> pa.Table | None:
        if not is_utf8_text(data):
            return None
        rows, nulls = _at_a_glance(data)
        if rows is None and (data.lstrip(b" \t\r\n")[:1] != b"{" or _OTHER_LINE.search(data)):
            return None
        if nulls and _NULL_AFTER.search(data):
            return None
        for schema in self._schemas:
            table = self._read(data, schema)
            if table is not None:
                if schema is not self._schemas[0]:
                    # What fits one block fits the next.
                    self._schemas.reverse()
                if table.num_rows != (_lines(data) if rows is None else rows):
                    return None
                return table.rename_columns(self._titles)
        return None

    def _read(self, data: bytes, schema: _Schema) -> pa.Table | None:
        if schema.decimals and _has_odd_number(data):
            return None
        # A field that a planned STRUCT lacks, or a key that no plan knows, must show: what is ignored,
        # nobody sees.
        table = _parse(data, schema.arrow, "infer" if self._structs or self._watching else "ignore")
        if table is None and self._watching and not self._structs:
            # Values of keys that are not planned may be of many types, which does not matter.
            table = _parse(data, schema.arrow, "ignore")
            if table is not None:
                self._notice(key for line in data.split(b"\n") for key in self._keys(line))
        elif table is not None:
            self._notice(table.schema.names)
        if table is None:
            return None
        table = table.select(schema.arrow.names)
        return table if table.schema.equals(schema.arrow) and not _suspicious(table) else None

    def _keys(self, line: bytes) -> Iterable[str]:
        if not line.strip():
            return ()
        try:
            return _object(line, self._parser)
        except json_values.BadJson:
            return ()

    def _notice(self, names: Iterable[str]) -> None:
        if self._watching:
            self._options.notice(dict.fromkeys(names))

    def _one_by_one(self, block: JsonBlock) -> tuple[pa.Table, list[BadRow], Lines]:
        values: list[list[Any]] = [[] for _ in self._columns]
        bad: list[BadRow] = []
        lines: list[int] = []
        for line, record in block.records():
            self._row += 1
            at_fault = ""
            try:
                row = _object(record, self._parser)
                self._notice(row)
                odd = self._parser.odd
                if isinstance(row, json_values.Repeating) and row.keys_twice & self._sources:
                    json_values.refuse_odd(row)
                shaped = []
                for column in self._columns:
                    value = row.get(column.source)
                    if odd:
                        json_values.refuse_odd(value)
                    at_fault = column.destination.name
                    shaped.append(_shape(value, column.destination))
                    at_fault = ""
            except json_values.BadJson as error:
                text = record.strip().decode("utf-8", "backslashreplace")
                bad.append(BadRow(self._file, self._row, line, str(error), text, at_fault, self._from))
            else:
                lines.append(line)
                for target, value in zip(values, shaped, strict=True):
                    target.append(value)
        arrays = [
            pa.array(target, _text_type(column.destination))
            for target, column in zip(values, self._columns, strict=True)
        ]
        return pa.table(arrays, names=self._titles), bad, partial(_known, lines)


def _parse(data: bytes, schema: pa.Schema, unexpected: str) -> pa.Table | None:
    try:
        return pajson.read_json(
            pa.BufferReader(data),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None


def _at_a_glance(data: bytes) -> tuple[int | None, bool]:
    """How many lines there are, if each of them begins with a brace, as in the usual file, else None; and
    whether a null may follow an object."""
    octets = np.frombuffer(data, np.uint8)
    # What follows the last byte is the end.
    feeds, closings = (np.flatnonzero(octets[:-1] == byte) + 1 for byte in (_FEED, _CLOSE))
    usual = data[:1] == b"{" and bool((octets[feeds] == _OPEN).all())
    after = octets[closings]
    odd = (after == _N) | (after <= _SPACE)
    if usual:
        odd &= after != _FEED
    return len(feeds) + 1 if usual else None, bool(odd.any())


def _lines_of(block: JsonBlock, places: Sequence[int]) -> list[int]:
    """Where rows begin, of a block whose records are all rows."""
    wanted = set(places)
    return [line for place, (line, _) in enumerate(block.records()) if place in wanted]


def _known(lines: Sequence[int], places: Sequence[int]) -> list[int]:
    return [lines[place] for place in places]


def objects_seen(records: Iterable[bytes], rows: int) -> tuple[Seen, int, bool]:
    """What the first ``rows`` good objects hold, their number, and whether there were no more."""
    total, count, parser = Seen(), 0, json_values.Parser()
    for record in records:
        if count == rows:
            return total, count, False
        try:
            value = _object(record, parser)
            json_values.refuse_odd(value)
        except json_values.BadJson:
            continue
        count += 1
        total += value_seen(value)
    return total, count, True


def value_seen(value: Any) -> Seen:
    """What one JSON value shows. Text is text, whatever it looks like: JSON says which values are numbers,
    and a column of dates becomes DATE when the destination says so."""
    if value is None:
        return Seen(types=("json",), nulls=True)
    if isinstance(value, dict):
        return Seen(_OBJECT, ("json",), fields={key: value_seen(item) for key, item in value.items()})
    if isinstance(value, list):
        element: Seen | None = None
        for item in value:
            element = value_seen(item) if element is None else element + value_seen(item)
        return Seen(_ARRAY, ("json",), element=element)
    if isinstance(value, json_values.Number):
        return number_seen(value) + _JSON
    return _BOOL if isinstance(value, bool) else _TEXT


def _kind(kind: Kind) -> frozenset[Kind]:
    return frozenset({kind})


_OBJECT, _ARRAY = _kind("object"), _kind("array")
_JSON = Seen(types=("json",))
_BOOL, _TEXT = Seen(_kind("bool"), ("json",)), Seen(_kind("text"), ("json",))


def _object(record: bytes, parser: json_values.Parser) -> dict[str, Any]:
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise json_values.BadJson(f"is not UTF-8 text at byte {error.start + 1}") from error
    value = parser.parse(text.strip(" \t\r\n"))
    if not isinstance(value, dict):
        raise json_values.BadJson(f"is {_what(value)}, not an object")
    return value


def _shape(value: Any, field: BqField) -> Any:
    """The value in the shape of ``field``, scalars as text.

    Raises:
        BadJson: an array, an object or one of its fields is expected where none is, or the other way.
    """
    if value is None:
        return None
    if field.mode == "REPEATED":
        if not isinstance(value, list):
            raise json_values.BadJson(f"has {_what(value)} in {field.name!r} where an array is expected")
        return [_shape_one(item, field) for item in value]
    return _shape_one(value, field)


def _shape_one(value: Any, field: BqField) -> Any:
    if field.type == "JSON":
        return json_values.write(value)
    if value is None:
        return None
    if field.type == "STRUCT":
        if not isinstance(value, dict):
            raise json_values.BadJson(f"has {_what(value)} in {field.name!r} where an object is expected")
        names = {nested.name for nested in field.fields}
        unknown = [key for key in value if key not in names]
        if unknown:
            raise json_values.BadJson(
                f"has the field {unknown[0]!r} in {field.name!r}, which the column has not"
            )
        return {nested.name: _shape(value.get(nested.name), nested) for nested in field.fields}
    return value if isinstance(value, str) else json_values.write(value)


def _what(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, json_values.Number):
        return "a number"
    return "null" if value is None else "a truth value" if isinstance(value, bool) else "a text"


def _arrow_type(field: BqField, decimal: pa.DataType | None = None) -> pa.DataType | None:
    """The type to give to Arrow's reader, ``decimal`` for decimals; None where it could not keep the value
    exactly."""
    if field.type == "STRUCT":
        inner = [(nested.name, _arrow_type(nested, decimal)) for nested in field.fields]
        if not inner or any(kind is None for _, kind in inner):
            return None
        kind = pa.struct(inner)
    elif field.type == "JSON":
        return None
    else:
        kind = _EXACT.get(field.type, pa.string())
        if decimal is not None and pa.types.is_decimal(kind):
            kind = decimal
    return pa.list_(kind) if field.mode == "REPEATED" else kind


def _text_type(field: BqField) -> pa.DataType:
    kind = pa.string()
    if field.type == "STRUCT":
        kind = pa.struct([(nested.name, _text_type(nested)) for nested in field.fields])
    return pa.list_(kind) if field.mode == "REPEATED" else kind


def _has_struct(field: BqField) -> bool:
    return field.type == "STRUCT"


def _has_decimal(field: BqField) -> bool:
    return field.type in ("NUMERIC", "BIGNUMERIC") or any(_has_decimal(nested) for nested in field.fields)


def _has_odd_number(data: bytes) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(data, pa.large_binary()), _ODD_NUMBER).as_py())


def _suspicious(table: pa.Table) -> bool:
    """NaN may be the word, which is no JSON; Arrow takes it."""
    return any(_not_finite(column) for column in table.columns)


def _not_finite(column: pa.ChunkedArray | pa.Array) -> bool:
    if isinstance(column, pa.ChunkedArray):
        return any(_not_finite(chunk) for chunk in column.chunks)
    if pa.types.is_floating(column.type):
        return not pc.all(pc.is_finite(column), min_count=0).as_py()
    if pa.types.is_list(column.type):
        return _not_finite(column.flatten())
    if pa.types.is_struct(column.type):
        return any(_not_finite(child) for child in column.flatten())
    return False


def _lines(data: bytes) -> int:
    """Lines that hold anything."""
    return sum(1 for line in data.split(b"\n") if line.strip(b" \t\r"))
