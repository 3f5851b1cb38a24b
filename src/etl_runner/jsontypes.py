"""JSON values, for documents that are stored and read again."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any, TypeAlias

JsonObject: TypeAlias = "dict[str, Any]"


def dumps(value: Any) -> bytes:
    """Canonical bytes: sorted keys, no spaces, UTF-8, so that equal documents are equal bytes. A dataclass is
    the object of its fields, at any depth; nothing is copied for that, as ``dataclasses.asdict`` would."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_fields
    ).encode()


def loads(data: bytes) -> Any:
    """The value behind :func:`dumps`."""
    return json.loads(data)


def _fields(value: Any) -> JsonObject:
    if is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
