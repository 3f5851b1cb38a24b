"""A stand-in for Cloud Workflows on one machine.

Runs definitions written in the Workflows syntax and serves their executions over the official API::

    python -m local.workflows --check workflows/etl.yaml
    python -m local.workflows --definition workflows/etl.yaml --name etl --project P --location L --port N \
        --env KEY=VALUE --endpoint run=http://127.0.0.1:8081

In a process of one's own: :func:`local.workflows.service.serve`.

What differs from the service: tokens have the right shape and no signature; executions are kept in memory;
regular expressions are Python's, not RE2; no callbacks, no event functions, and only the connectors of
:data:`local.workflows.connectors.METHODS`. Where the documentation is silent the stricter reading is taken:
step names are unique in a routine, variables of a loop's iteration end with it, and names that nothing
assigns are refused.
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
