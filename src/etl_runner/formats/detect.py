"""What a column holds, told from samples of one or several files, and the type that loses nothing.

The rules are conservative: a type is chosen only if the value can be written back as it was. ``00123`` and
``+5`` are text, a number of 25 digits is NUMERIC and never a float, dates are ISO 8601 only, an instant
needs a zone (its offset is the one thing given up: the instant stays), ``yes`` is no truth value.
Whatever is in doubt is STRING. A later value that does not fit the type is rejected, never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.fields import BqField
from etl_runner.formats.base import Sample
from etl_runner.sources.base import SourceColumn

Kind = Literal[
    "bool", "int", "decimal", "float", "date", "datetime", "timestamp", "time", "text", "bytes", "object",
    "array", "json",
]  # fmt: skip

# NUMERIC holds 29 digits before the point and 9 after it, BIGNUMERIC 38 and 38 of each:
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
_NUMERIC, _BIGNUMERIC = (29, 9), (38, 38)
_INT64_DIGITS = 18
_FLOAT_DIGITS = 15
"""Decimal digits that every double gives back (C's DBL_DIG)."""
_DEPTH = 15
"""https://cloud.google.com/bigquery/docs/nested-repeated#limitations"""
_NESTED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}", re.ASCII)

_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_PATTERNS: dict[Kind, str] = {
    "bool": r"^(?:true|false|True|False|TRUE|FALSE)$",
    "int": r"^(?:0|-?[1-9][0-9]*)$",
    "decimal": r"^-?(?:0|[1-9][0-9]*)\.[0-9]+$",
    "float": r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?[eE][+-]?[0-9]{1,3}$",
    "date": f"^{_DAY}$",
    "datetime": f"^{_DAY}[T ]{_CLOCK}$",
    "timestamp": f"^{_DAY}[T ]{_CLOCK} ?(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}}|UTC)$",
    "time": f"^{_CLOCK}$",
}
_CHECKED: dict[Kind, pa.DataType] = {"date": pa.date32(), "datetime": pa.timestamp("us")}


@dataclass(frozen=True)
class Seen:
    """What was seen of one column; adding two of them gives what was seen of both."""

    kinds: frozenset[Kind] = frozenset()
    """Empty: only NULLs."""
    types: tuple[str, ...] = ()
    """The type as the file declares it, or ``text`` or ``json`` where the file declares none."""
    whole: int = 0
    """Most digits before the point of any int or decimal."""
    scale: int = 0
    """Most digits after it."""
    digits: int = 0
    """Most digits of one number that was really seen (declared types count nothing)."""
    int64: bool = True
    """All ints fit into 64 bits."""
    nulls: bool = False
    fields: Mapping[str, Seen] = field(default_factory=dict)
    """Of objects."""
    element: Seen | None = None
    """Of arrays."""

    def __add__(self, other: Seen) -> Seen:
        if self == other:
            # Most values of a column are like the ones before.
            return self
        names = [*self.fields, *(name for name in other.fields if name not in self.fields)]
        elements = [seen.element for seen in (self, other) if seen.element is not None]
        return Seen(
            kinds=self.kinds | other.kinds,
            types=tuple(dict.fromkeys((*self.types, *other.types))),
            whole=max(self.whole, other.whole),
            scale=max(self.scale, other.scale),
            digits=max(self.digits, other.digits),
            int64=self.int64 and other.int64,
            nulls=self.nulls or other.nulls,
            fields={
                name: self.fields.get(name, _NOTHING) + other.fields.get(name, _NOTHING) for name in names
            },
            element=None
            if not elements
            else elements[0]
            if len(elements) == 1
            else elements[0] + elements[1],
        )


_NOTHING = Seen()


def number_seen(text: str) -> Seen:
    """What one number's text shows, e.g. ``-1.10``; any form that JSON allows."""
    whole, _, fraction = text.lstrip("-").partition(".")
    if "e" in text or "E" in text:
        mantissa = re.split("[eE]", text.lstrip("-"))[0].replace(".", "")
        return Seen(frozenset({"float"}), digits=len(mantissa.lstrip("0")))
    digits = len((whole + fraction).lstrip("0"))
    if "." in text:
        return Seen(frozenset({"decimal"}), whole=len(whole), scale=len(fraction), digits=digits)
    if whole == "0" and text.startswith("-"):
        # An integer has no negative zero; a float has.
        return Seen(frozenset({"float"}), digits=0)
    fits = len(whole) <= _INT64_DIGITS or -(2**63) <= int(text[:40]) < 2**63
    return Seen(frozenset({"int"}), whole=len(whole), digits=digits, int64=fits)


def texts_seen(texts: pa.Array, kind_of_text: str = "text") -> Seen:
    """What a column of texts holds."""
    values = texts.drop_null()
    nulls = len(values) < len(texts)
    seen = Seen(types=(kind_of_text,), nulls=nulls)
    left = len(values)
    for kind, pattern in _PATTERNS.items():
        if left == 0:
            return seen
        mask = pc.match_substring_regex(values, pattern)
        found = pc.sum(mask).as_py() or 0
        if found == 0:
            continue
        left -= found
        seen += _of_kind(kind, values if found == len(values) else values.filter(mask))
    return seen + Seen(frozenset({"text"})) if left else seen


def _of_kind(kind: Kind, values: pa.Array) -> Seen:
    if kind in ("int", "decimal", "float"):
        longest = {}
        for text in values.to_pylist():
            one = number_seen(text)
            longest[(one.whole, one.scale, one.digits, one.int64)] = one
        total = _NOTHING
        for one in longest.values():
            total += one
        return total
    if kind in ("date", "datetime", "timestamp"):
        days = pc.utf8_slice_codeunits(values, 0, 10)
        try:
            # The 30th of February has the right form, too; the year 0 is not BigQuery's.
            pc.cast(days, pa.date32())
        except pa.ArrowInvalid:
            return Seen(frozenset({"text"}))
        if pc.any(pc.starts_with(days, "0000")).as_py():
            return Seen(frozenset({"text"}))
    return Seen(frozenset({kind}))


def natural(name: str, seen: Seen, depth: int = 1) -> tuple[BqField, str | None]:
    """The field that loses nothing of what was seen, and a note for people where that is worth one."""
    kinds = seen.kinds
    if not kinds:
        return BqField(name, "STRING"), "no value was seen"
    if len(kinds) == 1:
        (kind,) = kinds
        if kind == "object":
            return _struct(name, seen, depth)
        if kind == "array":
            return _repeated(name, seen, depth)
        if kind in _SIMPLE:
            return BqField(name, _SIMPLE[kind]), None
    if kinds <= {"int", "decimal", "float"}:
        return _number(name, seen)
    if kinds == {"date", "datetime"}:
        return BqField(name, "DATETIME"), None
    if kinds & {"object", "array", "json"}:
        return BqField(name, "JSON"), f"holds {_listed(kinds)}"
    return BqField(name, "STRING"), f"holds {_listed(kinds)}"


_SIMPLE: dict[Kind, str] = {
    "bool": "BOOL",
    "date": "DATE",
    "datetime": "DATETIME",
    "timestamp": "TIMESTAMP",
    "time": "TIME",
    "text": "STRING",
    "bytes": "BYTES",
    "json": "JSON",
}


def _number(name: str, seen: Seen) -> tuple[BqField, str | None]:
    if seen.kinds == {"int"} and seen.int64:
        return BqField(name, "INT64"), None
    if "float" in seen.kinds:
        if seen.digits <= _FLOAT_DIGITS:
            return BqField(name, "FLOAT64"), None
        return BqField(name, "STRING"), f"numbers of {seen.digits} digits beside floats"
    for kind, (whole, scale) in (("NUMERIC", _NUMERIC), ("BIGNUMERIC", _BIGNUMERIC)):
        if seen.whole <= whole and seen.scale <= scale:
            return BqField(name, kind), None
    return BqField(name, "STRING"), "numbers with more digits than BIGNUMERIC holds"


def _struct(name: str, seen: Seen, depth: int) -> tuple[BqField, str | None]:
    names = list(seen.fields)
    if not names:
        return BqField(name, "JSON"), "objects without any field"
    odd = [nested for nested in names if not _NESTED_NAME.fullmatch(nested)]
    if odd or len({nested.lower() for nested in names}) < len(names):
        return BqField(name, "JSON"), "field names that BigQuery cannot have"
    if depth >= _DEPTH:
        return BqField(name, "JSON"), f"nested more than {_DEPTH} levels deep"
    fields = tuple(natural(nested, inner, depth + 1)[0] for nested, inner in seen.fields.items())
    inner_json = [nested.name for nested in fields if nested.type == "JSON"]
    if inner_json:
        return BqField(name, "JSON"), f"its field {inner_json[0]!r} has no type of its own"
    return BqField(name, "STRUCT", fields=fields), None


def _repeated(name: str, seen: Seen, depth: int) -> tuple[BqField, str | None]:
    element = seen.element or _NOTHING
    if "array" in element.kinds:
        return BqField(name, "JSON"), "arrays of arrays"
    if element.nulls:
        return BqField(name, "JSON"), "arrays with null in them, which an array in BigQuery cannot hold"
    if seen.nulls:
        return BqField(name, "JSON"), "null beside arrays, which BigQuery cannot tell from empty ones"
    inner, note = natural(name, element, depth)
    if inner.type == "JSON":
        return BqField(name, "JSON"), note
    return replace(inner, mode="REPEATED"), note


def _listed(kinds: Iterable[str]) -> str:
    names = sorted(kinds)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True)
class Detected:
    """The columns of a set of files."""

    columns: tuple[SourceColumn, ...]
    conflicts: tuple[str, ...]
    """One sentence for each column that is one thing in one file and another in another, with the files."""
    notes: tuple[str, ...]
    complete: bool
    """All files were looked at to their ends: no later value can surprise."""
    differing: bool = False
    """Some files lack columns that others have."""


def merge(samples: Sequence[Sample]) -> Detected:
    """The columns of several files: types that hold the values of all, in the order of first appearance."""
    together: dict[str, Seen] = {}
    for sample in samples:
        for name, seen in sample.seen.items():
            together[name] = together[name] + seen if name in together else seen
    columns, conflicts, notes = [], [], [note for sample in samples for note in sample.notes]
    differing = False
    for name, seen in together.items():
        chosen, note = natural(name, seen)
        columns.append(SourceColumn(name, _type_text(seen), chosen, note=note))
        having = [sample for sample in samples if name in sample.seen]
        by_type: dict[str, list[str]] = {}
        for sample in having:
            if sample.seen[name].kinds:
                by_type.setdefault(_describe(natural(name, sample.seen[name])[0]), []).append(sample.file)
        if len(by_type) > 1 and _describe(chosen) not in _wider(by_type):
            where = ", ".join(f"{kind} in {_files(files)}" for kind, files in by_type.items())
            conflicts.append(f"column {name!r} is {where}: {_describe(chosen)} holds them all")
        # A file without any row or column says nothing about what files lack.
        lacking = [sample.file for sample in samples if sample.seen and name not in sample.seen]
        if lacking:
            differing = True
            notes.append(f"column {name!r} is not in {_files(lacking)}")
    complete = all(sample.complete for sample in samples)
    return Detected(tuple(columns), tuple(conflicts), tuple(notes), complete, differing)


def _wider(types: Iterable[str]) -> set[str]:
    """Results that are no conflict: all numbers, or all days and wall clocks."""
    found = set(types)
    numbers = {"INT64", "NUMERIC", "BIGNUMERIC", "FLOAT64"}
    if found <= numbers:
        return numbers
    return {"DATETIME"} if found == {"DATE", "DATETIME"} else set()


def _describe(chosen: BqField) -> str:
    inner = f"STRUCT<{', '.join(f'{f.name} {_describe(f)}' for f in chosen.fields)}>" if chosen.fields else ""
    kind = inner or chosen.type
    return f"ARRAY<{kind}>" if chosen.mode == "REPEATED" else kind


def _files(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more files"


def _type_text(seen: Seen) -> str:
    return " or ".join(seen.types) or "text"
