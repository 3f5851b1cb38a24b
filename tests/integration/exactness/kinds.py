"""How values are compared that two servers print: by the text that each makes of them itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Normal = Callable[[str], Any]


def _same(text: str) -> str:
    return text


def _number(text: str) -> tuple[int, Decimal]:
    return 0, Decimal(text)


def _double(text: str) -> str:
    return repr(float(text.replace("Infinity", "inf").replace("NaN", "nan")))


def _clock(text: str) -> str:
    """Without zeros at the end of the fraction of a second."""
    return text.replace("T", " ").rstrip("0").rstrip(".") if "." in text else text.replace("T", " ")


def _json(text: str) -> Any:
    return json.loads(text)


@dataclass(frozen=True)
class Kind:
    """How a type is compared: what BigQuery makes of it, text of a value on both sides, when texts are equal.

    ``{c}`` is the value. PostgreSQL's ``format('%s')`` calls the type's own output function.
    """

    field: str
    postgres: str = "format('%s', {c})"
    bigquery: str = "CAST({c} AS STRING)"
    normal: Normal = _same


INT = Kind("INTEGER")
TEXT = Kind("STRING", bigquery="{c}")
NUMERIC = Kind("NUMERIC", normal=_number)
MONEY = Kind("NUMERIC", "({c})::numeric::text", normal=_number)
BIGNUMERIC = Kind("BIGNUMERIC", normal=_number)
DOUBLE = Kind("FLOAT", "({c})::float8::text", normal=_double)
BOOL = Kind("BOOLEAN", "({c})::text")
BYTES = Kind("BYTES", "encode({c}, 'hex')", "TO_HEX({c})")
DATE = Kind("DATE")
TIME = Kind("TIME", normal=_clock)
DATETIME = Kind("DATETIME", normal=_clock)
TIMESTAMP = Kind(
    "TIMESTAMP", "(extract(epoch FROM {c}) * 1000000)::bigint::text", "CAST(UNIX_MICROS({c}) AS STRING)"
)
JSON = Kind("JSON", "to_json({c})::text", "TO_JSON_STRING({c})", _json)
