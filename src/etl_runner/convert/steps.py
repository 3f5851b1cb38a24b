"""How a value of one Arrow type becomes a value of a BigQuery type: casts that lose nothing.

Every route is safe by itself (Arrow raises) or has checks that find what Arrow would let pass: hexadecimal
integers, ``1e400`` as infinity, 2 as true, the time of day dropped from a timestamp.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert import checks
from etl_runner.convert.arrow_schema import value_type
from etl_runner.convert.decimals import parse_decimals, rescale_decimals
from etl_runner.convert.fields import BqField
from etl_runner.convert.joined import any_of, joined, only
from etl_runner.convert.json_numbers import JsonNumbers, numbers_check, unfit_as_text
from etl_runner.convert.json_text import interval_text, json_text
from etl_runner.convert.matrix import kind_of, outcome

Step = Callable[[pa.Array], pa.Array]
"""May raise pyarrow.ArrowInvalid because of a value; then the failing values are looked for."""

_INTEGER_DIGITS = 19
_WITH_SECONDS = len("2020-01-31T12:34:56")
_PLAIN_MOMENT = b"0123456789:. T-"
_ZONE = r"([zZ]|[+-][0-9]{2}(:?[0-9]{2})?)$"
_INTEGER = r"^[+-]?[0-9]+$"
_FREE_TEXT = re.compile(r"(?i)(text|varchar|character|char|bpchar|name|string)\b(?!.*\[)")
_TRUE = ["true", "t", "yes", "y", "1"]
_FALSE = ["false", "f", "no", "n", "0"]


@dataclass(frozen=True)
class Route:
    """From a source type to ``target``: checks on the source, the cast, checks on the outcome, each with
    the sentence part that says what is wrong (``is not a whole number``)."""

    target: pa.DataType
    step: Step
    reason: str
    before: tuple[tuple[checks.Check, str], ...] = ()
    after: tuple[tuple[checks.Check, str], ...] = ()


def route(
    source: pa.DataType, field: BqField, source_type: str, json_numbers: JsonNumbers = "fail"
) -> Route | None:
    """The way from ``source`` to one value of ``field``, or None when there is none.

    ``source_type`` is the type as the source spells it; it tells a uuid from other 16 bytes.
    """
    kind = kind_of(source, source_type)
    if field.type not in _ROUTES or (kind is not None and outcome(kind, field.type) is None):
        return None
    found = _ROUTES[field.type](source, value_type(field), source_type)
    if found is not None and field.type == "JSON":
        found = _with_numbers(found, json_numbers)
    if found is None or field.max_length is None:
        return found
    limit = (checks.longest(field.max_length), f"is longer than {field.max_length}")
    return Route(found.target, found.step, found.reason, found.before, (*found.after, limit))


def _cast_to(target: pa.DataType) -> Step:
    return lambda array: array if array.type == target else pc.cast(array, target)


def _plain(target: pa.DataType, reason: str) -> Route:
    return Route(target, _cast_to(target), reason)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind))


def _int64(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    reason = "is not a whole number of 64 bits"
    if _is_text(source):

        def parse(array: pa.Array) -> pa.Array:
            return pc.cast(pc.ascii_ltrim(array, "+") if any_of(array, b"+") else array, target)

        return Route(target, parse, reason, before=((checks.matches(_INTEGER, b"-0123456789"), reason),))
    if (
        pa.types.is_integer(source)
        or pa.types.is_floating(source)
        or pa.types.is_decimal(source)
        or pa.types.is_boolean(source)
    ):
        return _plain(target, reason)
    return None


def _float64(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    if _is_text(source):
        reason = "is not a number that a FLOAT64 can hold"
        return Route(target, _cast_to(target), reason, after=((checks.finite_unless_said, reason),))
    if pa.types.is_decimal(source):
        # By way of text, because only the parser of text rounds to the nearest double.
        return Route(target, lambda array: pc.cast(pc.cast(array, pa.string()), target), "is not a number")
    if pa.types.is_floating(source) or pa.types.is_boolean(source):
        return _plain(target, "is not a number")
    if pa.types.is_integer(source):
        return _plain(target, "is a whole number that a FLOAT64 cannot hold exactly")
    return None


def _decimal(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    whole = target.precision - target.scale
    reason = f"is not a number of at most {whole} digits before and {target.scale} after the point"
    if _is_text(source):
        return Route(target, lambda array: parse_decimals(array, target), reason)
    if pa.types.is_decimal(source):
        return Route(target, lambda array: rescale_decimals(array, target), reason)
    if pa.types.is_integer(source):
        # Arrow wants room for the widest integer first; the second cast checks the values.
        wide = pa.decimal256(_INTEGER_DIGITS + 1 + target.scale, target.scale)
        return Route(target, lambda array: pc.cast(pc.cast(array, wide), target), reason)
    if pa.types.is_floating(source):
        # The shortest text that denotes the same float, never the binary expansion.
        return Route(
            target,
            lambda array: parse_decimals(pc.cast(array, pa.string()), target),
            reason,
            before=((checks.finite, "is not a finite number"),),
        )
    return None


def _bool(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    if pa.types.is_boolean(source):
        return _plain(target, "is not a truth value")
    if pa.types.is_integer(source):
        reason = "is neither 0 nor 1"
        return Route(target, _cast_to(target), reason, before=((checks.zero_or_one, reason),))
    if _is_text(source):
        # The words that BigQuery reads in CSV files:
        # https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-csv#data_types
        words = "|".join([*_TRUE, *_FALSE])
        reason = "is not a truth value"

        is_word = checks.matches(f"^(?i:{words})$")

        def parse(array: pa.Array) -> pa.Array:
            try:
                # Arrow's words are the first and the last of ours, in any case of letters.
                return pc.cast(array, target)
            except pa.ArrowInvalid:
                if is_word(array, array) is not None:
                    raise
            known = pc.is_in(pc.utf8_lower(array), pa.array(_TRUE))
            return pc.if_else(pc.is_valid(array), known, pa.scalar(None, pa.bool_()))

        return Route(target, parse, reason)
    return None


_DAYS = (checks.within(checks.FIRST_DAY, checks.LAST_DAY, pa.int32()), "is outside the years 1 to 9999")
_MICROS = (checks.within(checks.FIRST_MICRO, checks.LAST_MICRO, pa.int64()), "is outside the years 1 to 9999")


def _date(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    reason = "is not a date (YYYY-MM-DD)"
    if _is_text(source) or pa.types.is_date(source):
        return Route(target, _cast_to(target), reason, after=(_DAYS,))
    if pa.types.is_timestamp(source):
        exact = (checks.unchanged(pa.timestamp("us", tz=source.tz)), "has a time of day, which a DATE drops")
        return Route(target, _cast_to(target), reason, after=(_DAYS, exact))
    return None


def _time(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    reason = "is not a time of day (HH:MM:SS, at most 6 decimals)"
    day = (checks.within(0, checks.DAY_MICROS - 1, pa.int64()), "is not before 24:00:00")
    if pa.types.is_time(source):
        return Route(target, _cast_to(target), reason, after=(day,))
    if _is_text(source):

        def parse(array: pa.Array) -> pa.Array:
            dated = pc.binary_join_element_wise("1970-01-01", array, " ")
            return pc.cast(pc.cast(dated, pa.timestamp("us")), target)

        pattern = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?$"
        return Route(target, parse, reason, before=((checks.matches(pattern), reason),), after=(day,))
    return None


def _timestamp(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    reason = "is not a timestamp (YYYY-MM-DD HH:MM:SS, at most 6 decimals)"
    if _is_text(source):

        def parse(array: pa.Array) -> pa.Array:
            try:
                return pc.cast(array, target)
            except pa.ArrowInvalid:
                return pc.cast(_with_zone(array), target)

        return Route(target, parse, reason, after=(_MICROS,))
    if pa.types.is_timestamp(source) or pa.types.is_date(source):
        # A wall clock without a zone is taken as UTC, as BigQuery takes it.
        naive = pa.timestamp("us")
        step: Step = (
            _cast_to(target)
            if pa.types.is_timestamp(source) and source.tz
            else lambda array: pc.cast(pc.cast(array, naive), target)
        )
        return Route(target, step, reason, before=_day_bounds(source), after=(_MICROS,))
    return None


def _with_zone(array: pa.Array) -> pa.Array:
    """Texts that name no zone get ``Z``; a date alone becomes its midnight."""
    shortest = pc.min(pc.binary_length(array)).as_py() or 0
    if shortest >= _WITH_SECONDS and only(array, _PLAIN_MOMENT):
        dashes = bytes(joined(array)).count(b"-")
        if dashes == 2 * (len(array) - array.null_count):
            # Two in each date, so none is left for an offset.
            return pc.binary_join_element_wise(array, "Z", "")
    dates = pc.match_substring_regex(array, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    array = pc.if_else(dates, pc.binary_join_element_wise(array, " 00:00:00", ""), array)
    spaced = pc.replace_substring_regex(array, r" *(UTC|GMT)$", "Z")
    spaced = pc.replace_substring_regex(spaced, r" +([+-][0-9:]+)$", r"\1")
    zoned = pc.match_substring_regex(spaced, r":[0-9]{2}(\.[0-9]+)?" + _ZONE)
    return pc.if_else(zoned, spaced, pc.binary_join_element_wise(spaced, "Z", ""))


def _datetime(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    reason = "is not a date and time without a zone (YYYY-MM-DD HH:MM:SS, at most 6 decimals)"
    if _is_text(source) or pa.types.is_timestamp(source) or pa.types.is_date(source):
        # By way of a wall clock: text that names a zone is refused, an instant is shown in UTC.
        naive = pa.timestamp("us")
        return Route(
            target,
            lambda array: pc.cast(pc.cast(array, naive), target),
            reason,
            before=_day_bounds(source),
            after=(_MICROS,),
        )
    return None


def _day_bounds(source: pa.DataType) -> tuple[tuple[checks.Check, str], ...]:
    # Days far out overflow when they become microseconds: they are found while they are still days.
    if not pa.types.is_date32(source):
        return ()
    inner = checks.within(checks.FIRST_DAY, checks.LAST_DAY, pa.int32())
    return ((lambda array, _: inner(array, array), "is outside the years 1 to 9999"),)


def _string(source: pa.DataType, target: pa.DataType, source_type: str) -> Route | None:
    encoding = (checks.valid_utf8, "is not UTF-8 text")
    if _is_text(source):
        return Route(target, lambda array: array, "is not text", before=(encoding,))
    if pa.types.is_fixed_size_binary(source) or pa.types.is_binary(source):
        if source_type.partition("[")[0].strip().lower() == "uuid":
            return Route(target, _uuid_text, "is not a uuid of 16 bytes")
        return Route(target, lambda array: pc.cast(pc.cast(array, pa.binary()), target), "is not UTF-8 text")
    if pa.types.is_nested(source):
        return Route(target, json_text, "cannot be written as JSON")
    if pa.types.is_interval(source):
        return Route(target, interval_text, "is an interval finer than a microsecond")
    if pa.types.is_date(source):
        return Route(target, _cast_to(target), "is not a date", before=_day_bounds(source))
    return _plain(target, f"cannot be written as text ({source})")


def _json(source: pa.DataType, target: pa.DataType, source_type: str) -> Route | None:
    found = _string(source, target, source_type)
    if found is not None and pa.types.is_floating(source):
        return replace(found, before=(*found.before, (checks.finite, "is not a finite number")))
    if found is None or not _is_text(source) or not _FREE_TEXT.match(source_type):
        return found
    # Anything may stand in a text column; what a JSON type or the query itself wrote is JSON already.
    return replace(found, before=(*found.before, (checks.valid_json, "is not JSON")))


def _with_numbers(way: Route, mode: JsonNumbers) -> Route:
    if mode == "string":
        return replace(way, step=lambda array: unfit_as_text(way.step(array)))
    return replace(way, after=(*way.after, numbers_check(mode)))


def _uuid_text(array: pa.Array) -> pa.Array:
    """16 bytes as ``8-4-4-4-12`` hexadecimal digits (RFC 9562, section 4)."""
    values = pc.cast(array, pa.binary(16))
    # A slice or NULLs leave bytes in the buffer that are nobody's: fill and compact first.
    filled = pa.concat_arrays([pc.fill_null(values, b"\0" * 16)])
    data = filled.buffers()[1]
    raw = b"" if data is None else data.to_pybytes()[filled.offset * 16 : (filled.offset + len(filled)) * 16]
    digits = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(filled), [None, pa.py_buffer(raw.hex().encode())]
    )
    text = pc.cast(pc.cast(digits, pa.binary()), pa.string())
    parts = [pc.utf8_slice_codeunits(text, a, b) for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    joined = pc.binary_join_element_wise(*parts, "-")
    return pc.if_else(pc.is_valid(values), joined, pa.scalar(None, pa.string()))


def _bytes(source: pa.DataType, target: pa.DataType, _: str) -> Route | None:
    if pa.types.is_binary(source) or pa.types.is_fixed_size_binary(source) or _is_text(source):
        return _plain(target, "is not a string of bytes")
    return None


_ROUTES: dict[str, Callable[[pa.DataType, pa.DataType, str], Route | None]] = {
    "INT64": _int64,
    "FLOAT64": _float64,
    "NUMERIC": _decimal,
    "BIGNUMERIC": _decimal,
    "BOOL": _bool,
    "DATE": _date,
    "TIME": _time,
    "TIMESTAMP": _timestamp,
    "DATETIME": _datetime,
    "STRING": _string,
    "JSON": _json,
    "GEOGRAPHY": _string,
    "INTERVAL": _string,
    "RANGE": _string,
    "BYTES": _bytes,
}
