"""A rejected row as text, and back: what is kept of it gives the same values of the same types again.

``record`` is a JSON object, destination column to value: a text (numbers too, so that no reader rounds them;
bytes as base64), ``null``, and for lists, structs and maps JSON arrays and objects of texts. ``types`` tells
the Arrow type that each value had when it was read; :data:`RAW` for a value that only its source can write
(:mod:`etl_runner.convert.raw`).
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.rejects import text_of

RAW = "raw"
TypeName: TypeAlias = "str | dict[str, Any]"

_PARAMETERS = re.compile(r"(\w+)\[(.+)\]|(\w+)\((\d+), (-?\d+)\)")
_UNITS = re.compile(r"(s|ms|us|ns)(?:, tz=(.+))?")


def type_name(kind: pa.DataType) -> TypeName:
    """The type as JSON: a word for a scalar (``int64``, ``timestamp[us, tz=UTC]``, ``decimal128(9, 2)``),
    else ``{"list": type}``, ``{"struct": [[name, type], ...]}`` or ``{"map": [key, value]}``."""
    if pa.types.is_map(kind):
        return {"map": [type_name(kind.key_type), type_name(kind.item_type)]}
    if pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        return {"list": type_name(kind.value_type)}
    if pa.types.is_struct(kind):
        return {"struct": [[field.name, type_name(field.type)] for field in kind]}
    return str(kind)


def type_of(name: TypeName) -> pa.DataType:
    """The type behind :func:`type_name`; lists of any kind become plain ones.

    Raises:
        ValueError: it is none.
    """
    if isinstance(name, dict):
        ((word, inside),) = name.items()
        if word == "map":
            return pa.map_(type_of(inside[0]), type_of(inside[1]))
        if word == "list":
            return pa.list_(type_of(inside))
        return pa.struct([pa.field(field, type_of(kind)) for field, kind in inside])
    found = _PARAMETERS.fullmatch(name)
    if found is None:
        return pa.type_for_alias(name)
    word, inside, decimal, precision, scale = found.groups()
    if decimal is not None:
        return getattr(pa, decimal)(int(precision), int(scale))
    if word == "fixed_size_binary":
        return pa.binary(int(inside))
    if word in ("date32", "date64"):
        return pa.type_for_alias(word)
    units = _UNITS.fullmatch(inside)
    if units is None or word not in ("timestamp", "time32", "time64", "duration"):
        raise ValueError(f"{name} is no type")
    return pa.timestamp(units[1], tz=units[2]) if word == "timestamp" else getattr(pa, word)(units[1])


def recorded(value: pa.Scalar, source_type: str = "") -> tuple[Any, TypeName]:
    """One value (its wrappers taken off) as it is kept, and its type. ``source_type`` tells a uuid from
    other 16 bytes; text that is not UTF-8 is kept as bytes."""
    kind = value.type
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        if source_type.strip().lower() == "uuid" and value.is_valid:
            return str(uuid.UUID(bytes=bytes(value.as_py()))), "string"
    elif pa.types.is_string(kind) and value.is_valid:
        data = value.as_buffer().to_pybytes()
        try:
            return data.decode(), "string"
        except UnicodeDecodeError:
            return base64.b64encode(data).decode(), "binary"
    return _keep(value), type_name(kind)


def _keep(value: pa.Scalar) -> Any:
    kind = value.type
    if not value.is_valid:
        return None
    if pa.types.is_map(kind):
        entries = value.values
        return [[_keep(entry["key"]), _keep(entry["value"])] for entry in entries]
    if pa.types.is_struct(kind):
        return {field.name: _keep(value[index]) for index, field in enumerate(kind)}
    if pa.types.is_nested(kind):
        return [_keep(item) for item in value.values]
    if pa.types.is_duration(kind):
        return str(value.value)
    if pa.types.is_interval(kind):
        return [str(part) for part in value.as_py()]
    if pa.types.is_temporal(kind):
        # Arrow's own text, which it reads back; of any year and any unit.
        return str(value.cast(pa.string()))
    return text_of(value.as_py())


def restore(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The array of ``kind`` whose values were kept as ``values``.

    Raises:
        ValueError, TypeError: one of them is not what a value of ``kind`` is kept as (pyarrow.ArrowInvalid
            is a ValueError).
    """
    if pa.types.is_map(kind) or pa.types.is_list(kind):
        lists = [_a(list, value) for value in values]
        offsets = [0]
        for items in lists:
            offsets.append(offsets[-1] + len(items or ()))
        flat = [item for items in lists for item in items or ()]
        where = pa.array(offsets, pa.int32())
        missing = pa.array([items is None for items in lists], pa.bool_())
        if pa.types.is_map(kind):
            keys = restore([item[0] for item in flat], kind.key_type)
            items = restore([item[1] for item in flat], kind.item_type)
            mapped = pa.MapArray.from_arrays(where, keys, items)
            return pc.if_else(missing, pa.scalar(None, mapped.type), mapped)
        return pa.ListArray.from_arrays(where, restore(flat, kind.value_type), mask=missing)
    if pa.types.is_struct(kind):
        rows = [_a(dict, value) for value in values]
        inner = [
            restore([None if row is None else row.get(field.name) for row in rows], field.type)
            for field in kind
        ]
        return pa.StructArray.from_arrays(
            inner, fields=list(kind), mask=pa.array([row is None for row in rows], pa.bool_())
        )
    if pa.types.is_interval(kind):
        parts = [None if value is None else tuple(map(int, _a(list, value) or ())) for value in values]
        return pa.array(parts, kind)
    texts = [_a(str, value) for value in values]
    if pa.types.is_time(kind):
        # Arrow reads no time of day by itself.
        dated = [None if text is None else f"1970-01-01 {text}" for text in texts]
        return pc.cast(pc.cast(pa.array(dated, pa.string()), pa.timestamp(kind.unit)), kind)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return pc.cast(pa.array(texts, pa.string()), kind)
    return pa.array([None if text is None else _leaf(text, kind) for text in texts], kind)


def _a(wanted: type[Any], value: Any) -> Any:
    if value is not None and not isinstance(value, wanted):
        raise TypeError(f"a {type(value).__name__} where a {wanted.__name__} was kept")
    return value


def _leaf(text: str, kind: pa.DataType) -> Any:
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return base64.b64decode(text, validate=True)
    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}[text]
    if pa.types.is_integer(kind) or pa.types.is_duration(kind):
        return int(text)
    if pa.types.is_decimal(kind):
        return Decimal(text)
    if pa.types.is_floating(kind):
        return float(text)
    return text
