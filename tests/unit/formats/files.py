"""Files made of bytes, and everything that a format reads of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO, Any, cast

from etl_runner.config.files import FileFormat
from etl_runner.convert.fields import BqField
from etl_runner.formats import format_named
from etl_runner.formats.base import BadRow, FormatOptions, Limits, Opened, Part, Sample
from etl_runner.formats.detect import merge
from etl_runner.planning.plan import PlannedColumn


class Dribble(io.BytesIO):
    """A stream that gives a few bytes at a time, as a socket does."""

    def __init__(self, data: bytes, piece: int) -> None:
        super().__init__(data)
        self._piece = piece

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._piece if size is None or size < 0 else min(size, self._piece))


def opened(data: bytes, name: str = "x.dat", piece: int | None = None) -> Opened:
    """The bytes as an open file."""
    stream = io.BytesIO(data) if piece is None else Dribble(data, piece)
    return Opened(name, cast("IO[bytes]", stream))


def text(*names: str) -> list[PlannedColumn]:
    """Columns read as text."""
    return [PlannedColumn(name, "text", BqField(name, "STRING")) for name in names]


def planned(*fields: BqField) -> list[PlannedColumn]:
    """Columns of the given destinations, named alike in the file."""
    return [PlannedColumn(field.name, "json", field) for field in fields]


def read(
    kind: FileFormat,
    data: bytes,
    columns: Sequence[PlannedColumn],
    options: FormatOptions | None = None,
    *,
    name: str = "x.dat",
    piece: int | None = None,
    part: Part | None = None,
) -> tuple[list[dict[str, Any]], list[BadRow]]:
    """All rows and all bad rows."""
    rows: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    source = opened(data, name, piece)
    for block in format_named(kind).read(source, options or FormatOptions(), columns, part):
        assert block.batch.schema.names == [column.destination.name for column in columns]
        block.batch.validate(full=True)
        rows += block.batch.to_pylist()
        bad += block.bad
    return rows, bad


def sample(
    kind: FileFormat,
    data: bytes,
    options: FormatOptions | None = None,
    limits: Limits | None = None,
    name: str = "x.dat",
) -> Sample:
    """What the format sees in the bytes."""
    return format_named(kind).sample_schema(
        opened(data, name), options or FormatOptions(), limits or Limits()
    )


def detected(kind: FileFormat, data: bytes, options: FormatOptions | None = None) -> list[BqField]:
    """The natural fields of one file."""
    return [column.natural for column in merge([sample(kind, data, options)]).columns]
