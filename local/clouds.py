"""Storage of other clouds beside the topology: started when it is asked for, since few need it.

Each comes with an empty bucket ``landing`` and a connection document of its name in the config bucket.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl_runner.errors import PermanentError

if TYPE_CHECKING:
    from local.stack import Stack

BUCKET = "landing"


@dataclass(frozen=True)
class Cloud:
    """One that runs: where, and what clients need to use it, as environment variables."""

    endpoint: str
    settings: dict[str, str] = field(repr=False)


def start_clouds(stack: Stack, names: Sequence[str]) -> dict[str, Cloud]:
    """Start them beside the topology, which stops them; at once.

    Raises:
        PermanentError: one is not known or did not start.
    """
    unknown = [name for name in names if name not in CLOUDS]
    if unknown:
        raise PermanentError(f"there is no part {unknown[0]!r} to start; known are {', '.join(CLOUDS)}")
    with ThreadPoolExecutor(max_workers=len(CLOUDS)) as pool:
        return dict(zip(names, pool.map(lambda name: CLOUDS[name](stack), names), strict=True))


def _s3(stack: Stack) -> Cloud:
    from local.s3 import REGION, S3Server

    server = stack.keep(S3Server.start(stack.logs / "s3.log"))
    server.create_bucket(BUCKET)
    stack.put_connection("s3", server.document(BUCKET))
    settings = {
        "ETL_LOCAL_S3_ENDPOINT": server.endpoint,
        "ETL_LOCAL_S3_REGION": REGION,
        "ETL_LOCAL_S3_ACCESS_KEY_ID": server.access_key_id,
        "ETL_LOCAL_S3_SECRET_ACCESS_KEY": server.secret_access_key,
    }
    return Cloud(server.endpoint, settings)


def _azure(stack: Stack) -> Cloud:
    from azure.core.exceptions import ResourceExistsError

    from local.azure import AzureServer

    server = stack.keep(AzureServer.start(stack.data / "azure", log=stack.logs / "azure.log"))
    with contextlib.suppress(ResourceExistsError):  # its data were kept
        server.create_container(BUCKET)
    stack.put_connection("azure", server.document(BUCKET))
    return Cloud(server.endpoint, {"ETL_LOCAL_AZURE_CONNECTION_STRING": server.connection_string})


CLOUDS: dict[str, Callable[[Stack], Cloud]] = {"s3": _s3, "azure": _azure}
"""What ``--with`` knows."""
