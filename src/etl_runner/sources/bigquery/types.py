"""Which BigQuery type becomes which: by a query inside BigQuery, or by way of Arrow and the converter.

A query is used only where it gives exactly what the converter would give, so that the engine changes no
value: https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_rules. An assignment to
a NUMERIC of fewer digits rounds and is left to the converter, which refuses
(https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#parameterized_decimal_type).
"""

from __future__ import annotations

from dataclasses import replace

from etl_runner.convert.fields import BqField, Mode

_NUMBERS = frozenset({"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "STRING"})
_MOMENTS = frozenset({"DATE", "DATETIME", "TIMESTAMP", "STRING"})
_CONVERTED: dict[str, frozenset[str]] = {
    "INT64": _NUMBERS | {"BOOL"},
    "FLOAT64": _NUMBERS,
    "NUMERIC": _NUMBERS,
    "BIGNUMERIC": _NUMBERS,
    "BOOL": frozenset({"BOOL", "INT64", "FLOAT64", "STRING"}),
    "STRING": frozenset(
        {*_NUMBERS, *_MOMENTS, "BOOL", "BYTES", "TIME", "JSON", "GEOGRAPHY", "INTERVAL", "RANGE"}
    ),
    "BYTES": frozenset({"BYTES", "STRING"}),
    "DATE": _MOMENTS,
    "DATETIME": _MOMENTS,
    "TIMESTAMP": _MOMENTS,
    "TIME": frozenset({"TIME", "STRING"}),
    "JSON": frozenset({"JSON", "STRING"}),
    "GEOGRAPHY": frozenset({"GEOGRAPHY", "STRING"}),
    "INTERVAL": frozenset({"INTERVAL", "STRING"}),
    "RANGE": frozenset({"RANGE", "STRING"}),
    "STRUCT": frozenset({"STRUCT", "STRING", "JSON"}),
}
"""What the converter makes of the Arrow values that the Storage Read API sends."""
_CAST = frozenset(
    {
        ("INT64", "NUMERIC"),
        ("INT64", "BIGNUMERIC"),
        ("INT64", "STRING"),
        ("NUMERIC", "BIGNUMERIC"),
        ("BOOL", "STRING"),
        ("BOOL", "INT64"),
        ("DATE", "STRING"),
    }
)
"""Casts that keep every value and spell it as the converter does, to types without parameters."""


def natural(field: BqField) -> BqField:
    """The field that holds every value of the column: itself, never REQUIRED."""
    mode: Mode = "REPEATED" if field.mode == "REPEATED" else "NULLABLE"
    return replace(field, mode=mode, fields=tuple(natural(nested) for nested in field.fields))


def declared(field: BqField) -> str:
    """The type as SQL spells it: ``NUMERIC(10, 2)``, ``ARRAY<STRUCT<a INT64>>``."""
    kind = field.type
    if field.type == "STRUCT":
        kind = f"STRUCT<{', '.join(f'{nested.name} {declared(nested)}' for nested in field.fields)}>"
    elif field.type == "RANGE":
        kind = f"RANGE<{field.range_element_type}>"
    elif field.max_length is not None:
        kind = f"{kind}({field.max_length})"
    elif field.precision is not None:
        kind = f"{kind}({field.precision}, {field.scale or 0})"
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind


def convertible(source: BqField, destination: BqField) -> bool:
    """Whether the converter has a way from one to the other; single values may still be refused."""
    if source.mode == "REPEATED" and destination.mode != "REPEATED":
        return destination.type in ("STRING", "JSON")
    if source.mode != "REPEATED" and destination.mode == "REPEATED":
        return False
    if destination.type not in _CONVERTED.get(source.type, frozenset()):
        return False
    if source.type == "STRUCT" == destination.type:
        there = {nested.name: nested for nested in source.fields}
        return all(
            convertible(there[nested.name], nested) if nested.name in there else nested.mode != "REQUIRED"
            for nested in destination.fields
        )
    return source.type != "RANGE" or destination.type != "RANGE" or _same_element(source, destination)


def by_query(source: BqField, destination: BqField, name: str) -> str | None:
    """SQL that turns the column into the destination's type exactly; None where only the converter can.

    Args:
        name: the column as SQL.
    """
    if destination.mode == "REQUIRED" and source.mode != "REQUIRED":
        return None
    if same(source, destination):
        return name
    if "REPEATED" in (source.mode, destination.mode) or (source.type, destination.type) not in _CAST:
        return None
    if destination.max_length is not None or destination.precision is not None:
        return None
    return f"CAST({name} AS {destination.type})"


def same(source: BqField, destination: BqField) -> bool:
    """Whether every value of the one is a value of the other, as it is."""
    if source.type != destination.type or (source.mode == "REPEATED") != (destination.mode == "REPEATED"):
        return False
    if source.type == "STRUCT":
        return len(source.fields) == len(destination.fields) and all(
            one.name.lower() == other.name.lower()
            and (other.mode != "REQUIRED" or one.mode == "REQUIRED")
            and same(one, other)
            for one, other in zip(source.fields, destination.fields, strict=True)
        )
    if source.type == "RANGE":
        return _same_element(source, destination)
    if destination.max_length is not None:
        return source.max_length is not None and source.max_length <= destination.max_length
    if destination.precision is None:
        return True
    if source.precision is None:
        return False
    scale, wanted = source.scale or 0, destination.scale or 0
    return scale <= wanted and source.precision - scale <= destination.precision - wanted


def _same_element(source: BqField, destination: BqField) -> bool:
    return source.range_element_type == destination.range_element_type
