"""What the stores of the three clouds have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.sources.files.store import FileReplaced, FileVersion
from etl_runner.sources.network import socket_error, unreachable

CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0


class Cloud(Protocol):
    """How one cloud's client tells that something went wrong."""

    def meaning(self, error: Exception, place: str, doing: str) -> EtlError | None:
        """The error in the project's words, None for one that is not the cloud's."""


@contextmanager
def told(cloud: Cloud, place: str, doing: str) -> Iterator[None]:
    """Turn a client's errors into one sentence; ``doing`` reads on from "while": ``listing in/``.

    The client's error is not chained: its text may hold a signed URL, a key's id or a header.
    """
    try:
        yield
    except EtlError:
        raise
    except Exception as error:
        meaning = cloud.meaning(error, place, doing)
        if meaning is None:
            raise
        found = meaning
    else:
        return
    raise found


def network_meaning(error: Exception, place: str, host: str, reach: str) -> EtlError | None:
    """The sentence of an error whose origin is a socket; None when there is none behind it."""
    origin = socket_error(error)
    if origin is None:
        return None
    return unreachable(origin, place, host=host, timeout=CONNECT_SECONDS, tls=reach, reach=reach)


def status_meaning(status: int | None, place: str, doing: str, code: str) -> EtlError:
    """The sentence of an HTTP status that no cloud-specific rule knew.

    ``code`` is the service's own word for it.
    """
    word = f"{status}, {code}" if code else f"{status}"
    if status is None or status in (408, 429) or status >= 500:
        return RetryableError(f"{place}, while {doing}: the service is busy or was interrupted ({word})")
    return PermanentError(f"{place}, while {doing}: the service refused it ({word})")


def replaced(file: FileVersion) -> FileReplaced:
    """The error of an object that is no longer the planned one."""
    return FileReplaced(
        f"{file.uri}: the file was replaced or deleted after it was planned (version {file.version})"
    )


def unchanged(file: FileVersion, now: FileVersion | None) -> None:
    """Raise FileReplaced unless ``now`` is the planned version."""
    if now is None or now.version != file.version:
        raise replaced(file)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def answered(place: str, prefix: str, first: FileVersion | None) -> str:
    """The sentence of a check that went well."""
    within = f" under {prefix}" if prefix else ""
    if first is None:
        return f"{place} can be listed; there is no object{within} yet, so reading one was not tried."
    return f"{place} can be listed and read; the first object{within} is {first.name} ({first.size} bytes)."
