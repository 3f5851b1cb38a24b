"""A source's documents as they should be: credentials in Secret Manager, the connection on its own."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from etl_runner.config.resolved import ResolvedSource, secrets_of
from etl_runner.config.secrets import SecretRef, SecretValue


@dataclass(frozen=True)
class Export:
    """The two documents, and the commands that create the secrets that ``connection`` names.

    ``commands`` read each value from the terminal, so that it is in no history and no process list.
    """

    document: dict[str, Any]
    connection_id: str
    connection: dict[str, Any]
    commands: tuple[str, ...]


def export_config(resolved: ResolvedSource, *, project: str) -> Export:
    """Rewrite a source so that no credential is written in a document.

    Fields that have their default are left out. Secrets that are references already stay as they are.
    ``project`` is where the new secrets go.
    """
    connection_id = resolved.document.connection or f"{resolved.source_id[:117]}-connection"
    document = resolved.document.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    connection = resolved.connection.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    commands = []
    for name, secret in secrets_of(resolved.connection).items():
        if isinstance(secret, SecretValue) or secret.kind == "document":
            secret_id = f"etl-{connection_id}-{name}".replace("_", "-")
            reference = SecretRef(secret_manager=f"projects/{project}/secrets/{secret_id}/versions/latest")
            connection[name] = reference.model_dump()
            commands.append(_command(name, secret_id, project))
    return Export(
        document=_ordered({**document, "connection": connection_id}),
        connection_id=connection_id,
        connection=_ordered(connection),
        commands=tuple(commands),
    )


def _command(field: str, secret_id: str, project: str) -> str:
    """Bash: asks for the value without showing it, and hands it on without a line end."""
    prompt = shlex.quote(f"{re.sub('[^a-z_]', '', field)}: ")
    create = (
        f"gcloud secrets create {shlex.quote(secret_id)} --project={shlex.quote(project)} "
        "--replication-policy=automatic --data-file=-"
    )
    return f'read -rsp {prompt} value && printf %s "$value" | {create}; unset value'


def _ordered(document: dict[str, Any]) -> dict[str, Any]:
    """What identifies the document first, for people."""
    first = [key for key in ("source_type", "connection", "host", "bucket") if key in document]
    return {key: document[key] for key in [*first, *(key for key in document if key not in first)]}
