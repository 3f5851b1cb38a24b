"""libpq's ``sslmode`` for both drivers, from one reading of it.

https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
"""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path

from etl_runner.errors import PermanentError

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-SSLREQUEST"""
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def root_certificates(sslmode: str, sslrootcert: str | None) -> str | None:
    """Path of the authorities that a certificate must come from; None where none is demanded.

    As in libpq, ``require`` with a file means ``verify-ca``. Without a file, the verifying modes use the
    system's bundle.

    Raises:
        PermanentError: no such file; or no bundle on this system.
    """
    if sslrootcert is not None and sslmode in ("require", "verify-ca", "verify-full"):
        if not Path(sslrootcert).is_file():
            raise PermanentError(f"sslrootcert: there is no file {sslrootcert} on the machine that connects")
        return sslrootcert
    if sslmode not in ("verify-ca", "verify-full"):
        return None
    for path in (ssl.get_default_verify_paths().cafile, *_BUNDLES):
        if path and Path(path).is_file():
            return path
    raise PermanentError(f"sslmode {sslmode} needs sslrootcert: this system has no bundle of authorities")


def context_for(sslmode: str, sslrootcert: str | None) -> ssl.SSLContext | None:
    """The TLS context of a mode; None for modes that begin without TLS (``disable``, ``allow``)."""
    if sslmode in ("disable", "allow"):
        return None
    roots = root_certificates(sslmode, sslrootcert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = sslmode == "verify-full"
    if roots is None:
        # prefer and require promise encryption, not identity: that is what these words mean in libpq.
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(roots)
    return context


def wrap(raw: socket.socket, context: ssl.SSLContext, sslmode: str, host: str) -> socket.socket:
    """Ask the server for TLS. With ``prefer``, one that offers none is spoken to in the clear.

    Raises:
        PermanentError: the server offers no TLS and the mode demands it.
        OSError: the handshake failed.
    """
    raw.sendall(_SSL_REQUEST)
    answer = raw.recv(1)
    if answer == b"S":
        return context.wrap_socket(raw, server_hostname=host)
    if answer == b"":
        raise ConnectionResetError("closed by the other side")
    if sslmode == "prefer":
        return raw
    raise PermanentError(f"PostgreSQL at {host}: the server offers no TLS, and sslmode {sslmode} demands it")
