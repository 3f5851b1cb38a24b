"""Casting a whole column, and finding the rows at fault only when something is.

A caster turns an array into one of the destination's type, with NULL in place of each value that does
not fit, and says which rows those are and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.arrow_schema import arrow_field, value_type
from etl_runner.convert.fields import BqField
from etl_runner.convert.json_numbers import JsonNumbers
from etl_runner.convert.steps import Route, route
from etl_runner.errors import PermanentError

Faults = dict[int, str]
"""Row of the array -> what is wrong with it. Empty nearly always."""


class Caster(Protocol):
    """Casts arrays of one source type to one destination type."""

    def __call__(self, array: pa.Array) -> tuple[pa.Array, Faults]:
        """The cast array, of the same length, and the rows at fault (NULL in the array)."""


def caster(
    source: pa.DataType, field: BqField, source_type: str, json_numbers: JsonNumbers = "fail"
) -> Caster:
    """The caster from arrays of type ``source`` to the column ``field``, REPEATED and STRUCT included.

    Raises:
        PermanentError: no cast between the two exists.
    """
    source = plain_type(source)
    if field.mode == "REPEATED":
        if not _is_list(source):
            raise _impossible(source, field)
        return ListCaster(field, caster(source.value_type, _element(field), source_type, json_numbers))
    if field.type == "STRUCT":
        if not pa.types.is_struct(source):
            raise _impossible(source, field)
        return StructCaster.build(source, field)
    way = route(source, field, source_type, json_numbers)
    if way is None:
        raise _impossible(source, field)
    try:
        way.step(pa.array([], source))
    except pa.ArrowNotImplementedError as error:
        raise _impossible(source, field) from error
    return ScalarCaster(way)


def plain(array: pa.Array) -> pa.Array:
    """The array without wrappers: extension types (uuid, opaque) as their storage, dictionaries decoded,
    large and view layouts as the common ones."""
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    if pa.types.is_dictionary(array.type):
        return plain(array.dictionary_decode())
    kind = plain_type(array.type)
    return array if kind == array.type or pa.types.is_nested(kind) else pc.cast(array, kind)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of :func:`plain`'s result."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return kind


@dataclass(frozen=True)
class ScalarCaster:
    """Follows a route for values that are neither lists nor structs."""

    way: Route

    def __call__(self, array: pa.Array) -> tuple[pa.Array, Faults]:
        array = plain(array)
        faults: Faults = {}
        for check, reason in self.way.before:
            bad = check(array, array)
            if bad is not None:
                array = _without(array, bad, reason, faults)
        try:
            result = self.way.step(array)
        except pa.ArrowInvalid:
            failing = set(self._failing(array))
            bad = pa.array([row in failing for row in range(len(array))], pa.bool_())
            array = _without(array, bad, self.way.reason, faults)
            result = self.way.step(array)
        for check, reason in self.way.after:
            bad = check(array, result)
            if bad is not None:
                array = _without(array, bad, reason, faults)
                result = _without(result, bad, reason, faults)
        return result, faults

    def _failing(self, array: pa.Array) -> Iterator[int]:
        """The rows whose value cannot be cast, by halving: few failures cost few casts."""
        pending = [(0, len(array))]
        while pending:
            start, stop = pending.pop()
            try:
                self.way.step(array.slice(start, stop - start))
            except pa.ArrowInvalid:
                if stop - start == 1:
                    yield start
                else:
                    middle = (start + stop) // 2
                    pending += [(start, middle), (middle, stop)]


@dataclass(frozen=True)
class ListCaster:
    """Casts the elements of lists. A NULL element is a fault, a NULL list becomes an empty one."""

    field: BqField
    element: Caster

    def __call__(self, array: pa.Array) -> tuple[pa.Array, Faults]:
        array = plain(array)
        parents = pc.list_parent_indices(array)
        values = pc.list_flatten(array)
        cast, element_faults = self.element(values)
        faults: Faults = {}
        for position in sorted(element_faults):
            faults.setdefault(parents[position].as_py(), f"holds an element that {element_faults[position]}")
        if values.null_count:
            for row in pc.unique(pc.filter(parents, pc.is_null(values))).to_pylist():
                faults.setdefault(row, "holds NULL, which an array in BigQuery cannot")
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        ends = pc.cast(pc.cumulative_sum(lengths), pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        return pa.ListArray.from_arrays(offsets, cast, type=arrow_field(self.field).type), faults


@dataclass(frozen=True)
class StructCaster:
    """Casts each field of a struct by name. A field that the source lacks is NULL; one that only the source
    has is refused, since its values would be lost without a word."""

    field: BqField
    inner: tuple[tuple[BqField, int | None, Caster | None], ...]

    @classmethod
    def build(cls, source: pa.StructType, field: BqField) -> StructCaster:
        """Match the fields by name.

        Raises:
            PermanentError: a field cannot be cast, a REQUIRED one is missing at the source, or the
                destination lacks one.
        """
        known = {nested.name for nested in field.fields}
        lacking = [inside.name for inside in source if inside.name not in known]
        if lacking:
            raise PermanentError(
                f"column {field.name!r} has a field {lacking[0]!r} that the destination's RECORD lacks: add "
                "it to the table, or make the column JSON or STRING"
            )
        inner: list[tuple[BqField, int | None, Caster | None]] = []
        for nested in field.fields:
            index = source.get_field_index(nested.name)
            if index >= 0:
                inner.append((nested, index, caster(source.field(index).type, nested, "")))
            elif nested.mode == "REQUIRED":
                raise PermanentError(f"column {field.name!r} lacks its required field {nested.name!r}")
            else:
                inner.append((nested, None, None))
        return cls(field, tuple(inner))

    def __call__(self, array: pa.Array) -> tuple[pa.Array, Faults]:
        array = plain(array)
        faults: Faults = {}
        children: list[pa.Array] = []
        for nested, index, cast in self.inner:
            if index is None or cast is None:
                empty: pa.Array = pa.nulls(len(array), arrow_field(nested).type)
                if nested.mode == "REPEATED":
                    empty = pc.fill_null(empty, pa.scalar([], empty.type))
                children.append(empty)
                continue
            # pc.struct_field hides children of NULL structs, which may hold anything.
            child, found = cast(pc.struct_field(array, [index]))
            for row, reason in found.items():
                faults.setdefault(row, f"has a field {nested.name!r} that {reason}")
            if nested.mode == "REQUIRED" and child.null_count:
                gone = pc.indices_nonzero(pc.and_(pc.is_null(child), pc.is_valid(array)))
                for row in gone.to_pylist():
                    faults.setdefault(row, f"has NULL in its required field {nested.name!r}")
            children.append(child)
        kind = value_type(self.field)
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=pc.is_null(array)), faults


def _without(array: pa.Array, bad: pa.BooleanArray, reason: str, faults: Faults) -> pa.Array:
    for row in pc.indices_nonzero(bad).to_pylist():
        faults.setdefault(row, reason)
    return pc.if_else(bad, pa.scalar(None, array.type), array)


def _element(field: BqField) -> BqField:
    return BqField(
        field.name,
        field.type,
        fields=field.fields,
        precision=field.precision,
        scale=field.scale,
        max_length=field.max_length,
        range_element_type=field.range_element_type,
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _impossible(source: pa.DataType, field: BqField) -> PermanentError:
    repeated = "an array of " if field.mode == "REPEATED" else ""
    return PermanentError(
        f"column {field.name!r} arrives as {source} and cannot become {repeated}{field.type}: change the "
        f"destination's type or select the column with a cast in a custom query"
    )
