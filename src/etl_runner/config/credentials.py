"""The fields that hold credentials: a reference, or the value, which is hidden at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from etl_runner.config.secret_value import HIDDEN
from etl_runner.config.secrets import REFERENCE_ALLOWED, Secret, SecretRef, SecretValue
from etl_runner.config.values import refusal

INTERNAL = {"internal": True}
"""Validation context for documents that this project stored itself: ``document`` references are allowed."""


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
    kinds = {"secret_manager", "env", "file"} | (
        {"document", "control_plane", "field"} if internal else set()
    )
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
