"""The kinds of values that fields hold, with what they accept and what they say when refused.

Documents come from people, from YAML and from JSON that other programs wrote, so whole numbers may be
digits in text and text may be a whole number; nothing else is converted. A refusal carries what is
allowed, never the value: the problem list decides what may be shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from etl_runner.config import names, times
from etl_runner.config.secrets import HIDDEN, REFERENCE_ALLOWED, Secret, SecretRef, SecretValue

REFUSED = "refused"
"""The pydantic error type of every refusal made here; its context holds ``reason`` and ``allowed``."""

INTERNAL = {"internal": True}
"""Validation context for documents that this project stored itself: ``document`` references are allowed."""


def refusal(reason: str, allowed: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise: ``reason`` reads on from the field's name."""
    return PydanticCustomError(REFUSED, "{reason}", {"reason": reason, "allowed": allowed})


def _text(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool):
        raise refusal("must be text", "text; put the word in quotes")
    if not isinstance(value, str):
        raise refusal("must be text", "text")
    if "\x00" in value:
        raise refusal("holds a NUL character", "text without NUL characters")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal("must be a whole number", "a whole number")
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise refusal("must be true or false", "true, false")
    return value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _checked(check: Callable[[str], object], allowed: str) -> Callable[[str], str]:
    """A validator that keeps the text and refuses with the ValueError's words."""

    def validate(value: str) -> str:
        try:
            check(value)
        except ValueError as error:
            reason = str(error)
        else:
            return value
        raise refusal(reason, allowed)

    return validate


def _pattern(pattern: str, reason: str, allowed: str) -> Callable[[str], str]:
    compiled = re.compile(pattern[1:-1])

    def validate(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise refusal(reason, allowed)
        return value

    return validate


def _faultless(fault: Callable[[str], str | None], allowed: str) -> Callable[[str], str]:
    def validate(value: str) -> str:
        reason = fault(value)
        if reason is not None:
            raise refusal(reason, allowed)
        return value

    return validate


def _late(text: str) -> None:
    if late_number(text) is None:
        try:
            length = times.parse_duration(text)
        except ValueError:
            raise ValueError("is neither a duration nor a number") from None
        if length.days > MAX_LATE_DAYS:
            raise ValueError(f"is longer than {MAX_LATE_DAYS} days")


def late_number(text: str) -> Decimal | None:
    """A late window in key units: the number, or None when the text is not one."""
    if re.fullmatch(r"[0-9]{1,38}(\.[0-9]{1,38})?", text) is None:
        return None
    return Decimal(text)


def is_number(text: str) -> bool:
    """Whether ``text`` is a finite decimal number."""
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


MAX_LATE_DAYS = 366
TABLE_ALLOWED = (
    f"up to {names.TABLE_BYTES} bytes of letters, marks, digits, connectors such as _, dashes and spaces"
)
COLUMN_ALLOWED = "a letter or _, then letters, digits and _, 300 at most, without a reserved prefix"
HOST_ALLOWED = "a host name, an IP address or a socket's folder, without scheme, user or path"

Text = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=4_096)]
Whole = Annotated[int, BeforeValidator(_whole)]
Truth = Annotated[bool, BeforeValidator(_truth)]
SourceName = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=300)]
SourceNames = Annotated[
    tuple[SourceName, ...], BeforeValidator(_names, json_schema_input_type=SourceName | list[SourceName])
]
DocumentId = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_pattern(names.ID_PATTERN, "is not an id", names.ID_ALLOWED)),
    Field(json_schema_extra={"pattern": names.ID_PATTERN}),
]
TableName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_faultless(names.table_fault, TABLE_ALLOWED)),
    Field(min_length=1),
]
ColumnName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_faultless(names.column_fault, COLUMN_ALLOWED)),
    Field(json_schema_extra={"pattern": names.COLUMN_PATTERN}),
]
ColumnNames = Annotated[
    tuple[ColumnName, ...], BeforeValidator(_names, json_schema_input_type=ColumnName | list[ColumnName])
]
DatasetName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _pattern(
            names.DATASET_PATTERN, "is not a dataset's name", "1 to 1,024 letters, digits and _, no project"
        )
    ),
    Field(json_schema_extra={"pattern": names.DATASET_PATTERN}),
]
ProjectName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _pattern(
            names.PROJECT_PATTERN,
            "is not a project's id",
            "6 to 30 lower-case letters, digits and -, beginning with a letter",
        )
    ),
    Field(json_schema_extra={"pattern": names.PROJECT_PATTERN}),
]
StartText = Annotated[
    str, BeforeValidator(_text), AfterValidator(_checked(times.parse_start, times.START_ALLOWED))
]
LateText = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_checked(_late, f"{times.DURATION_ALLOWED}; for an incrementing_column a number")),
]
Host = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_pattern(r"^(?!.*://)[^\s@?#]{1,255}$", "is not a host", HOST_ALLOWED)),
]


def _secret(value: Any, info: ValidationInfo) -> Secret:
    """Text becomes a hidden value, an object a reference."""
    if isinstance(value, SecretRef | SecretValue):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        return SecretValue(value)
    return _reference(value, info)


def _credentials(value: Any, info: ValidationInfo) -> Secret:
    """As :func:`_secret`, for a service account's key: an object with ``private_key`` is the key itself."""
    if isinstance(value, SecretRef | SecretValue):
        return value
    if isinstance(value, Mapping) and "type" in value:
        value = json.dumps(dict(value))
    if isinstance(value, str):
        _check_key(value)
        return SecretValue(value)
    return _reference(value, info)


def _check_key(text: str) -> None:
    try:
        key = json.loads(text)
    except (ValueError, RecursionError):
        key = None
    wanted = ("client_email", "private_key", "token_uri")
    if not isinstance(key, dict) or key.get("type") != "service_account" or not all(map(key.get, wanted)):
        raise refusal(
            "is not a service account's key",
            f"a key of type service_account with {', '.join(wanted)}, or {REFERENCE_ALLOWED}",
        )


def _reference(value: Any, info: ValidationInfo) -> SecretRef:
    internal = bool(info.context and info.context.get("internal"))
    kinds = {"secret_manager", "env", "file"} | ({"document", "field"} if internal else set())
    if isinstance(value, Mapping) and value and set(value) <= kinds:
        try:
            return SecretRef.model_validate(dict(value))
        except ValueError:
            pass
    raise refusal("is not a secret", f"the value as text, or {REFERENCE_ALLOWED}")


def _shown(secret: Secret) -> dict[str, str] | str:
    return secret.model_dump() if isinstance(secret, SecretRef) else HIDDEN


_REFERENCE_SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "description": "A secret of Secret Manager: the full name, or the name in the deployment's project.",
        "properties": {"secret_manager": {"type": "string", "minLength": 1}},
        "required": ["secret_manager"],
        "additionalProperties": False,
        "examples": [{"secret_manager": "projects/my-project/secrets/orders-password/versions/latest"}],
    },
    {
        "type": "object",
        "description": "An environment variable of the process that connects.",
        "properties": {"env": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,255}$"}},
        "required": ["env"],
        "additionalProperties": False,
        "examples": [{"env": "ORDERS_PASSWORD"}],
    },
    {
        "type": "object",
        "description": "A file, such as a mounted secret; a line end at its end is left out.",
        "properties": {"file": {"type": "string", "pattern": "^/"}},
        "required": ["file"],
        "additionalProperties": False,
        "examples": [{"file": "/run/secrets/orders-password"}],
    },
]
_INLINE = {"type": "string", "description": "The value itself: kept in memory only, with a warning."}
_KEY = {
    "type": "object",
    "description": "A service account's key itself: kept in memory only, with a warning.",
    "properties": {"type": {"const": "service_account"}},
    "required": ["type", "client_email", "private_key", "token_uri"],
}
SECRET_SCHEMA: dict[str, Any] = {"oneOf": [*_REFERENCE_SCHEMAS, _INLINE]}
KEY_SCHEMA: dict[str, Any] = {"oneOf": [*_REFERENCE_SCHEMAS, _INLINE, _KEY]}

SecretField = Annotated[
    Secret,
    PlainValidator(_secret),
    PlainSerializer(_shown),
    WithJsonSchema(SECRET_SCHEMA),
]
CredentialsField = Annotated[
    Secret,
    PlainValidator(_credentials),
    PlainSerializer(_shown),
    WithJsonSchema(KEY_SCHEMA),
]
