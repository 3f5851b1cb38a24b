"""Source documents of the control plane, and the credentials that stand in them.

A credential's value stays in memory. A plan holds a reference to the source's document and the field, and a
worker asks the control plane again at the moment at which it connects.
"""

from __future__ import annotations

import logging

from etl_runner.config.parse import parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.secrets import Secret, SecretValue, value_at
from etl_runner.config.text import read_document
from etl_runner.controlplane.client import ControlPlane
from etl_runner.errors import ConfigError, PermanentError, Problem

log = logging.getLogger(__name__)


def document_name(source_id: str) -> str:
    """What messages call the document."""
    return f"control-plane/{source_id}.json"


def load_source(plane: ControlPlane, source_id: str) -> ResolvedSource | None:
    """The source as the control plane serves it; None when it has none of this id.

    Raises:
        ConfigError: everything that is wrong in the document.
        RetryableError, PermanentError: see :meth:`ControlPlane.job_config`.
    """
    data = plane.job_config(source_id)
    if data is None:
        return None
    name = document_name(source_id)
    parsed = parse_source(data, name=name, source_id=source_id)
    if parsed.connection is None:
        problem = Problem(
            "connection_params", "is required: a control plane's document carries its connection"
        )
        raise ConfigError(name, (problem,))
    for field in parsed.connection.inline:
        log.warning("%s holds the value of %s; name a secret of Secret Manager instead", name, field)
    return ResolvedSource(
        document=parsed.document,
        connection=parsed.connection.served(source_id),
        source_id=source_id,
        warnings=parsed.warnings,
    )


class ControlPlaneResolver:
    """Resolves ``control_plane`` references: asks for the document again, keeps nothing."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def reveal(self, secret: Secret) -> str:
        if isinstance(secret, SecretValue):
            return secret.reveal()
        if secret.control_plane is None:
            raise PermanentError(f"secret {secret}: only the control plane's documents can be read here")
        data = self._plane.job_config(secret.control_plane)
        if data is None:
            raise PermanentError(f"secret {secret}: the control plane no longer has that source")
        return value_at(read_document(data, name=document_name(secret.control_plane)).value, secret)
