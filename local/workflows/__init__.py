"""A stand-in for Cloud Workflows on one machine.

Runs definitions written in the Workflows syntax and serves their executions over the official API::

    python -m local.workflows --check workflows/etl.yaml
    python -m local.workflows --definition workflows/etl.yaml --name etl --project P --location L --port N \
        --env KEY=VALUE --endpoint run=http://127.0.0.1:8081

In a process of one's own: :func:`local.workflows.service.serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.workflows.service import WorkflowsServer

__all__ = ["serve"]


def serve(*args: Any, **kwargs: Any) -> WorkflowsServer:
    """:func:`local.workflows.service.serve`; checking alone does not have to import gRPC for it."""
    from local.workflows import service

    return service.serve(*args, **kwargs)
