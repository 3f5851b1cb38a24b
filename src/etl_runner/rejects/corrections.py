"""Corrections: JSON Lines that name rejected rows and give other values for some of their columns.

Each line is ``{"run_id", "unit", "row", "record": {column: value}}``, with ``file`` and ``from_byte`` where
the row has them: what ``etl-runner rejects list --lines`` prints, edited. Values are texts (bytes as base64),
``null``, and arrays or objects of these; a column that ``record`` leaves out keeps its value.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from etl_runner.errors import ConfigError, Problem
from etl_runner.rejects.table import RejectedRow

Key = tuple[str, str, str | None, int, int]


class Corrections:
    """The corrections of one file; remembers which of them found their row."""

    def __init__(self, values: dict[Key, dict[str, Any]], lines: dict[Key, int], name: str) -> None:
        self._values = values
        self._lines = lines
        self._name = name
        self._used: set[Key] = set()

    @classmethod
    def none(cls) -> Corrections:
        return cls({}, {}, "corrections")

    @classmethod
    def parse(cls, data: bytes, name: str) -> Corrections:
        """Read the lines of the file ``name``.

        Raises:
            ConfigError: lines that are no corrections, all of them, by their number.
        """
        values: dict[Key, dict[str, Any]] = {}
        lines: dict[Key, int] = {}
        problems: list[Problem] = []
        for number, line in enumerate(data.splitlines(), 1):
            if not line.strip():
                continue
            try:
                key, record = _parsed(line)
            except (ValueError, TypeError, KeyError) as error:
                problems.append(Problem("", f"line {number} is no correction: {_said(error)}", line=number))
                continue
            if key in values:
                problems.append(
                    Problem("", f"line {number} corrects the row of line {lines[key]} again", line=number)
                )
            values[key], lines[key] = record, number
        if problems:
            raise ConfigError(name, tuple(problems))
        return cls(values, lines, name)

    def apply(self, row: RejectedRow) -> RejectedRow:
        """The row, corrected where the file says so."""
        values = self._values.get(row.key)
        if values is None:
            return row
        self._used.add(row.key)
        # What the file repeats unchanged keeps the type that it was read as.
        changed = {
            name: value
            for name, value in values.items()
            if row.types is None or name not in row.record or row.record[name] != value
        }
        return row.corrected(changed) if changed else row

    def check(self, columns: Collection[str]) -> None:
        """Every correction found its row, and names columns of the destination only.

        Raises:
            ConfigError: otherwise.
        """
        problems = [
            Problem("", f"line {line} names a row that is not among those to replay", line=line)
            for key, line in self._lines.items()
            if key not in self._used
        ]
        problems += [
            Problem(f"record.{name}", f"line {self._lines[key]}: the destination has no such column")
            for key, record in self._values.items()
            for name in record
            if key in self._used and name not in columns
        ]
        if problems:
            raise ConfigError(self._name, tuple(problems))


def _parsed(line: bytes) -> tuple[Key, dict[str, Any]]:
    value = json.loads(line)
    record = value["record"]
    if not isinstance(record, dict):
        raise TypeError("record is not an object")
    for name, item in record.items():
        _check_value(name, item)
    key = (
        str(value["run_id"]),
        str(value["unit"]),
        value.get("file"),
        int(value.get("from_byte") or 0),
        int(value["row"]),
    )
    return key, record


def _check_value(name: str, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check_value(name, item)
    elif isinstance(value, dict):
        for item in value.values():
            _check_value(name, item)
    elif value is not None and not isinstance(value, str):
        raise TypeError(f'{name} is a number or truth value; write it as text, "{json.dumps(value)}"')


def _said(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
