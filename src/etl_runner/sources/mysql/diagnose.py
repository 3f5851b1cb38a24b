"""One sentence for what a server or the way to it answered.

Error numbers: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html and
https://mariadb.com/kb/en/mariadb-error-code-reference/. The server's own message is repeated only where it
holds names and never a row's value or a piece of the query, whose literals are values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.sources.network import Where

NO_SUCH_TABLE = 1146
ACCESS_DENIED = 1045
SECURE_TRANSPORT_REQUIRED = 3159
PRIVILEGE_NEEDED = (1142, 1143, 1227)
"""Table, column, global (SUPER, PROCESS) privilege."""
DUPLICATE_COLUMN = 1060
_LOST = (2006, 2013, 2055, 0)
_RETRYABLE = {
    1040: "the server has no free connection; lower max_connections",
    1203: "the user has no free connection; lower max_connections",
    1226: "the user has used up what the server grants it for now",
    1053: "the server is shutting down",
    1205: "a lock was not free in time",
    1213: "the transaction was a deadlock's victim",
    1317: "the query was cancelled",
    1927: "the connection was killed",
    1969: "the query ran longer than statement_timeout_seconds",
    3024: "the query ran longer than statement_timeout_seconds",
    1158: "the connection was lost",
    1159: "the connection was lost",
    1160: "the connection was lost",
    1161: "the connection was lost",
    1114: "the server has no room for a temporary table",
    1021: "the server's disk is full",
    1412: "the table was changed meanwhile",
}
_NAMED = (1044, 1051, 1052, 1054, 1060, NO_SUCH_TABLE, 1305, 1356, *PRIVILEGE_NEEDED)
"""Errors whose messages hold names alone."""


def server_error(code: int | None, message: str, where: Where, doing: str) -> EtlError:
    """What an error that the server reported means.

    Args:
        code: its number, None when the connection went away instead.
        message: its text.
        where: the server.
        doing: what was tried, to read on from "while": ``reading unit u00001``.
    """
    place = f"{where}, while {doing}"
    if code is None or code in _LOST:
        return RetryableError(f"{place}: the connection was lost")
    if code == ACCESS_DENIED:
        return PermanentError(f"{where}: user {where.user!r} or the password was not accepted")
    if code in (1130, 1129):
        return PermanentError(f"{where}: the server takes no connections from this machine")
    if code == 1049:
        return PermanentError(f"{where}: there is no database {where.database!r}")
    if code == 1044:
        return PermanentError(f"{where}: user {where.user!r} may not use the database ({message})")
    if code == SECURE_TRANSPORT_REQUIRED:
        return PermanentError(f"{where}: the server demands TLS; set sslmode to require or verify-full")
    if code == 2026:
        return PermanentError(f"{where}: the server offers no TLS, and sslmode demands it")
    if code in _RETRYABLE:
        return RetryableError(f"{place}: {_RETRYABLE[code]} (error {code})")
    if code in PRIVILEGE_NEEDED:
        return PermanentError(f"{place}: user {where.user!r} lacks a permission ({message})")
    if code == 1792:
        return PermanentError(f"{place}: the query writes, and may only read (error 1792)")
    if code == 1064:
        return PermanentError(f"{place}: the server does not understand the query (error 1064, syntax)")
    if code in _NAMED:
        return PermanentError(f"{place}: {message} (error {code})")
    return PermanentError(f"{place}: the server refused it (error {code})")


def code_and_message(error: BaseException) -> tuple[int | None, str]:
    """Number and text of a PyMySQL error; (None, "") for a lost connection."""
    arguments: tuple[Any, ...] = error.args
    if not arguments or not isinstance(arguments[0], int):
        return None, ""
    return arguments[0], str(arguments[1]) if len(arguments) > 1 else ""


@contextmanager
def diagnosed(where: Where, doing: str) -> Iterator[None]:
    """Turn the driver's errors, and those of its socket, into ours."""
    import pymysql

    try:
        yield
    except pymysql.MySQLError as error:
        code, message = code_and_message(error)
        raise server_error(code, message, where, doing) from None
    except OSError as error:
        raise RetryableError(
            f"{where}, while {doing}: the connection was lost ({error.strerror or type(error).__name__})"
        ) from None
