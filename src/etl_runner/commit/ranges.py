"""Replacing the destination's rows of a window, atomically.

One MERGE whose condition is never true deletes what is there and inserts what was staged.
https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax#merge_statement, "constant false
predicate".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from etl_runner.commit.staging import quote, string_literal
from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlanHeader

SOURCE_FILE = "_etl_source_file"
"""The destination's column with the URI of the file that a row is from."""
_NUMBERS = ("INT64", "NUMERIC", "BIGNUMERIC")
_NUMBER = re.compile(r"-?[0-9]+(?:\.([0-9]+))?")
_NUMERIC_DIGITS = 9
"""After NUMERIC's point.
https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types"""


def replace_statement(header: PlanHeader, source: str, columns: Sequence[BqField]) -> str:
    """MERGE of ``source`` (a SELECT of ``columns``) in place of the window's rows."""
    names = [quote(column.name) for column in columns]
    values = ", ".join(f"S.{name}" for name in names)
    return (
        f"MERGE INTO {quote(header.destination.path)} AS T USING ({source}) AS S ON FALSE "
        f"WHEN NOT MATCHED BY SOURCE AND {in_window(header, 'T.')} THEN DELETE "
        f"WHEN NOT MATCHED BY TARGET THEN INSERT ({', '.join(names)}) VALUES ({values})"
    )


def delete_statement(header: PlanHeader) -> str:
    """DELETE of the window's rows: its source has none."""
    return f"DELETE FROM {quote(header.destination.path)} WHERE {in_window(header)}"


def in_window(header: PlanHeader, alias: str = "") -> str:
    """The destination's rows in ``(low, high]`` of the plan's window, or those of its files.

    Raises:
        PermanentError: the destination's column cannot be compared with the window's bounds.
    """
    if header.window.kind == "files":
        names = ", ".join(string_literal(uri) for uri in header.replaced_files)
        return f"{alias}{quote(header.merge_order or SOURCE_FILE)} IN ({names})"
    field = next((item for item in header.destination.schema if item.name == header.merge_order), None)
    low, high = header.window.low, header.window.high
    if field is None or low is None or high is None:
        raise PermanentError(
            f"{header.window.column} is not loaded into {header.destination.path}, so that no rows there can "
            "be replaced by it; load it, or backfill with --append"
        )
    name = f"{alias}{quote(field.name)}"
    return f"{name} > {constant(low, field)} AND {name} <= {constant(high, field)}"


def constant(text: str, field: BqField) -> str:
    """A cursor's value as a literal of the destination column's type.

    Raises:
        PermanentError: the type orders other values, or orders them otherwise.
    """
    plain = text.removesuffix("+00")
    if field.mode != "REPEATED":
        number = _NUMBER.fullmatch(plain)
        if field.type in _NUMBERS and number:
            if field.type == "INT64" and not number[1]:
                return plain
            # A literal of a type with too few digits would be rounded; BigQuery compares the three types.
            few = len(number[1] or "") <= _NUMERIC_DIGITS and field.type != "BIGNUMERIC"
            return f"{'NUMERIC' if few else 'BIGNUMERIC'} '{plain}'"
        if field.type == "TIMESTAMP" and " " in plain:
            return f"TIMESTAMP '{plain}+00:00'"
        # Staged wall clocks are instants in UTC (commit/staging.py).
        if field.type == "DATETIME" and " " in plain:
            return f"DATETIME '{plain}'"
        if field.type == "DATE" and " " not in plain and "-" in plain:
            return f"DATE '{plain}'"
    raise PermanentError(
        f"column {field.name} is of type {field.type} and cannot be compared with the cursor's values, so "
        "that no rows can be replaced by it; backfill with --append"
    )
