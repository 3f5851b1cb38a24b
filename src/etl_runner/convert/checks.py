"""Vectorised questions about values: which of a column's values break a rule of the destination's type.

A check sees the values before and after the cast, of the same length, and answers with a mask that is
true where the value is bad (NULLs never are), or with None when all is well, which is the usual and the
cheap case.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.joined import only

Mask: TypeAlias = pa.BooleanArray
Check: TypeAlias = Callable[[pa.Array, pa.Array], Mask | None]

DAY_MICROS = 86_400_000_000
# 0001-01-01 and 9999-12-31, BigQuery's first and last day, in days from 1970-01-01.
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#date_type
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
FIRST_MICRO, LAST_MICRO = FIRST_DAY * DAY_MICROS, (LAST_DAY + 1) * DAY_MICROS - 1


def any_true(mask: Mask) -> Mask | None:
    """The mask with NULL as false, or None when nothing in it is true."""
    if not pc.any(mask).as_py():
        return None
    return pc.fill_null(mask, False)


def within(first: int, last: int, storage: pa.DataType) -> Check:
    """Result values, seen as the integers that they are stored as, lie from ``first`` to ``last``."""

    def check(_: pa.Array, result: pa.Array) -> Mask | None:
        # The smallest and the largest decide nearly always; the integers themselves may be beyond what
        # Python's datetime can show, so they are never turned into dates.
        bounds = pc.min_max(result.view(storage))
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        if low is None or (low >= first and high <= last):
            return None
        numbers = result.view(storage)
        return any_true(pc.or_(pc.less(numbers, first), pc.greater(numbers, last)))

    return check


def matches(pattern: str, unless: bytes = b"") -> Check:
    """The source text matches an RE2 pattern; texts of no bytes but ``unless`` are left to the cast, which
    refuses what is wrong with such ones."""

    def check(source: pa.Array, _: pa.Array) -> Mask | None:
        if unless and only(source, unless):
            return None
        return any_true(pc.invert(pc.match_substring_regex(source, pattern)))

    return check


def longest(limit: int) -> Check:
    """Result texts have at most ``limit`` characters, result bytes at most ``limit`` bytes."""

    def check(_: pa.Array, result: pa.Array) -> Mask | None:
        length = pc.binary_length if pa.types.is_binary(result.type) else pc.utf8_length
        return any_true(pc.greater(length(result), limit))

    return check


def zero_or_one(source: pa.Array, _: pa.Array) -> Mask | None:
    """Source numbers are 0 or 1, nothing else that a cast would call true."""
    strange = pc.invert(pc.is_in(source, pa.array([0, 1], source.type)))
    return any_true(pc.and_(strange, pc.is_valid(source)))


def finite_unless_said(source: pa.Array, result: pa.Array) -> Mask | None:
    """A text that became infinite says so itself: ``1e400`` does not."""
    infinite = pc.is_inf(result)
    if not pc.any(infinite).as_py():
        return None
    return any_true(pc.and_not(infinite, pc.match_substring(source, "inf", ignore_case=True)))


def finite(source: pa.Array, _: pa.Array) -> Mask | None:
    """Source floats are neither NaN nor infinite."""
    return any_true(pc.invert(pc.is_finite(source)))


def unchanged(back: pa.DataType) -> Check:
    """Cast to ``back`` again, source and result are equal: the cast dropped nothing."""

    def check(source: pa.Array, result: pa.Array) -> Mask | None:
        return any_true(pc.not_equal(pc.cast(source, back), pc.cast(result, back)))

    return check


def valid_utf8(source: pa.Array, _: pa.Array) -> Mask | None:
    """Source texts are UTF-8: a database whose encoding is none at all can hold anything."""
    try:
        source.validate(full=True)
    except pa.ArrowInvalid:
        bad = [not _decodes(value) for value in source.cast(pa.binary())]
        return any_true(pa.array(bad, pa.bool_()))
    return None


def valid_json(source: pa.Array, _: pa.Array) -> Mask | None:
    """Source texts are JSON (RFC 8259: no NaN, no infinity). Costs a Python object a value."""
    return any_true(pa.array([not _is_json(text) for text in source.to_pylist()], pa.bool_()))


def _is_json(text: str | None) -> bool:
    if text is None:
        return True
    try:
        # Digits stay digits: Python refuses to make integers of very many.
        json.loads(text, parse_constant=_refuse, parse_int=len)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _decodes(value: Any) -> bool:
    if not value.is_valid:
        return True
    try:
        value.as_py().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
