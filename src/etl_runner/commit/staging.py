"""Destinations that a Parquet load cannot fill, and how a query fills them instead.

BigQuery loads Parquet into no JSON, INTERVAL or RANGE column
(https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#parquet_conversions), and
DATETIME is taken as unproven. Such a run is loaded into a staging table of its own, that expires by
itself, and published by one query.
"""

from __future__ import annotations

from dataclasses import replace

from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError

_STAGED = {"JSON": "STRING", "INTERVAL": "STRING", "RANGE": "STRING", "DATETIME": "TIMESTAMP"}
# "exact", which fails the job, is PARSE_JSON's own default.
_WIDE_NUMBERS = {"fail": "", "round": ", wide_number_mode => 'round'", "string": ""}


def needs_staging(field: BqField) -> bool:
    """Whether the column, or a field within it, cannot be loaded from Parquet."""
    return field.type in _STAGED or any(needs_staging(nested) for nested in field.fields)


def staging_field(field: BqField) -> BqField:
    """The column of the staging table: same name, a type that Parquet fills, never REQUIRED.

    Raises:
        PermanentError: the type hides within a STRUCT, where no query of ours puts it back.
    """
    if any(needs_staging(nested) for nested in field.fields):
        raise PermanentError(
            f"column {field.name}: JSON, INTERVAL, RANGE and DATETIME inside a RECORD cannot be loaded; "
            "make the column JSON or STRING"
        )
    mode = "NULLABLE" if field.mode == "REQUIRED" else field.mode
    kind = _STAGED.get(field.type, field.type)
    if kind == field.type:
        return replace(field, mode=mode)
    return BqField(name=field.name, type=kind, mode=mode)


def publish_expression(field: BqField, json_numbers: str = "fail") -> str:
    """SQL that turns the staged column into the destination's type.

    ``json_numbers`` says what becomes of JSON numbers beyond 64 bits: only ``round`` leaves any to the query,
    the others were rejected or made text before (convert/json_numbers.py).
    https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#parse_json
    """
    name = quote(field.name)
    if field.type not in _STAGED:
        return name
    if field.mode == "REPEATED":
        items = f"UNNEST({name}) AS item WITH OFFSET AS position ORDER BY position"
        return f"ARRAY(SELECT {_convert('item', field, json_numbers)} FROM {items}) AS {name}"
    return f"{_convert(name, field, json_numbers)} AS {name}"


def _convert(value: str, field: BqField, json_numbers: str) -> str:
    if field.type == "JSON":
        return f"PARSE_JSON({value}{_WIDE_NUMBERS[json_numbers]})"
    if field.type == "DATETIME":
        return f"DATETIME({value}, 'UTC')"
    if field.type == "RANGE":
        return _range(value, field.range_element_type or "DATE")
    return f"CAST({value} AS {field.type})"


def _range(value: str, kind: str) -> str:
    """``[start, end)`` as a RANGE; UNBOUNDED is an absent end.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/range-functions#range
    """
    ends = (
        f"CAST(NULLIF(REGEXP_EXTRACT({value}, r'{pattern}'), 'UNBOUNDED') AS {kind})"
        for pattern in (r"^\[(.*), ", r", (.*)\)$")
    )
    return f"IF({value} IS NULL, NULL, RANGE({', '.join(ends)}))"


def quote(name: str) -> str:
    """A BigQuery identifier in backquotes.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#quoted_identifiers
    """
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string_literal(text: str) -> str:
    """A STRING literal. Object names may hold anything but a NUL.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#escape_sequences
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
