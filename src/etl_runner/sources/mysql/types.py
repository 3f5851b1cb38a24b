"""MySQL and MariaDB types: the BigQuery field that loses nothing, and the select item that reads it exactly.

Values travel as the text that the server prints (:mod:`~etl_runner.sources.mysql.wire`), which is the value
itself for nearly all types. Rules that need a word:

- ``tinyint(1)`` is INT64: it holds 2 as well; a BOOL destination takes 0 and 1 and rejects the rest.
- ``bigint unsigned`` and ``bit(64)`` are NUMERIC: INT64 ends at 2^63 - 1.
- ``float`` is printed with six digits only and is therefore read as the double that it is.
- ``datetime`` is DATETIME and ``timestamp`` is TIMESTAMP: only the second one denotes an instant.
- ``time`` beyond a day or below zero, and dates with a zero in them, are rejects.
- Bytes are BYTES; geometries are WKT text without their SRID, or BYTES (SRID and WKB).

BigQuery's ranges: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etl_runner.convert.fields import BqField

Kind = Literal["text", "bytes", "int", "float", "date", "datetime", "timestamp"]
"""How a column arrives: as string, binary, int64, double, date32, timestamp[us], timestamp[us, UTC]."""

NUMERIC_WHOLE, NUMERIC_SCALE = 29, 9
BIGNUMERIC_WHOLE, BIGNUMERIC_SCALE = 38, 38

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_FLOATS = {"float", "double"}
_GEOMETRIES = {
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
}
_DECIMALS = ("NUMERIC", "BIGNUMERIC")
_NATURAL = {
    **dict.fromkeys(INTEGERS, "INT64"),
    **dict.fromkeys(_BYTES, "BYTES"),
    **dict.fromkeys(_FLOATS, "FLOAT64"),
    "year": "INT64",
    "date": "DATE",
    "time": "TIME",
    "datetime": "DATETIME",
    "timestamp": "TIMESTAMP",
    "json": "JSON",
}
_KINDS: dict[str, Kind] = {"date": "date", "datetime": "datetime", "timestamp": "timestamp"}
_ZERO = "zero dates and days that no calendar has are rejected"
_NOTES = {
    "date": _ZERO,
    "datetime": f"no zone, so DATETIME; {_ZERO}",
    "timestamp": "the zero timestamp is rejected",
    "time": "negative times and those of 24 hours or more are rejected; as STRING they are kept",
    "char": "without the spaces at its end, as the server gives it",
    "float": "the double that the float denotes",
    **dict.fromkeys(_GEOMETRIES, "WKT text; the SRID is left out; as BYTES: SRID and WKB"),
}
_FROM_TEXT = {
    "INT64",
    "FLOAT64",
    *_DECIMALS,
    "BOOL",
    "DATE",
    "DATETIME",
    "TIME",
    "TIMESTAMP",
    "GEOGRAPHY",
    "JSON",
}


@dataclass(frozen=True)
class MyType:
    """A column's type."""

    name: str
    """``DATA_TYPE`` of the catalog, in lower case: ``bigint``; MariaDB's JSON is ``json`` too."""
    unsigned: bool = False
    precision: int = 0
    """Of ``decimal``, and the bits of ``bit``."""
    scale: int = 0
    declared_scale: bool = False
    """Of ``float(7,2)`` and its like."""


@dataclass(frozen=True)
class Selection:
    """How one column is read: the select item, and what its text is made into."""

    expression: str
    kind: Kind = "text"


class Incompatible(Exception):  # noqa: N818 - an answer for the caller to word, not an error of its own
    """The type cannot be read for the destination without loss; the argument says what to do instead."""


def natural(type_: MyType) -> tuple[BqField, str | None]:
    """The field (without a name) that loses nothing, and what people should know about it."""
    if type_.name == "decimal":
        whole = type_.precision - type_.scale
        if whole <= NUMERIC_WHOLE and type_.scale <= NUMERIC_SCALE:
            return BqField("", "NUMERIC"), None
        if whole <= BIGNUMERIC_WHOLE and type_.scale <= BIGNUMERIC_SCALE:
            return BqField("", "BIGNUMERIC"), None
        return BqField("", "STRING"), "text: more digits than BIGNUMERIC has"
    if _is_wide(type_):
        return BqField("", "NUMERIC"), "beyond INT64's range"
    if type_.name == "bit":
        return BqField("", "INT64"), "the bits as a number"
    return BqField("", _NATURAL.get(type_.name, "STRING")), _NOTES.get(type_.name)


def select(type_: MyType, column: str, destination: BqField) -> Selection:
    """How ``column`` (SQL text) is read for ``destination``.

    Raises:
        Incompatible: the two cannot be joined without loss.
    """
    name, target = type_.name, destination.type
    if destination.mode == "REPEATED":
        raise Incompatible("a single value does not fill a REPEATED column")
    if target == "STRING":
        return Selection(_text(type_, column))
    if name in TEXTS and target in _FROM_TEXT:
        return Selection(column)
    if name in _GEOMETRIES and target == "GEOGRAPHY":
        return Selection(_text(type_, column))
    if target == "BYTES" and name in (_BYTES | _GEOMETRIES):
        return Selection(column, "bytes")
    if name in INTEGERS or name in ("year", "bit"):
        return _integer(type_, column, target)
    if name == "decimal" and target in (*_DECIMALS, "INT64"):
        # As text: the converter rejects what has more digits, or a fraction.
        return Selection(column)
    if name in _FLOATS and target in ("FLOAT64", *_DECIMALS):
        # For a decimal, the shortest text that denotes the double.
        return Selection(_text(type_, column), "float" if target == "FLOAT64" else "text")
    if name in _KINDS and (_NATURAL[name] == target or (name, target) == ("date", "DATETIME")):
        return Selection(column, _KINDS[name])
    if {name, target} in ({"datetime", "TIMESTAMP"}, {"timestamp", "DATETIME"}):
        other = "DATETIME" if target == "TIMESTAMP" else "TIMESTAMP"
        raise Incompatible(f"the column would have to be {other}; or name the zone in a query: CONVERT_TZ")
    if _NATURAL.get(name) == target:
        return Selection(column)
    raise Incompatible(f"it becomes {natural(type_)[0].type} or STRING; convert it in a query")


def _is_wide(type_: MyType) -> bool:
    return (type_.name == "bigint" and type_.unsigned) or (type_.name == "bit" and type_.precision > 63)


def _text(type_: MyType, column: str) -> str:
    """An expression whose text on the wire is the value."""
    if type_.name == "bit":
        return f"{column} + 0"
    if type_.name == "float" or type_.declared_scale:
        # Times one: six digits become those of the double, declared decimals end, and -0 stays what it is.
        return f"{column} * 1e0"
    if type_.name in _GEOMETRIES:
        return f"ST_AsText({column})"
    if type_.name in _BYTES:
        raise Incompatible("bytes become BYTES; say in a query what text they are: HEX, TO_BASE64, CONVERT")
    return column


def _integer(type_: MyType, column: str, target: str) -> Selection:
    expression = _text(type_, column)
    wide = _is_wide(type_)
    if target in (*_DECIMALS, "INT64"):
        return Selection(expression, "text" if wide else "int")
    if target == "BOOL" and not wide:
        return Selection(expression, "int")
    if target == "FLOAT64" and type_.name not in ("bigint", "bit"):
        return Selection(expression, "int")
    raise Incompatible("a whole number becomes INT64, NUMERIC, BIGNUMERIC or STRING; 0 and 1 become BOOL")
