"""The part of the Workflows standard library that definitions here may call.

Arguments have the names of the documentation's pages ("Standard library"), so that a function can be
called from an expression (by position) and from a ``call`` step (by name). What is not in
:data:`FUNCTIONS` is unknown, and a definition that calls it is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote, quote_plus, unquote, unquote_plus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from local.workflows.errors import tagged
from local.workflows.values import INT_MAX, INT_MIN, checked_integer, to_json, to_text, type_name

logger = logging.getLogger("local.workflows")


class Host(Protocol):
    """What functions need of the execution that calls them."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that ``sys.get_env`` reads."""

    def now(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait, unless the execution is cancelled."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a function; ``types`` are those that it takes, all when empty."""

    name: str
    types: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Function:
    """A function of the library.

    ``blocking`` functions (they wait or reach out) can be called by ``call`` steps only.
    """

    run: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    blocking: bool = False
    wants_host: bool = False

    def names(self) -> tuple[str, ...]:
        """The arguments' names, in their order."""
        return tuple(parameter.name for parameter in self.parameters)

    def required(self) -> int:
        """How many arguments a call has at least."""
        return sum(parameter.required for parameter in self.parameters)


_NUMBER = ("integer", "double")
_TEXT = ("string",)


def _parameters(*specs: str) -> tuple[Parameter, ...]:
    """``"source:string"``; a ``?`` after the name makes it optional, ``|`` separates types."""
    parameters = []
    for spec in specs:
        name, _, types = spec.partition(":")
        parameters.append(
            Parameter(
                name.removesuffix("?"), tuple(types.split("|")) if types else (), not name.endswith("?")
            )
        )
    return tuple(parameters)


def invoke(name: str, function: Function, args: Mapping[str, Any], host: Host) -> Any:
    """Call a function of the library with arguments by name.

    Raises:
        WorkflowError: TypeError for arguments of other types, and whatever the function raises.
    """
    for parameter in function.parameters:
        if parameter.name not in args or not parameter.types:
            continue
        found = type_name(args[parameter.name])
        if found not in parameter.types and not (found == "null" and not parameter.required):
            raise tagged(
                "TypeError",
                f"{name}: {parameter.name} is a {found}, it takes a {' or '.join(parameter.types)}",
            )
    return function.run(host, **args) if function.wants_host else function.run(**args)


def _get_env(host: Host, name: str, default: str | None = None) -> str:
    value = host.environment.get(name, default)
    if value is None:
        raise tagged("KeyError", f"environment variable {name} is not set")
    return value


def _log(
    data: Any = None,
    text: Any = None,
    json: Any = None,
    severity: str = "DEFAULT",
    timeout: Any = None,  # noqa: ARG001 - the service's wait for its log; ours does not wait
) -> None:
    message = next((item for item in (json, text, data) if item is not None), "")
    level = {"WARNING": logging.WARNING, "ERROR": logging.ERROR, "CRITICAL": logging.CRITICAL}
    logger.log(
        level.get(severity, logging.INFO), "%s", message if isinstance(message, str) else to_json(message)
    )


def _sleep(host: Host, seconds: float) -> None:
    if seconds < 0:
        raise tagged("ValueError", "sys.sleep: seconds is negative")
    host.sleep(seconds)


def _length(value: Any) -> int:
    return len(value)


def _to_int(value: Any) -> int:
    try:
        number = int(value)
    except (ValueError, OverflowError) as error:
        raise tagged("ValueError", f"int: {value!r} is no integer") from error
    return checked_integer(number)


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise tagged("ValueError", f"double: {value!r} is no number") from error


def _json_decode(data: Any) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise tagged("ValueError", f"json.decode: {error}") from error


def _json_text(data: Any, indent: Any = None) -> str:
    if indent is None:
        return to_json(data)
    if isinstance(indent, dict):
        width: Any = indent.get("indent", "  ")
    else:
        width = "  " if indent is True else indent
    to_json(data)
    return json.dumps(data, ensure_ascii=False, indent=width)


def _json_bytes(data: Any, indent: Any = None) -> bytes:
    return _json_text(data, indent).encode()


def _map_get(map: Any, keys: Any) -> Any:
    found: Any = map
    for key in keys if isinstance(keys, list) else [keys]:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def _map_delete(map: dict[str, Any], key: str) -> dict[str, Any]:
    if key not in map:
        raise tagged("KeyError", f"key not found: {key}")
    return {name: value for name, value in map.items() if name != key}


def _merge_nested(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        old = merged.get(key)
        merged[key] = (
            _merge_nested(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _substring(source: str, start: int, end: int) -> str:
    if not 0 <= start <= end <= len(source):
        raise tagged(
            "IndexError", f"text.substring: {start} to {end} is out of range of {len(source)} characters"
        )
    return source[start:end]


def _find_all(source: str, substr: str) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(substr), source)] if substr else []


def _pattern(regexp: str) -> re.Pattern[str]:
    try:
        return re.compile(regexp)
    except re.error as error:
        raise tagged("ValueError", f"{regexp!r} is no regular expression: {error}") from error


def _replace_regex(source: str, regexp: str, repl: str) -> str:
    return _pattern(regexp).sub(re.sub(r"\\(\d)", r"\\g<\1>", repl), source)


def _text_decode(data: bytes, charset: str = "UTF-8") -> str:
    try:
        return data.decode(charset)
    except (LookupError, UnicodeDecodeError) as error:
        raise tagged("ValueError", f"text.decode: {error}") from error


def _text_encode(data: str, charset: str = "UTF-8") -> bytes:
    try:
        return data.encode(charset)
    except (LookupError, UnicodeEncodeError) as error:
        raise tagged("ValueError", f"text.encode: {error}") from error


def _time_format(seconds: float, timezone: str = "UTC") -> str:
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise tagged("ValueError", f"time.format: no time zone {timezone!r}") from error
    text = datetime.fromtimestamp(seconds, zone).isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _time_parse(value: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise tagged("ValueError", f"time.parse: {value!r} is no ISO 8601 time") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _base64_decode(data: str, padding: bool = True) -> bytes:
    try:
        return base64.b64decode(data if padding else data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise tagged("ValueError", f"base64.decode: {error}") from error


def _base64_encode(data: bytes, padding: bool = True) -> str:
    text = base64.b64encode(data).decode()
    return text if padding else text.rstrip("=")


def _absolute(x: Any) -> Any:
    return checked_integer(abs(x)) if isinstance(x, int) else abs(x)


def _floor(x: float) -> int:
    if isinstance(x, float) and not math.isfinite(x):
        raise tagged("ValueError", "math.floor: the number is not finite")
    return min(max(math.floor(x), INT_MIN), INT_MAX)


_CONNECTION = ("ConnectionError", "ConnectionFailedError", "TimeoutError")


def _retry_idempotent(exception: Any) -> bool:
    """429, 502, 503, 504 and every connection error and timeout (http.default_retry_predicate)."""
    tags, code = _tags(exception), _code(exception)
    return any(tag in tags for tag in _CONNECTION) or code in (429, 502, 503, 504)


def _retry_non_idempotent(exception: Any) -> bool:
    """429 and 503, and connections that were never made (..._non_idempotent)."""
    return "ConnectionFailedError" in _tags(exception) or _code(exception) in (429, 503)


def _tags(exception: Any) -> list[Any]:
    tags = exception.get("tags") if isinstance(exception, dict) else None
    return tags if isinstance(tags, list) else []


def _code(exception: Any) -> Any:
    return exception.get("code") if isinstance(exception, dict) else None


def _choose(condition: bool | None, if_true: Any, if_false: Any) -> Any:
    return if_true if condition else if_false


_ANY_MAP = "map:map"

FUNCTIONS: dict[str, Function] = {
    "base64.decode": Function(_base64_decode, _parameters("data:string", "padding?:boolean")),
    "base64.encode": Function(_base64_encode, _parameters("data:bytes", "padding?:boolean")),
    "default": Function(lambda val, default: default if val is None else val, _parameters("val", "default")),
    "double": Function(_to_double, _parameters("value:string|integer|double")),
    "get_type": Function(type_name, _parameters("value")),
    "http.default_retry_predicate": Function(_retry_idempotent, _parameters("exception")),
    "http.default_retry_predicate_non_idempotent": Function(_retry_non_idempotent, _parameters("exception")),
    "if": Function(_choose, _parameters("condition:boolean|null", "if_true", "if_false")),
    "int": Function(_to_int, _parameters("value:string|integer|double")),
    "json.decode": Function(_json_decode, _parameters("data:bytes|string")),
    "json.encode": Function(_json_bytes, _parameters("data", "indent?")),
    "json.encode_to_string": Function(_json_text, _parameters("data", "indent?")),
    "keys": Function(lambda map: list(map), _parameters(_ANY_MAP)),
    "len": Function(_length, _parameters("value:list|map|string")),
    "list.concat": Function(lambda objs, val: [*objs, val], _parameters("objs:list", "val")),
    "list.prepend": Function(lambda objs, val: [val, *objs], _parameters("objs:list", "val")),
    "map.delete": Function(_map_delete, _parameters(_ANY_MAP, "key:string")),
    "map.get": Function(_map_get, _parameters(_ANY_MAP, "keys:string|list")),
    "map.merge": Function(lambda first, second: {**first, **second}, _parameters("first:map", "second:map")),
    "map.merge_nested": Function(_merge_nested, _parameters("first:map", "second:map")),
    "math.abs": Function(_absolute, _parameters("x:integer|double")),
    "math.floor": Function(_floor, _parameters("x:integer|double")),
    "math.max": Function(lambda x, y: max(x, y), _parameters("x:integer|double", "y:integer|double")),
    "math.min": Function(lambda x, y: min(x, y), _parameters("x:integer|double", "y:integer|double")),
    "retry.always": Function(lambda exception: True, _parameters("exception")),  # noqa: ARG005
    "retry.never": Function(lambda exception: False, _parameters("exception")),  # noqa: ARG005
    "string": Function(to_text, _parameters("value:string|integer|double|boolean")),
    "sys.get_env": Function(_get_env, _parameters("name:string", "default?:string"), wants_host=True),
    "sys.log": Function(
        _log,
        _parameters("data?", "text?", "json?", "severity?:string", "timeout?:integer|double"),
        blocking=True,
    ),
    "sys.now": Function(lambda host: host.now(), wants_host=True),
    "sys.sleep": Function(_sleep, _parameters("seconds:integer|double"), blocking=True, wants_host=True),
    "text.decode": Function(_text_decode, _parameters("data:bytes", "charset?:string")),
    "text.encode": Function(_text_encode, _parameters("data:string", "charset?:string")),
    "text.find_all": Function(_find_all, _parameters("source:string", "substr:string")),
    "text.match_regex": Function(
        lambda source, regexp: _pattern(regexp).search(source) is not None,
        _parameters("source:string", "regexp:string"),
    ),
    "text.replace_all": Function(
        lambda source, substr, repl: source.replace(substr, repl),
        _parameters("source:string", "substr:string", "repl:string"),
    ),
    "text.replace_all_regex": Function(
        _replace_regex, _parameters("source:string", "regexp:string", "repl:string")
    ),
    "text.split": Function(
        lambda source, separator: source.split(separator) if separator else list(source),
        _parameters("source:string", "separator:string"),
    ),
    "text.substring": Function(_substring, _parameters("source:string", "start:integer", "end:integer")),
    "text.to_lower": Function(lambda source: source.lower(), _parameters("source:string")),
    "text.to_upper": Function(lambda source: source.upper(), _parameters("source:string")),
    "text.url_decode": Function(lambda source: unquote(source), _parameters("source:string")),
    "text.url_encode": Function(lambda source: quote(source, safe=""), _parameters("source:string")),
    "text.url_encode_plus": Function(lambda source: quote_plus(source), _parameters("source:string")),
    "text.url_decode_plus": Function(lambda source: unquote_plus(source), _parameters("source:string")),
    "time.format": Function(_time_format, _parameters("seconds:integer|double", "timezone?:string")),
    "time.parse": Function(_time_parse, _parameters("value:string")),
    "uuid.generate": Function(lambda: str(uuid.uuid4())),
}

_DEFAULT_BACKOFF = {"initial_delay": 1.0, "max_delay": 60.0, "multiplier": 1.25}
RETRY_POLICIES: dict[str, dict[str, Any]] = {
    "http.default_retry": {
        "predicate": "http.default_retry_predicate",
        "max_retries": 5,
        "backoff": _DEFAULT_BACKOFF,
    },
    "http.default_retry_non_idempotent": {
        "predicate": "http.default_retry_predicate_non_idempotent",
        "max_retries": 5,
        "backoff": _DEFAULT_BACKOFF,
    },
}
"""Whole retry policies that ``retry: ${...}`` may name, with the values of their documentation."""
