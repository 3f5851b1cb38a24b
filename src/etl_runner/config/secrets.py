"""Credentials: where they are, and the values themselves, which nothing shows.

A document names a credential by a :class:`SecretRef`; a value that stands in the document itself becomes
a :class:`SecretValue` at once. Only :meth:`SecretResolver.reveal` gives plain text, at the moment at which
a connection is opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

from etl_runner.config.secret_value import SecretValue
from etl_runner.errors import PermanentError

if TYPE_CHECKING:
    from etl_runner.state.objects import ObjectStore

__all__ = [
    "MAX_SECRET_BYTES",
    "REFERENCE_ALLOWED",
    "DocumentResolver",
    "EnvFileResolver",
    "Secret",
    "SecretKind",
    "SecretRef",
    "SecretResolver",
    "SecretRouter",
    "SecretValue",
    "value_at",
]

SecretKind = Literal["secret_manager", "env", "file", "document", "control_plane"]
MAX_SECRET_BYTES = 65_536
"""A Secret Manager payload's limit (https://cloud.google.com/secret-manager/quotas); files keep to it."""

_MANAGER = re.compile(
    r"(?:projects/(?P<project>[a-z0-9.:-]{1,100})/secrets/)?(?P<secret>[A-Za-z0-9_-]{1,255})"
    r"(?:/versions/(?P<version>[A-Za-z0-9_-]{1,63}))?"
)
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")

REFERENCE_ALLOWED = (
    "{secret_manager: projects/<project>/secrets/<name>/versions/latest}, {secret_manager: <name>}, "
    "{env: NAME} or {file: /path}"
)


class SecretRef(BaseModel):
    """Where a credential is. Exactly one of secret_manager, env, file, document and control_plane is set.

    ``document`` and ``control_plane`` (with ``field``, the dotted path in it as written) are the loaders'
    own: they stand for a value that is written in a document of the config bucket, or in the document that
    the control plane serves for a source's id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    secret_manager: str | None = None
    env: str | None = None
    file: str | None = None
    document: str | None = None
    control_plane: str | None = None
    field: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SecretRef:
        kinds = [kind for kind in get_args(SecretKind) if getattr(self, kind)]
        if len(kinds) != 1:
            raise ValueError("a reference names exactly one place")
        if (self.field is not None) != (self.document is not None or self.control_plane is not None):
            raise ValueError("field goes with document and control_plane")
        if self.secret_manager is not None and _MANAGER.fullmatch(self.secret_manager) is None:
            raise ValueError("is not the name of a Secret Manager secret")
        if self.env is not None and _ENV.fullmatch(self.env) is None:
            raise ValueError("is not the name of an environment variable")
        if self.file is not None and not self.file.startswith("/"):
            raise ValueError("is not an absolute path")
        return self

    @model_serializer
    def _only_what_is_set(self) -> dict[str, str]:
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    @property
    def kind(self) -> SecretKind:
        """Which of them it is."""
        kinds: tuple[SecretKind, ...] = get_args(SecretKind)
        return next(kind for kind in kinds if getattr(self, kind) is not None)

    def __str__(self) -> str:
        place = getattr(self, self.kind)
        return f"{self.kind} {place}" if self.field is None else f"{self.kind} {place}, field {self.field}"

    def version_name(self, project: str) -> str:
        """The Secret Manager resource, ``projects/<p>/secrets/<s>/versions/<v>``; parts that the reference
        leaves out are ``project`` and ``latest``."""
        match = _MANAGER.fullmatch(self.secret_manager or "")
        if match is None:
            raise PermanentError(f"{self} is not a Secret Manager reference")
        return (
            f"projects/{match['project'] or project}/secrets/{match['secret']}"
            f"/versions/{match['version'] or 'latest'}"
        )


Secret: TypeAlias = SecretRef | SecretValue


class SecretResolver(Protocol):
    """Turns references into values."""

    def reveal(self, secret: Secret) -> str:
        """The plain value.

        Raises:
            PermanentError: there is no such secret, or this process may not read it. The message names
                the reference, never a value.
            RetryableError: the place cannot be reached at the moment.
        """


class EnvFileResolver:
    """Environment variables and files, for use on one machine and for mounted secrets."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def reveal(self, secret: Secret) -> str:
        if isinstance(secret, SecretValue):
            return secret.reveal()
        if secret.env is not None:
            value = self._environ.get(secret.env)
            if not value:
                raise PermanentError(f"secret {secret}: the environment variable is not set or is empty")
            return value
        if secret.file is not None:
            return _read_file(secret, Path(secret.file))
        raise PermanentError(f"secret {secret}: only environment variables and files can be read here")


class DocumentResolver:
    """Values that stand in documents of the config bucket: read again from there, kept nowhere else."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def reveal(self, secret: Secret) -> str:
        from etl_runner.config.text import read_document  # yaml is wanted only when a document is read

        if isinstance(secret, SecretValue):
            return secret.reveal()
        if secret.document is None or secret.field is None:
            raise PermanentError(f"secret {secret}: only documents can be read here")
        stored = self._objects.read(secret.document)
        if stored is None:
            raise PermanentError(f"secret {secret}: the document is gone from the config bucket")
        return value_at(read_document(stored.data, name=secret.document).value, secret)


def value_at(document: Any, secret: SecretRef) -> str:
    """The credential that stands at the reference's ``field`` of a document.

    Raises:
        PermanentError: nothing that can be one stands there.
    """
    value = document
    for part in (secret.field or "").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping) and value:
        return json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise PermanentError(f"secret {secret}: the document no longer has a value there")
    return value


class SecretRouter:
    """Sends each reference to the resolver of its kind; a kind without one is refused."""

    def __init__(
        self,
        *,
        local: SecretResolver | None = None,
        document: SecretResolver | None = None,
        secret_manager: SecretResolver | None = None,
        control_plane: SecretResolver | None = None,
    ) -> None:
        """``local`` reads environment variables and files."""
        self._resolvers: dict[SecretKind, SecretResolver | None] = {
            "env": local,
            "file": local,
            "document": document,
            "secret_manager": secret_manager,
            "control_plane": control_plane,
        }

    def reveal(self, secret: Secret) -> str:
        if isinstance(secret, SecretValue):
            return secret.reveal()
        resolver = self._resolvers[secret.kind]
        if resolver is None:
            raise PermanentError(f"secret {secret}: this process cannot read secrets of that kind")
        return resolver.reveal(secret)


def _read_file(secret: SecretRef, path: Path) -> str:
    """The file's text without the line end that editors add."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise PermanentError(f"secret {secret}: {error.strerror or 'the file cannot be read'}") from None
    if len(data) > MAX_SECRET_BYTES:
        raise PermanentError(f"secret {secret}: the file is larger than {MAX_SECRET_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise PermanentError(f"secret {secret}: the file is not UTF-8 text")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise PermanentError(f"secret {secret}: the file is empty")
    return text
