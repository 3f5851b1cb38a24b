"""PostgreSQL types: the BigQuery field that loses nothing, and the select item that reads it exactly.

``COPY ... (FORMAT binary)`` is decoded by a driver that knows the common types and gets some values wrong
without a word (infinite dates wrap, arrays of two dimensions become flat, ``oid`` above 2^31 turns
negative). So each type that it does not carry exactly is cast in the query, and each value that BigQuery
cannot hold is taken out of the row by the query itself and travels as text
(:mod:`etl_runner.convert.raw`).

Rules that need a word:

- **Arrays** become REPEATED fields of the element's type. BigQuery knows no NULL inside one, no array of
  arrays, no difference between a NULL array and an empty one, and no lower bounds: rows with a NULL element
  or with two dimensions are rejects; a NULL array arrives empty; bounds are dropped. A destination of type
  STRING or JSON takes any array as JSON text. Arrays of JSON, of composite types and of ``box`` are JSON.
- ``numeric`` arrives as text for the converter: without precision it is BIGNUMERIC, where NaN, infinities and
  what needs more digits are rejects; declared beyond BIGNUMERIC it is STRING.
- ``timestamp`` is DATETIME and never TIMESTAMP: nobody has said in which zone it was written.
- ``money`` is NUMERIC: the amount is exact, the currency is a setting of the server.
- ``char(n)`` keeps the padding that the server shows.
- Everything without a counterpart is STRING, in the server's own spelling (ISO 8601 for intervals).

BigQuery's ranges: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from etl_runner.convert.fields import BqField
from etl_runner.sources.quoting import literal, typed_literal

NUMERIC_WHOLE, NUMERIC_SCALE = 29, 9
BIGNUMERIC_WHOLE, BIGNUMERIC_SCALE = 38, 38


@dataclass(frozen=True)
class PgType:
    """A type with its modifier, domains already replaced by what they are made of."""

    name: str
    """``pg_type.typname`` of the base type: ``int4``, ``timestamptz``; of an array, ``_int4``."""
    sql: str
    """The base type as SQL text, quoted and qualified as needed: ``numeric(12,2)``, ``app.color[]``."""
    kind: str = "b"
    """``pg_type.typtype``: b base, c composite, e enum, r range, m multirange, p pseudo."""
    modifier: int = -1
    element: PgType | None = None
    """Of an array, the element's type."""
    domain: bool = False
    """Whether the column, or an array's element, was declared as a domain."""

    @property
    def precision_and_scale(self) -> tuple[int, int] | None:
        """Of ``numeric(p,s)``: ``(p, s)``; None where any number is allowed. ``s`` may be negative."""
        if self.name != "numeric" or self.modifier < 4:
            return None
        packed = self.modifier - 4
        scale = packed & 0x7FF
        return packed >> 16 & 0xFFFF, scale - 2048 if scale & 0x400 else scale


@dataclass(frozen=True)
class Selection:
    """How one column is read."""

    expression: str
    fits: str | None = None
    """A condition that is true for each non-NULL value that ``expression`` gives exactly; None: all are."""
    raw: str = ""
    """The value as the server writes it, for rows where ``fits`` is not true."""
    binary: str | None = None
    """The column itself, for our own decoder of binary COPY, which finds what does not fit among the bytes;
    None where it reads ``expression`` too."""


class Incompatible(Exception):  # noqa: N818 - an answer for the caller to word, not an error of its own
    """The type cannot be read for the destination without loss; the argument says what to do instead."""


_INTEGERS = {"int2", "int4", "int8"}
_FLOATS = {"float4", "float8"}
_CARRIED_TEXT = {"text", "varchar", "bpchar", "name"}
_JSON = {"json", "jsonb"}
# Types whose values BigQuery holds only between bounds: type -> (first, one beyond the last).
_BOUNDS = {
    "date": ("date", "0001-01-01", "10000-01-01"),
    "timestamp": ("timestamp", "0001-01-01", "10000-01-01"),
    "timestamptz": ("timestamptz", "0001-01-01 00:00:00+00", "10000-01-01 00:00:00+00"),
    "time": ("time", "00:00:00", "24:00:00"),
}
_NATURAL = {
    **dict.fromkeys(_INTEGERS, "INT64"),
    **dict.fromkeys(_FLOATS, "FLOAT64"),
    "oid": "INT64",
    "xid": "INT64",
    "cid": "INT64",
    "xid8": "NUMERIC",
    "money": "NUMERIC",
    "bytea": "BYTES",
    "bool": "BOOL",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "DATETIME",
    "timestamptz": "TIMESTAMP",
    "json": "JSON",
    "jsonb": "JSON",
}
_NOTES = {
    "date": "infinite dates and years outside 0001 to 9999 are rejected",
    "timestamp": "no zone, so DATETIME; infinite values and years outside 0001 to 9999 are rejected",
    "timestamptz": "infinite values and years outside 0001 to 9999 are rejected",
    "time": "24:00:00 is rejected",
    "timetz": "text with its offset: BigQuery has no time with a zone",
    "interval": "ISO 8601 text",
    "money": "the amount; the currency is the server's lc_monetary",
    "bpchar": "padded with spaces, as the server shows it",
}


def natural(type_: PgType) -> tuple[BqField, str | None]:
    """The field (without a name) that loses nothing, and what people should know about it."""
    if type_.element is not None:
        if _is_json_array(type_.element):
            return BqField("", "JSON"), "an array as JSON text"
        field, note = natural(type_.element)
        limits = "rows with NULL elements or several dimensions are rejected; NULL arrives as an empty array"
        return replace(field, mode="REPEATED"), f"{limits}; {note}" if note else limits
    if type_.name == "numeric":
        return _natural_numeric(type_)
    if type_.kind == "c" or type_.name in ("hstore", "record"):
        return BqField("", "JSON"), "JSON text"
    return BqField("", _NATURAL.get(type_.name, "STRING")), _NOTES.get(type_.name)


def _natural_numeric(type_: PgType) -> tuple[BqField, str | None]:
    declared = type_.precision_and_scale
    if declared is None:
        return (
            BqField("", "BIGNUMERIC"),
            "NaN, infinities and values beyond 38 digits before or after the point are rejected",
        )
    precision, scale = declared
    note = "NaN is rejected"
    if precision - scale <= NUMERIC_WHOLE and scale <= NUMERIC_SCALE:
        return BqField("", "NUMERIC"), note
    if precision - scale <= BIGNUMERIC_WHOLE and scale <= BIGNUMERIC_SCALE:
        return BqField("", "BIGNUMERIC"), note
    return BqField("", "STRING"), "text: more digits than BIGNUMERIC has"


def select(type_: PgType, column: str, destination: BqField) -> Selection:
    """How ``column`` (SQL text of a value of ``type_``) is read for ``destination``.

    Raises:
        Incompatible: the two cannot be joined without loss.
    """
    if destination.mode == "REPEATED":
        return _array(type_, column, destination)
    target = destination.type
    if target == "JSON":
        return _as_json(type_, column)
    if target == "STRING":
        if type_.element is not None or _is_json_only(type_):
            return _as_json(type_, column)
        # As 16 bytes a uuid is less than half as long.
        short = _base(type_, column) if type_.name == "uuid" else None
        return Selection(exact_text(type_, column), binary=short)
    if type_.element is not None:
        raise Incompatible("an array needs a REPEATED, JSON or STRING column")
    if type_.name in _CARRIED_TEXT or type_.name == "citext":
        # Text in a typed column: the converter parses it, and rejects what does not parse.
        if target in _PARSED_FROM_TEXT:
            return Selection(exact_text(type_, column))
        raise Incompatible("text becomes STRING, a number, BOOL, DATE, DATETIME, TIME, TIMESTAMP or JSON")
    return _typed(type_, column, target)


_PARSED_FROM_TEXT = {
    "INT64",
    "FLOAT64",
    "NUMERIC",
    "BIGNUMERIC",
    "BOOL",
    "DATE",
    "DATETIME",
    "TIME",
    "TIMESTAMP",
    "GEOGRAPHY",
}


def exact_text(type_: PgType, column: str) -> str:
    """The value as the server writes it, as ``text``."""
    if type_.name in _CARRIED_TEXT:
        # char(n)::text would drop the padding; the other three are text on the wire already.
        return _base(type_, column)
    if type_.name == "inet":
        # inet::text shows a netmask that the type's own output leaves out for single hosts.
        return f"textin(inet_out({column}))"
    return f"({column})::text"


def _base(type_: PgType, column: str) -> str:
    """The column as its base type: the driver knows base types only."""
    return f"({column})::{type_.sql}" if type_.domain else column


def _is_json_only(type_: PgType) -> bool:
    return type_.name in _JSON or type_.kind == "c" or type_.name in ("hstore", "record")


def _is_json_array(element: PgType) -> bool:
    # box is the one type whose arrays are written with semicolons, so that text[] does not read them.
    return _is_json_only(element) or element.name == "box"


def _as_json(type_: PgType, column: str) -> Selection:
    if type_.name in _JSON:
        return Selection(_base(type_, column))
    if type_.name in _CARRIED_TEXT or type_.name == "citext":
        # Text for a JSON column is JSON text already.
        return Selection(exact_text(type_, column))
    return Selection(f"to_json({column})::text")


def _guarded(column: str, expression: str, fits: str) -> Selection:
    return Selection(f"CASE WHEN {fits} THEN {expression} END", fits, f"({column})::text")


def _within(type_: PgType, column: str) -> str:
    base, first, beyond = _BOUNDS[type_.name]
    return f"{column} >= {typed_literal(first, base)} AND {column} < {typed_literal(beyond, base)}"


def _typed(type_: PgType, column: str, target: str) -> Selection:
    """A scalar that is not text, for a destination that is neither STRING nor JSON."""
    name = type_.name
    if name in _INTEGERS:
        return _integer(type_, column, target)
    if name in ("oid", "xid", "cid") and target in ("INT64", "NUMERIC", "BIGNUMERIC"):
        return Selection(f"({column})::text::int8")
    if name == "xid8" and target in ("NUMERIC", "BIGNUMERIC"):
        return Selection(f"({column})::text::numeric")
    if name in ("numeric", "money"):
        number = f"({column})::numeric" if name == "money" else _base(type_, column)
        return _numeric(column, number, target)
    if name in _FLOATS:
        return _float(type_, column, target)
    if name in _BOUNDS:
        return _time(type_, column, target)
    if name == "bool" and target == "INT64":
        return Selection(f"({column})::int4")
    if name == "uuid" and target == "BYTES":
        return Selection(f"uuid_send({column})")
    if _NATURAL.get(name) == target:
        return Selection(_base(type_, column))
    if name == "interval" and target == "INTERVAL":
        fits = (
            f"{column} BETWEEN {typed_literal('-9999 years', 'interval')}"
            f" AND {typed_literal('9999 years', 'interval')}"
        )
        return _guarded(column, f"({column})::text", fits)
    raise Incompatible(f"it becomes {_NATURAL.get(name, 'STRING')}, or STRING; convert it in a query")


def _integer(type_: PgType, column: str, target: str) -> Selection:
    if target in ("INT64", "NUMERIC", "BIGNUMERIC"):
        return Selection(_base(type_, column))
    if target == "FLOAT64":
        if type_.name != "int8":
            return Selection(_base(type_, column))
        # 2^53: beyond it not every whole number is a double.
        fits = f"{column} BETWEEN -9007199254740992 AND 9007199254740992"
        return _guarded(column, _base(type_, column), fits)
    raise Incompatible("a whole number becomes INT64, NUMERIC, BIGNUMERIC, FLOAT64 or STRING")


_INT64_NUMERIC = "BETWEEN -9223372036854775808 AND 9223372036854775807"


def _numeric(column: str, number: str, target: str) -> Selection:
    if target in ("NUMERIC", "BIGNUMERIC"):
        return Selection(number)
    if target == "INT64":
        fits = f"CASE WHEN {number} {_INT64_NUMERIC} THEN {number} = trunc({number}) END"
        return _guarded(column, f"({number})::int8", fits)
    if target == "FLOAT64":
        # Exact in the sense that the double's shortest decimal is the number itself.
        fits = (
            f"CASE WHEN {number} = 0 OR ({number})::text IN ('NaN', 'Infinity', '-Infinity') THEN true"
            f" WHEN abs({number}) BETWEEN 1e-300 AND 1e300"
            f" THEN ({number})::float8::text::numeric = {number} END"
        )
        return _guarded(column, f"({number})::float8", fits)
    raise Incompatible("a decimal becomes NUMERIC, BIGNUMERIC, INT64 or FLOAT64 where exact, or STRING")


def _float(type_: PgType, column: str, target: str) -> Selection:
    if target == "FLOAT64":
        return Selection(_base(type_, column))
    finite = f"({column})::float8 NOT IN ('NaN', 'Infinity', '-Infinity')"
    if target in ("NUMERIC", "BIGNUMERIC"):
        # Through its shortest decimal, which reads back as the same double; the cast keeps 15 digits only.
        return _guarded(column, f"({column})::text::numeric", finite)
    if target == "INT64":
        value = f"({column})::float8"
        fits = (
            f"CASE WHEN {value} >= -9223372036854775808 AND {value} < 9223372036854775808"
            f" THEN {value} = trunc({value}) END"
        )
        return _guarded(column, f"({column})::int8", fits)
    raise Incompatible("a floating-point number becomes FLOAT64, NUMERIC, BIGNUMERIC, INT64 or STRING")


def _time(type_: PgType, column: str, target: str) -> Selection:
    name = type_.name
    within = _within(type_, column)
    if _NATURAL[name] == target:
        base = _base(type_, column)
        return replace(_guarded(column, base, within), binary=base)
    if name == "date" and target == "DATETIME":
        return _guarded(column, f"({column})::timestamp", within)
    if name in ("timestamp", "timestamptz") and target in ("DATETIME", "TIMESTAMP"):
        other = "TIMESTAMP" if target == "DATETIME" else "DATETIME"
        raise Incompatible(f"the column would have to be {other}; or name the zone in a query: AT TIME ZONE")
    raise Incompatible(f"it becomes {_NATURAL[name]} or STRING; convert it in a query")


def _array(type_: PgType, column: str, destination: BqField) -> Selection:
    element = type_.element
    if element is None:
        raise Incompatible("a single value does not fill a REPEATED column")
    if _is_json_array(element):
        raise Incompatible("it becomes a JSON or STRING column")
    field, _ = natural(element)
    text = field.type == "STRING" and destination.type == "STRING"
    if field.type != destination.type and not _widens(element, destination.type):
        raise Incompatible(f"its elements become REPEATED {field.type}; or the column is JSON or STRING")
    if text and element.name not in _CARRIED_TEXT:
        values = f"({column})::text::text[]"
    elif element.name in ("oid", "xid", "cid"):
        values = f"({column})::text::int8[]"
    elif element.name in ("xid8", "money"):
        values = f"({column})::{'text::' if element.name == 'xid8' else ''}numeric[]"
    elif type_.domain:
        values = f"({column})::{element.sql}[]"
    else:
        values = column
    one_dimension = f"array_ndims({column}) = 1"
    if element.name in _BOUNDS:
        base, first, beyond = _BOUNDS[element.name]
        # ALL over a NULL element is NULL, so these two also find NULL elements.
        lowest, limit = typed_literal(first, base), typed_literal(beyond, base)
        good = f"{lowest} <= ALL ({column}) AND {limit} > ALL ({column})"
    else:
        good = f"array_position({values}, NULL) IS NULL"
    # CASE keeps the order: array_position refuses arrays of several dimensions.
    fits = f"CASE WHEN {one_dimension} THEN {good} ELSE array_ndims({column}) IS NULL END"
    # A slice begins at 1: the driver reads no array that begins elsewhere, as '[5:6]={8,9}' does.
    return _guarded(column, f"({values})[:]", fits)


def _widens(element: PgType, target: str) -> bool:
    """Element types that the converter makes into ``target`` without loss."""
    whole = element.name in _INTEGERS
    return (whole and target in ("NUMERIC", "BIGNUMERIC")) or (
        element.name == "numeric" and target in ("NUMERIC", "BIGNUMERIC")
    )


def guarded_items(selections: Mapping[str, Selection]) -> tuple[list[tuple[str, str]], str | None]:
    """The select items, for destination name -> selection, and the raw column's item, if any."""
    return [(item.expression, name) for name, item in selections.items()], raw_item(selections)


def binary_items(selections: Mapping[str, Selection]) -> tuple[list[tuple[str, str]], str | None]:
    """The select items for our own decoder, and the raw column's item, if any value is guarded still."""
    guarded = {name: item for name, item in selections.items() if item.binary is None}
    return [(item.binary or item.expression, name) for name, item in selections.items()], raw_item(guarded)


def raw_item(selections: Mapping[str, Selection]) -> str | None:
    """The select item of the raw column, for destination name -> selection; None when every value fits."""
    guarded = {name: item for name, item in selections.items() if item.fits is not None}
    if not guarded:
        return None
    # A NULL value leaves fits NULL or true, and its raw text is NULL: it is no entry.
    unfit = " OR ".join(
        f"(({item.fits}) IS NOT TRUE AND {item.raw} IS NOT NULL)" for item in guarded.values()
    )
    names = ", ".join(literal(name) for name in guarded)
    values = ", ".join(
        f"CASE WHEN ({item.fits}) IS NOT TRUE THEN {item.raw} END" for item in guarded.values()
    )
    return f"CASE WHEN {unfit} THEN json_object(ARRAY[{names}]::text[], ARRAY[{values}]::text[])::text END"
