"""Credentials from Secret Manager."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from etl_runner.config.secrets import (
    DocumentResolver,
    EnvFileResolver,
    Secret,
    SecretResolver,
    SecretRouter,
    SecretValue,
)
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.settings import Settings
from etl_runner.state.objects import ObjectStore

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

    from etl_runner.controlplane.client import ControlPlane

_TIMEOUT_SECONDS = 30.0


class SecretManagerResolver:
    """Reads secret versions. The client is made when the first secret is wanted.

    ``project`` is the one of references that name a secret only.
    """

    def __init__(self, client: Callable[[], SecretManagerServiceClient], project: str) -> None:
        self._make_client = client
        self._client: SecretManagerServiceClient | None = None
        self._project = project

    def reveal(self, secret: Secret) -> str:
        if isinstance(secret, SecretValue):
            return secret.reveal()
        name = secret.version_name(self._project)
        data, checksum = self._access(name)
        text = _decoded(data)
        # https://cloud.google.com/secret-manager/docs/data-integrity
        if checksum is not None and checksum != _crc32c(data):
            raise RetryableError(f"secret {name}: the value was damaged on its way")
        if not text:
            raise PermanentError(
                f"secret {name}: the value is {'not UTF-8 text' if text is None else 'empty'}"
            )
        return text

    def _access(self, name: str) -> tuple[bytes, int | None]:
        from google.api_core import exceptions as api

        from etl_runner.gcp.faults import translated

        try:
            with translated(f"secret {name}: cannot be read"):
                if self._client is None:
                    self._client = self._make_client()
                payload = self._client.access_secret_version(
                    request={"name": name}, timeout=_TIMEOUT_SECONDS
                ).payload
                return payload.data, payload.data_crc32c if "data_crc32c" in payload else None
        except PermanentError as error:
            cause = error.__cause__
        if isinstance(cause, api.NotFound):
            raise PermanentError(f"secret {name}: there is no such secret or version")
        if isinstance(cause, api.Forbidden):
            raise PermanentError(
                f"secret {name}: this process may not read it; grant roles/secretmanager.secretAccessor"
            )
        if isinstance(cause, api.FailedPrecondition):
            raise PermanentError(f"secret {name}: the version is disabled or destroyed")
        raise PermanentError(f"secret {name}: cannot be read ({type(cause).__name__})") from cause


def secret_resolver(
    settings: Settings, config: ObjectStore, control_plane: ControlPlane | None = None
) -> SecretRouter:
    """What a deployed process reads secrets with: Secret Manager, the documents of the config bucket and of
    the control plane, its own environment and its mounted files."""

    def client() -> SecretManagerServiceClient:
        from etl_runner.gcp.clients import secret_client

        return secret_client(settings)

    secret_manager: SecretResolver = SecretManagerResolver(client, settings.project)
    served: SecretResolver | None = None
    if control_plane is not None:
        from etl_runner.controlplane.documents import ControlPlaneResolver

        served = ControlPlaneResolver(control_plane)
    return SecretRouter(
        local=EnvFileResolver(),
        document=DocumentResolver(config),
        secret_manager=secret_manager,
        control_plane=served,
    )


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _crc32c(data: bytes) -> int:
    import google_crc32c

    return int(google_crc32c.value(data))
