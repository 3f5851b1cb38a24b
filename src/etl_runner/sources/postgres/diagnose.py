"""One sentence for what a server or the way to it answered.

SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html. A message has the server's own
primary message where it cannot hold a row's value, and never the query, whose literals are values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.sources.network import Where

_RETRYABLE_CLASSES = ("08", "40", "53", "58")
"""Connection exception, transaction rollback, insufficient resources, system error."""
_RETRYABLE_CODES = {
    "57014": "the query was cancelled, or ran longer than statement_timeout_seconds",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting up",
    "57P05": "the session was idle for longer than the server allows",
    "25P03": "the transaction was idle for longer than the server allows",
    "55P03": "a lock was not free in time",
}
_REFUSED_LOGIN = ("28000", "28P01")


class Garbled(Exception):  # noqa: N818 - turned into one of our errors by whoever knows the server's name
    """Bytes are not what the protocol says; the argument says where they differ."""


def server_error(code: str | None, message: str, where: Where, doing: str) -> EtlError:
    """What an error that the server reported means.

    Args:
        code: its SQLSTATE, None when the connection went away instead.
        message: its primary message.
        where: the server.
        doing: what was tried, to read on from "while": ``reading unit u00001``.
    """
    place = f"{where}, while {doing}"
    if code is None:
        return RetryableError(f"{place}: the connection was lost")
    if code in _REFUSED_LOGIN:
        if code == "28P01" or "password" in message:
            return PermanentError(f"{where}: user {where.user!r} or the password was not accepted")
        return PermanentError(f"{where}: user {where.user!r} may not log in ({message})")
    if code == "3D000":
        return PermanentError(f"{where}: there is no database {where.database!r}")
    if code == "53300":
        return RetryableError(
            f"{where}: the server has no free connection ({message}); lower max_connections"
        )
    if code in _RETRYABLE_CODES:
        return RetryableError(f"{place}: {_RETRYABLE_CODES[code]} ({message})")
    if code.startswith(_RETRYABLE_CLASSES):
        return RetryableError(f"{place}: {message} (SQLSTATE {code})")
    if code == "42501":
        return PermanentError(f"{place}: user {where.user!r} lacks a permission ({message})")
    if code.startswith(("22", "23")):
        # Messages of these classes quote the value.
        return PermanentError(f"{place}: a value was refused (SQLSTATE {code}: {message.partition(':')[0]})")
    return PermanentError(f"{place}: {message} (SQLSTATE {code})")


_UNDECODED = re.compile(
    r"ReadRecord failed:?([^\n]{0,160})|(?:IO|NOT_IMPLEMENTED): ([^\n]{0,160}not supported)"
)
"""How ADBC tells that it read the server's answer and could not make sense of it; names no value."""


def code_and_message(error: BaseException) -> tuple[str | None, str]:
    """SQLSTATE and primary message of a pg8000 or ADBC error; (None, "") for a lost connection."""
    first: Any = error.args[0] if error.args else None
    if isinstance(first, dict):  # pg8000: the fields of the ErrorResponse
        return first.get("C"), str(first.get("M", ""))
    code = getattr(error, "sqlstate", None)
    details = dict(getattr(error, "details", None) or ())
    message = details.get("PG_DIAG_MESSAGE_PRIMARY", details.get(b"PG_DIAG_MESSAGE_PRIMARY", b""))
    if isinstance(message, bytes):
        message = message.decode("utf-8", "replace")
    return (code or None), str(message)


@contextmanager
def diagnosed(driver_error: type[Exception], where: Where, doing: str) -> Iterator[None]:
    """Turn a driver's errors (``driver_error`` is the root of them) into ours."""
    try:
        yield
    except driver_error as error:
        code, message = code_and_message(error)
        undecoded = _UNDECODED.search(str(error)) if code is None else None
        if undecoded is not None:
            raise PermanentError(
                f"{where}, while {doing}: the driver cannot decode a value of the result "
                f"({(undecoded[1] or undecoded[2]).strip()}); select the column as text in a query"
            ) from None
        # The cause is left out: a driver's text repeats the query, whose literals are values.
        raise server_error(code, message, where, doing) from None
    except OSError as error:
        raise RetryableError(
            f"{where}, while {doing}: the connection was lost ({error.strerror or type(error).__name__})"
        ) from None
