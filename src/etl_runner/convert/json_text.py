"""Values that only Python can write as text: nested ones as JSON, intervals as BigQuery spells them.

A Python object per value: used for columns that are nested at the source and text at the destination.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
from typing import Any

import pyarrow as pa

_HOUR, _MINUTE, _SECOND = 3_600_000_000, 60_000_000, 1_000_000


class NotJson(ValueError):  # noqa: N818 - says what the value is, and is turned into ArrowInvalid below
    """A value that JSON has no way to write."""


def json_text(array: pa.Array) -> pa.Array:
    """Lists, structs and maps as JSON texts; decimals keep their digits, bytes become base64.

    Raises:
        pyarrow.ArrowInvalid: a NaN or an infinity, which JSON does not have.
    """
    try:
        texts = [
            None if value is None else _dump(value) for value in array.to_pylist(maps_as_pydicts="strict")
        ]
    except (NotJson, KeyError) as error:
        raise pa.ArrowInvalid(str(error)) from error
    return pa.array(texts, pa.string())


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_dump(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise NotJson("JSON has no NaN and no infinity")
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise NotJson("JSON has no NaN and no infinity")
        return format(value, "f")
    if isinstance(value, bytes):
        return json.dumps(base64.b64encode(value).decode())
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return json.dumps(value.isoformat())
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(str(value), ensure_ascii=False)


def interval_text(array: pa.Array) -> pa.Array:
    """Months, days and nanoseconds as ``Y-M D H:M:S.F``, the canonical form of BigQuery's INTERVAL
    (https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#interval_type).

    Raises:
        pyarrow.ArrowInvalid: an interval with a part below a microsecond, which BigQuery would drop.
    """
    return pa.array([None if not item.is_valid else _interval(item.as_py()) for item in array], pa.string())


def _interval(value: Any) -> str:
    micros, rest = divmod(abs(value.nanoseconds), 1000)
    if rest:
        raise pa.ArrowInvalid("the interval is finer than a microsecond")
    years, months = divmod(abs(value.months), 12)
    hours, left = divmod(micros, _HOUR)
    minutes, left = divmod(left, _MINUTE)
    seconds, fraction = divmod(left, _SECOND)
    clock = f"{_sign(value.nanoseconds)}{hours}:{minutes}:{seconds}"
    text = f"{_sign(value.months)}{years}-{months} {value.days} {clock}"
    return f"{text}.{fraction:06d}" if fraction else text


def _sign(number: int) -> str:
    return "-" if number < 0 else ""
