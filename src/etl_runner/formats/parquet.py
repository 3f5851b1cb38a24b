"""Parquet: row group by row group, only the planned columns, in the file's own types.

Nested types stay nested. Types that BigQuery has not (nanoseconds, unsigned 64 bits, maps) leave as they
are, and the converter checks each value. The stream must be seekable; an outer compression cannot be
undone in passing, so such files are refused. Checksums of pages are checked where the file has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl_runner.formats.base import (
    BATCH_BYTES,
    Block,
    FormatOptions,
    Limits,
    Opened,
    Part,
    Sample,
    no_values,
    places,
    unique_names,
    wrong,
)
from etl_runner.formats.compression import by_magic
from etl_runner.formats.detect import Kind, Seen
from etl_runner.planning.plan import PlannedColumn

_MAGIC = b"PAR1"
_MOST_ROWS = 64 * 1024


class Parquet:
    """The Parquet format."""

    def sample_schema(
        self,
        opened: Opened,
        options: FormatOptions,  # noqa: ARG002 - the contract's
        limits: Limits,  # noqa: ARG002 - the contract's
    ) -> Sample:
        """See :class:`~etl_runner.formats.base.Format`. Only the footer is read: the file declares its
        types, so nothing has to be guessed and the sample is always complete.

        Raises:
            PermanentError: besides: a column has a type that no BigQuery column can take.
        """
        file = _open(opened)
        schema = file.schema_arrow
        names = unique_names(schema.names)
        seen = {}
        for name, arrow_field in zip(names, schema, strict=True):
            try:
                found = declared(arrow_field.type)
                # One of several columns of a name: only this reader can tell it from the others.
                again = schema.names.count(arrow_field.name) > 1
                seen[name] = replace(found, types=(f"{found.types[0]} (repeated name)",)) if again else found
            except NotImplementedError as error:
                raise wrong(
                    opened.name,
                    f"has column {name!r} of type {arrow_field.type}, which BigQuery has not: "
                    f"leave it out with selected_columns",
                ) from error
        return Sample(opened.name, seen, file.metadata.num_rows, complete=True)

    def read(
        self,
        opened: Opened,
        options: FormatOptions,
        columns: Sequence[PlannedColumn],
        part: Part | None = None,
    ) -> Iterator[Block]:
        """See :class:`~etl_runner.formats.base.Format`. A part owns the row groups whose first byte lies
        in it; the stream is the whole file all the same."""
        file = _open(opened)
        names = unique_names(file.schema_arrow.names)
        options.notice(names)
        where = places(opened.name, names, columns, options)
        all_names = file.schema_arrow.names
        wanted = [all_names[place] for place in where if place is not None]
        # Columns can be asked for by name only: where a name repeats, all are read.
        chosen = wanted if len(set(all_names)) == len(all_names) else None
        titles = [column.destination.name for column in columns]
        for group in range(file.num_row_groups):
            meta = file.metadata.row_group(group)
            if part is not None and not part.start <= _first_byte(meta) < part.end:
                continue
            rows = _batch_rows(meta, wanted)
            left = meta.num_rows
            try:
                for batch in file.iter_batches(rows, row_groups=[group], columns=chosen, use_threads=False):
                    left -= batch.num_rows
                    positions = _positions(all_names, batch.schema.names)
                    arrays = [
                        no_values(column, batch.num_rows) if place is None else batch.column(positions[place])
                        for place, column in zip(where, columns, strict=True)
                    ]
                    yield Block(pa.RecordBatch.from_arrays(arrays, names=titles))
                    del batch, arrays
            except (pa.ArrowException, OSError) as error:
                raise wrong(
                    opened.name, f"is damaged: row group {group} cannot be read ({_first(error)})"
                ) from error
            if left:
                raise wrong(
                    opened.name, f"is damaged: row group {group} lacks {left} of its {meta.num_rows} rows"
                )


def declared(kind: pa.DataType) -> Seen:
    """What a declared type holds, at its widest.

    Raises:
        NotImplementedError: no BigQuery column can take it.
    """
    text = str(kind)
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return Seen(frozenset({"text"}), ("uuid",))
        if kind.extension_name == "arrow.json":
            return Seen(frozenset({"json"}), ("json",))
        return declared(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return declared(kind.value_type)
    if pa.types.is_struct(kind):
        return Seen(frozenset({"object"}), (text,), fields={f.name: declared(f.type) for f in kind})
    if pa.types.is_map(kind):
        declared(kind.key_type)
        declared(kind.item_type)
        return Seen(frozenset({"json"}), (text,))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return Seen(frozenset({"array"}), (text,), element=declared(kind.value_type))
    if pa.types.is_decimal(kind):
        whole, scale = max(kind.precision - kind.scale, 0), max(kind.scale, 0)
        return Seen(frozenset({"decimal"}), (text,), whole=whole, scale=scale)
    if pa.types.is_uint64(kind):
        return Seen(frozenset({"int"}), (text,), whole=20, int64=False)
    for test, found, whole in _DECLARED:
        if test(kind):
            return Seen(frozenset({found}) if found else frozenset(), (text,), whole=whole)
    if pa.types.is_timestamp(kind):
        return Seen(frozenset({"timestamp" if kind.tz else "datetime"}), (text,))
    raise NotImplementedError(text)


_DECLARED: tuple[tuple[Any, Kind | None, int], ...] = (
    (pa.types.is_null, None, 0),
    (pa.types.is_boolean, "bool", 0),
    (pa.types.is_integer, "int", 19),
    (pa.types.is_floating, "float", 0),
    (pa.types.is_string, "text", 0),
    (pa.types.is_large_string, "text", 0),
    (pa.types.is_string_view, "text", 0),
    (pa.types.is_binary, "bytes", 0),
    (pa.types.is_large_binary, "bytes", 0),
    (pa.types.is_binary_view, "bytes", 0),
    (pa.types.is_fixed_size_binary, "bytes", 0),
    (pa.types.is_date, "date", 0),
    (pa.types.is_time, "time", 0),
)


def _open(opened: Opened) -> pq.ParquetFile:
    stream = opened.stream
    size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(10)
    if size == 0:
        raise wrong(opened.name, "is empty: a Parquet file has a footer even when it has no rows")
    if by_magic(head) != "none":
        raise wrong(
            opened.name, f"is a {by_magic(head)} file: Parquet is compressed inside, never as a whole"
        )
    if not head.startswith(_MAGIC):
        raise wrong(opened.name, "is not a Parquet file: it does not begin with PAR1")
    stream.seek(max(size - 4, 0))
    if size < 12 or stream.read(4) != _MAGIC:
        raise wrong(opened.name, f"is truncated: its {size} bytes do not end with a Parquet footer")
    stream.seek(0)
    try:
        return pq.ParquetFile(
            pa.PythonFile(stream, mode="r"),
            pre_buffer=False,
            buffer_size=1 << 20,
            page_checksum_verification=True,
        )
    except (pa.ArrowException, OSError) as error:
        raise wrong(
            opened.name, f"is damaged: its Parquet footer cannot be read ({_first(error)})"
        ) from error


def _first(error: Exception) -> str:
    """The first line of what Arrow says."""
    return str(error).partition("\n")[0][:200]


def _first_byte(meta: Any) -> int:
    """Where a row group begins: its first column's dictionary, or else its first page."""
    if meta.num_columns == 0:
        return 0
    column = meta.column(0)
    return int(column.dictionary_page_offset or column.data_page_offset)


def _batch_rows(meta: Any, wanted: Sequence[str]) -> int:
    """Rows of about :data:`BATCH_BYTES`, by what the row group's columns say they hold."""
    roots = set(wanted)
    size = 0
    for index in range(meta.num_columns):
        column = meta.column(index)
        if column.path_in_schema.split(".")[0] in roots or column.path_in_schema in roots:
            # Repeated strings are counted once in a dictionary: leave room.
            size += (
                4 * column.total_uncompressed_size
                if column.dictionary_page_offset
                else column.total_uncompressed_size
            )
    return int(max(1, min(_MOST_ROWS, meta.num_rows * BATCH_BYTES // max(size, 1))))


def _positions(all_names: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """For each column of the file that was read, its position in what was read."""
    if len(names) == len(all_names):
        # Everything was read, in the file's order; names may repeat.
        return {position: position for position in range(len(names))}
    read = {name: position for position, name in enumerate(names)}
    return {position: read[name] for position, name in enumerate(all_names) if name in read}


def group_starts(opened: Opened) -> list[int]:
    """The first byte of each row group, ascending; parts that are cut there are whole groups.

    Raises:
        PermanentError: the footer cannot be read.
    """
    meta = _open(opened).metadata
    return sorted(_first_byte(meta.row_group(group)) for group in range(meta.num_row_groups))
