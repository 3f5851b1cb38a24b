"""One sentence for a server that could not be reached, whichever client found it out."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from etl_runner.errors import EtlError, PermanentError, RetryableError

_DEPTH = 12
"""Clients wrap a socket's error a few times; what is wrapped deeper is not worth a search."""


@dataclass(frozen=True)
class Where:
    """What a sentence says about a database: everything but the password."""

    host: str
    port: int
    database: str
    user: str
    kind: str
    """The product, in words."""

    def __str__(self) -> str:
        return f"{self.kind} at {self.host}:{self.port}"


def can_read(table: str) -> str:
    """How the sentence of a test goes on when a table was looked at, too."""
    return f", who can read {table}" if table else ""


def unreachable_database(error: OSError, where: Where, timeout: float) -> EtlError:
    """What a failed attempt to connect to a database means; ``timeout`` in seconds."""
    return unreachable(error, where, host=where.host, timeout=timeout, tls="sslmode, sslrootcert and host")


def unreachable(
    error: OSError,
    place: object,
    *,
    host: str,
    timeout: float,
    tls: str = "host",
    reach: str = "host and port",
) -> EtlError:
    """What a failed connection attempt means.

    Args:
        place: what was called, in words: ``PostgreSQL at db:5432``.
        host: the name that was to be resolved.
        timeout: seconds that were waited.
        tls: the settings to check when the server's certificate is refused.
        reach: the settings to check when nobody answers.
    """
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return RetryableError(f"{place}: the host name could not be resolved at the moment")
        return PermanentError(f"{place}: the host name {host!r} cannot be resolved; check {reach}")
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", "no reason told")
        return PermanentError(f"{place}: the server's certificate was not accepted ({reason}); check {tls}")
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or "handshake failed"
        return PermanentError(f"{place}: TLS could not be agreed on ({reason})")
    if isinstance(error, TimeoutError):
        return RetryableError(f"{place}: no answer within {timeout:g} s; check {reach} and firewalls")
    if isinstance(error, ConnectionRefusedError):
        return RetryableError(f"{place}: the connection was refused; check {reach} and that the server runs")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return PermanentError(f"{place}: there is no server socket in that folder")
    return RetryableError(f"{place}: the connection failed ({error.strerror or type(error).__name__})")


def socket_error(error: BaseException) -> OSError | None:
    """The operating system's own error behind what an HTTP client raised, None when there is none.

    requests, urllib3, botocore and azure-core wrap it as a cause, a context, an argument or an attribute.
    """
    best: OSError | None = None
    for found in _within(error):
        if isinstance(found, socket.gaierror | ssl.SSLError | ConnectionError | TimeoutError):
            return found
        if type(found) is OSError and best is None:
            best = found
    return best


def _within(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that it wraps, the outermost first."""
    layer: list[BaseException] = [error]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        following: list[BaseException] = []
        for one in layer:
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            inside = [one.__cause__, one.__context__, *one.args]
            inside += [getattr(one, name, None) for name in ("reason", "inner_exception", "original_error")]
            keywords = getattr(one, "kwargs", None)
            inside += [keywords.get("error")] if isinstance(keywords, dict) else []
            following += [item for item in inside if isinstance(item, BaseException)]
        layer = following
