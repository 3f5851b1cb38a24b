"""Values of executions: JSON values and bytes, with 64-bit integers."""

from __future__ import annotations

import json
from typing import Any

from local.workflows.errors import limit_exceeded, tagged
from local.workflows.limits import STRING_BYTES

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1


def type_name(value: Any) -> str:
    """The type's name as ``get_type`` spells it ("Expression helpers", type functions)."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "double"
        case str():
            return "string"
        case bytes():
            return "bytes"
        case list():
            return "list"
        case dict():
            return "map"
    raise TypeError(f"{type(value).__name__} is no value of a workflow")


def is_number(value: Any) -> bool:
    """True for integers and doubles, not for booleans."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def checked_integer(value: int) -> int:
    """The integer, or a ValueError of the workflow when 64 bits do not hold it."""
    if not INT_MIN <= value <= INT_MAX:
        raise tagged("ValueError", "integer overflow: the result does not fit into 64 bits")
    return value


def to_text(value: Any) -> str:
    """A scalar as ``string()`` and ``+`` write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return value
    raise tagged("TypeError", f"a {type_name(value)} can not be converted to a string")


def equal(left: Any, right: Any) -> bool:
    """Equality that never takes a boolean for a number."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def copy_value(value: Any) -> Any:
    """A deep copy: assignments copy, so that no two variables share a list or a map."""
    if isinstance(value, dict):
        return {key: copy_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    return value


def size_of(value: Any) -> int:
    """Bytes that a value counts for against the limit on variables.

    Raises:
        WorkflowError: ResourceLimitError for a single string above its own limit.
    """
    if isinstance(value, str):
        size = len(value.encode(errors="surrogatepass"))
        if size > STRING_BYTES:
            raise limit_exceeded(f"a string has {size} bytes, the limit is {STRING_BYTES}")
        return size
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key.encode(errors="surrogatepass")) + size_of(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(size_of, value))
    return 8


def to_json(value: Any) -> str:
    """A value as JSON text.

    Raises:
        WorkflowError: TypeError for bytes, ValueError for NaN and infinities.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise tagged("TypeError", "bytes can not be encoded as JSON; encode them to base64 first") from error
    except ValueError as error:
        raise tagged("ValueError", "NaN and infinities can not be encoded as JSON") from error
