"""The Arrow (and so Parquet) type of a BigQuery column, as a Parquet load reads it.

Rules: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet ("Type conversions" and
"List logical type"); decimal bounds:
https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError

NUMERIC_PRECISION, NUMERIC_SCALE = 38, 9
BIGNUMERIC_PRECISION, BIGNUMERIC_SCALE = 76, 38
"""BIGNUMERIC's documented 76.76 digits go up to 5.78e38; a Parquet decimal stops at 76 whole digits."""

_DECIMAL128_DIGITS = 38

_SIMPLE: dict[str, pa.DataType] = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    # Staged as the instant of that wall clock in UTC, which a query turns back (commit/staging.py): a
    # Parquet timestamp without a zone is no type that BigQuery's documentation loads.
    "DATETIME": pa.timestamp("us", tz="UTC"),
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
    "INTERVAL": pa.string(),
    "RANGE": pa.string(),
}


def decimal_type(precision: int, scale: int) -> pa.DataType:
    """The smallest Arrow decimal that holds ``precision`` digits, ``scale`` of them after the point."""
    if precision <= _DECIMAL128_DIGITS:
        return pa.decimal128(precision, scale)
    return pa.decimal256(precision, scale)


def value_type(field: BqField) -> pa.DataType:
    """The Arrow type of one value of ``field``: of an element, when the field is REPEATED.

    Raises:
        PermanentError: the field's type is none that BigQuery has.
    """
    if field.type == "NUMERIC":
        # A declared precision without a scale means scale 0.
        scale = field.scale if field.scale is not None else (0 if field.precision else NUMERIC_SCALE)
        return decimal_type(field.precision or NUMERIC_PRECISION, scale)
    if field.type == "BIGNUMERIC":
        scale = field.scale if field.scale is not None else (0 if field.precision else BIGNUMERIC_SCALE)
        return decimal_type(field.precision or BIGNUMERIC_PRECISION, scale)
    if field.type == "STRUCT":
        return pa.struct([arrow_field(nested) for nested in field.fields])
    simple = _SIMPLE.get(field.type)
    if simple is None:
        raise PermanentError(f"column {field.name!r} has the type {field.type}, which cannot be loaded")
    return simple


def arrow_field(field: BqField) -> pa.Field:
    """The field as it stands in a shard. A REPEATED field is a list of non-null elements (the three-level
    form), itself never null: BigQuery does not tell NULL from an empty array."""
    kind = value_type(field)
    if field.mode == "REPEATED":
        return pa.field(field.name, pa.list_(pa.field("element", kind, nullable=False)), nullable=False)
    return pa.field(field.name, kind, nullable=field.mode != "REQUIRED")


def arrow_schema(fields: Sequence[BqField]) -> pa.Schema:
    """The schema of a shard that fills ``fields``, in their order."""
    return pa.schema([arrow_field(field) for field in fields])
