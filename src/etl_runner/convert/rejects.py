"""Rows that could not be converted, with all that is needed to look at them and to load them later."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from etl_runner import jsontypes


@dataclass(frozen=True)
class Fault:
    """A row of a batch that cannot be converted: its position in the batch, the column, why, and the
    original value as text (None for NULL)."""

    row: int
    column: str
    reason: str
    value: str | None


@dataclass(frozen=True)
class Place:
    """Where a row stands in its file; the fields are those of :class:`Reject`."""

    file: str
    row: int
    line: int | None = None
    from_byte: int = 0


@dataclass(frozen=True)
class Reject:
    """One row that was left out: the first column that did not fit decides what is said about it."""

    unit: str
    row: int
    """The row's ordinal from 1: within what was read of its file, or else within its unit."""
    column: str
    reason: str
    value: str | None
    """The original value as text; None when it was NULL."""
    record: str
    """The whole row as a JSON object of texts (:mod:`etl_runner.convert.recorded`). Of a row of a file that
    is no row: ``{"file", "line", "text"}``."""
    file: str | None = None
    """URI of the file that the row is from."""
    line: int | None = None
    """Its line in the file, where that is known."""
    types: str | None = None
    """JSON object: column to the type that its value was read as; None for a row that is no row."""
    from_byte: int = 0
    """Lines and rows count from 1; of a file that is read in parts, after this byte."""

    @property
    def place(self) -> str:
        """Where to look: ``unit u00001, row 17``, or ``gs://b/x.csv, line 17``."""
        spot = f"row {self.row}" if self.line is None else f"line {self.line}"
        if self.from_byte:
            spot += f" after byte {self.from_byte}"
        return f"{f'unit {self.unit}' if self.file is None else self.file}, {spot}"

    def to_line(self, **run: str) -> bytes:
        """One line of a rejects object: the fields of the reject and of its ``run`` (source_id, run_id,
        rejected_at), which are the columns of the rejects table."""
        return jsontypes.dumps({**asdict(self), **run}) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Reject:
        """Read what :meth:`to_line` wrote, without the run's fields."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in jsontypes.loads(line).items() if name in known})


def cell_text(array: pa.Array, row: int) -> str | None:
    """One value of an array as text. A date beyond Python's years is written as Arrow writes it, text that
    is not UTF-8 with its strange bytes escaped (``\\xff``)."""
    value = array[row]
    try:
        return text_of(value.as_py())
    except UnicodeDecodeError:
        buffer = value.as_buffer() if pa.types.is_string(value.type) else None
        return "(not UTF-8)" if buffer is None else buffer.to_pybytes().decode("utf-8", "backslashreplace")
    except (ValueError, OverflowError):
        return str(value.cast(pa.string()))


def text_of(value: Any) -> str | None:
    """A source value as text that loses nothing; bytes as base64, lists and structs as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return jsontypes.dumps([text_of(item) for item in value]).decode()
    if isinstance(value, dict):
        return jsontypes.dumps({str(key): text_of(item) for key, item in value.items()}).decode()
    return str(value)
