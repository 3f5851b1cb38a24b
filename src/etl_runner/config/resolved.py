"""A source that is ready to be used: its document and its connection, credentials as references."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from etl_runner import jsontypes
from etl_runner.config.base import Document
from etl_runner.config.credentials import INTERNAL
from etl_runner.config.documents import CONNECTION_MODELS, SOURCE_MODELS, AnySource, Connection
from etl_runner.config.problems import problems_of_model
from etl_runner.config.secrets import Secret, SecretValue
from etl_runner.config.types import source_type_of
from etl_runner.errors import ConfigError, PermanentError, Problem

M = TypeVar("M", bound=Document)


@dataclass(frozen=True)
class ResolvedSource:
    """A source document together with the connection that it names or carries."""

    document: AnySource
    """Never holds a connection or a credential: ``connection_params`` is always None here."""
    connection: Connection
    source_id: str
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The whole configuration, defaults included, secrets as references; what a plan stores.

        Raises:
            PermanentError: a credential's value stands in a document that is stored nowhere, so that no
                reference can lead a worker to it.
        """
        for name, secret in secrets_of(self.connection).items():
            if isinstance(secret, SecretValue):
                raise PermanentError(
                    f"source {self.source_id}: {name} is a value that no worker could find again; store the "
                    "document in the config bucket or put the value into Secret Manager and name it there"
                )
        return self._plain()

    def _plain(self) -> dict[str, Any]:
        return {
            "source_id": self.source_id,
            "document": self.document.model_dump(mode="json", exclude_none=True),
            "connection": self.connection.model_dump(mode="json", exclude_none=True),
        }

    def hash(self) -> str:
        """SHA-256 of the configuration, as 64 hex digits. Credentials count by where they are, not by
        value: rotating a secret changes nothing, and the hash gives no way to guess one."""
        return hashlib.sha256(jsontypes.dumps(self._plain())).hexdigest()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ResolvedSource:
        """The value behind :meth:`to_json`; warnings are not kept.

        Raises:
            ConfigError: not such a value.
        """
        name = f"plan of source {value.get('source_id')}"
        document, connection = value.get("document"), value.get("connection")
        if not isinstance(document, dict) or not isinstance(connection, dict):
            raise ConfigError(name, (Problem("", "has no document or no connection"),))
        source_type = source_type_of(document.get("source_type"), "document.source_type")
        if isinstance(source_type, Problem):
            raise ConfigError(name, (source_type,))
        return cls(
            document=load_model(SOURCE_MODELS[source_type], document, name),
            connection=load_model(CONNECTION_MODELS[source_type], connection, name),
            source_id=str(value.get("source_id")),
        )


def load_model(model: type[M], value: dict[str, Any], name: str) -> M:
    """Validate what this project stored itself."""
    try:
        return model.model_validate(value, context=INTERNAL)
    except ValidationError as error:
        problems = problems_of_model(error, model, {}, value)
    raise ConfigError(name, tuple(problems))


def secrets_of(connection: Connection) -> dict[str, Secret]:
    """The connection's credentials by field, those that are set."""
    return {
        name: secret
        for name in connection.secret_fields
        if (secret := getattr(connection, name, None)) is not None
    }
