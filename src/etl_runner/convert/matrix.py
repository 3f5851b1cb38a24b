"""Which kind of value becomes which BigQuery type, and how sure that is: the table that routes keep to.

What is not in :data:`OUTCOMES` is refused: when the run is planned, or, for files whose types show only when
they are read, with the first batch. A declared length, precision or scale turns ``exact`` into ``checked``.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

Outcome = Literal["exact", "checked", "nearest", "by BigQuery"]
"""``exact``: every value arrives as it is. ``checked``: a value arrives as it is or its row is rejected.
``nearest``: a number becomes the FLOAT64 nearest to it; what is beyond all of them is rejected.
``by BigQuery``: the text is handed over, and one that BigQuery cannot read fails the run."""

_TEXT: dict[str, Outcome] = {
    **dict.fromkeys(
        ("INT64", "NUMERIC", "BIGNUMERIC", "BOOL", "STRING", "DATE", "DATETIME", "TIME", "TIMESTAMP", "JSON"),
        "checked",
    ),
    "FLOAT64": "nearest",
    "BYTES": "exact",
    **dict.fromkeys(("GEOGRAPHY", "INTERVAL", "RANGE"), "by BigQuery"),
}
_MOMENT: dict[str, Outcome] = {
    **dict.fromkeys(("DATE", "DATETIME", "TIMESTAMP"), "checked"),
    "STRING": "exact",
}
_NESTED: dict[str, Outcome] = {"STRING": "checked", "JSON": "checked"}

OUTCOMES: dict[str, dict[str, Outcome]] = {
    "bool": dict.fromkeys(("BOOL", "INT64", "FLOAT64", "STRING", "JSON"), "exact"),
    "int": {
        **dict.fromkeys(("INT64", "NUMERIC", "BIGNUMERIC", "STRING", "JSON"), "exact"),
        **dict.fromkeys(("FLOAT64", "BOOL"), "checked"),
    },
    "uint64": {
        **dict.fromkeys(("NUMERIC", "BIGNUMERIC", "STRING", "JSON"), "exact"),
        **dict.fromkeys(("INT64", "FLOAT64", "BOOL"), "checked"),
    },
    "float": {
        **dict.fromkeys(("FLOAT64", "STRING"), "exact"),
        **dict.fromkeys(("INT64", "NUMERIC", "BIGNUMERIC", "JSON"), "checked"),
    },
    "decimal": {
        **dict.fromkeys(("INT64", "NUMERIC", "BIGNUMERIC", "JSON"), "checked"),
        "FLOAT64": "nearest",
        "STRING": "exact",
    },
    "text": _TEXT,
    "bytes": {"BYTES": "exact", "STRING": "checked"},
    "uuid": {"STRING": "exact", "BYTES": "exact"},
    "date": {**_MOMENT, "STRING": "checked"},
    "time": {"TIME": "checked", "STRING": "exact"},
    "timestamp": _MOMENT,
    "datetime": _MOMENT,
    "interval": {"INTERVAL": "checked", "STRING": "checked"},
    "list": _NESTED,
    "struct": _NESTED,
    "map": _NESTED,
}


def kind_of(source: pa.DataType, source_type: str = "") -> str | None:
    """The kind of an Arrow type (wrappers taken off); None for one that the table does not know."""
    types = pa.types
    if types.is_fixed_size_binary(source) or types.is_binary(source):
        return "uuid" if source_type.partition("[")[0].strip().lower() == "uuid" else "bytes"
    if types.is_timestamp(source):
        return "timestamp" if source.tz else "datetime"
    for kind, matches in (
        ("bool", types.is_boolean),
        ("uint64", types.is_uint64),
        ("int", types.is_integer),
        ("float", types.is_floating),
        ("decimal", types.is_decimal),
        ("text", types.is_string),
        ("date", types.is_date),
        ("time", types.is_time),
        ("interval", types.is_interval),
        ("map", types.is_map),
        ("struct", types.is_struct),
        ("list", types.is_nested),
    ):
        if matches(source):
            return kind
    return None


def outcome(kind: str, destination: str) -> Outcome | None:
    """How values of the kind become values of the BigQuery type; None: they do not."""
    return OUTCOMES[kind].get(destination)
