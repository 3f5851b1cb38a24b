"""Connections over PyMySQL (pure Python): short questions as values, units as a stream of undecoded rows.

Everything happens inside read-only transactions in the text protocol: nothing is prepared, and what is set
for the session (the time zone, limits) are variables that ProxySQL and its like follow. ``sql_mode`` stays
the server's own: :mod:`~etl_runner.sources.mysql.quoting` writes what means the same under each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_runner.config.connections import MySqlConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.mysql.diagnose import (
    ACCESS_DENIED,
    SECURE_TRANSPORT_REQUIRED,
    code_and_message,
    diagnosed,
    server_error,
)
from etl_runner.sources.network import Where, unreachable_database
from etl_runner.sources.postgres import tls

if TYPE_CHECKING:
    from etl_runner.sources.mysql.wire import Chunk

CONTROL_TIMEOUT_SECONDS = 300
"""A question to the catalog takes no longer; a unit may (statement_timeout_seconds)."""
LOCK_TIMEOUT_SECONDS = 60
_WRITE_TIMEOUT_SECONDS = 600
"""How long the server waits for a reader that is busy writing; its own default is 60."""
_LONGEST_NAME = 250


@dataclass(frozen=True)
class Target:
    """Where and as whom to connect; the password is fetched at the moment it is needed and not kept."""

    connection: MySqlConnection
    secrets: SecretResolver
    application_name: str

    @property
    def where(self) -> Where:
        c = self.connection
        return Where(c.host, c.port, c.database, c.username, "MySQL")

    def password(self) -> str | None:
        secret = self.connection.password
        return None if secret is None else self.secrets.reveal(secret)


class Control:
    """An open connection. Not safe for use by two threads at once."""

    def __init__(self, connection: Any, where: Where) -> None:
        self._connection = connection
        self.where = where

    @property
    def version(self) -> str:
        """As the server says it: ``10.11.6-MariaDB``, ``8.4.2``."""
        return str(self._connection.server_version)

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.version.lower()

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Control]:
        """A read-only transaction, always rolled back; with ``snapshot``, its snapshot is taken now and is
        that of every query in it."""
        kind = "WITH CONSISTENT SNAPSHOT, READ ONLY" if snapshot else "READ ONLY"
        with diagnosed(self.where, "opening a transaction"):
            self._run(f"START TRANSACTION {kind}")
        try:
            yield self
        finally:
            self._rollback()

    def _rollback(self) -> None:
        import pymysql

        if not self._connection.open:
            return
        try:
            self._connection.rollback()
        except (pymysql.MySQLError, OSError):
            # The connection is gone, and the transaction with it; whoever was using it has the error.
            self.close()

    def rows(self, sql: str, doing: str, cursor: Any = None) -> list[Any]:
        """All rows of a short query, as tuples; text comes as str, numbers as Python has them.

        Args:
            sql: the query.
            doing: what errors say it is for.
            cursor: one of PyMySQL's cursor classes, for rows of another shape.

        Raises:
            RetryableError, PermanentError: see :mod:`~etl_runner.sources.mysql.diagnose`.
        """
        with diagnosed(self.where, doing):
            return self._run(sql, cursor)

    def one(self, sql: str, doing: str) -> tuple[Any, ...]:
        """The only row."""
        row: tuple[Any, ...]
        (row,) = self.rows(sql, doing)
        return row

    def value(self, sql: str, doing: str) -> Any:
        """The only value."""
        (value,) = self.one(sql, doing)
        return value

    def allowed(self, sql: str, doing: str, *refusals: int) -> list[Any] | None:
        """The rows, or None when the server answers with one of these error numbers."""
        import pymysql

        with diagnosed(self.where, doing):
            try:
                return self._run(sql)
            except pymysql.MySQLError as error:
                if code_and_message(error)[0] in refusals:
                    return None
                raise

    def described(self, sql: str, doing: str) -> list[Any]:
        """The field descriptions of a query's columns (PyMySQL's ``FieldDescriptorPacket``)."""
        with diagnosed(self.where, doing), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor._result.fields)

    def stream(self, sql: str, doing: str) -> Iterator[Chunk]:
        """The query's rows, as they arrive and undecoded; given up early, the connection is closed.

        Raises:
            RetryableError, PermanentError: see :mod:`~etl_runner.sources.mysql.diagnose`.
        """
        from etl_runner.sources.mysql.wire import chunks

        complete = False
        try:
            with diagnosed(self.where, doing):
                yield from chunks(self._connection, sql)
            complete = True
        finally:
            if not complete:
                # The rest of the rows is still on its way; nothing else can be asked on this connection.
                self.close()

    def _run(self, sql: str, kind: Any = None) -> list[Any]:
        with self._connection.cursor(kind) as cursor:
            # Without arguments the driver looks for no placeholders: a % in the query is a %.
            cursor.execute(sql)
            return list(cursor.fetchall())

    def close(self) -> None:
        """Close the connection; closing it twice, or a broken one, is no error."""
        self._connection._force_close()


@contextmanager
def open_control(target: Target, timeout_seconds: int = CONTROL_TIMEOUT_SECONDS) -> Iterator[Control]:
    """A connection, closed at the end.

    Args:
        target: where.
        timeout_seconds: after which the server ends a query.

    Raises:
        RetryableError, PermanentError: it cannot be opened; one sentence says why.
    """
    control = connect(target, timeout_seconds)
    try:
        yield control
    finally:
        control.close()


def connect(target: Target, timeout_seconds: int = CONTROL_TIMEOUT_SECONDS) -> Control:
    """Open a connection; see :func:`open_control`."""
    import pymysql

    where, mode = target.where, target.connection.sslmode
    password = target.password()
    try:
        if mode == "allow":
            try:
                opened = _opened(target, password, "disable", timeout_seconds)
            except pymysql.MySQLError as error:
                if code_and_message(error)[0] not in (ACCESS_DENIED, SECURE_TRANSPORT_REQUIRED):
                    raise
                opened = _opened(target, password, "prefer", timeout_seconds)
        else:
            opened = _opened(target, password, mode, timeout_seconds)
    except pymysql.MySQLError as error:
        # PyMySQL keeps what the socket said beside its own words.
        original = getattr(error, "original_exception", None) or error.__cause__ or error.__context__
        if isinstance(original, OSError):
            raise unreachable_database(original, where, target.connection.connect_timeout_seconds) from None
        code, message = code_and_message(error)
        if code == ACCESS_DENIED and password is None:
            raise PermanentError(f"{where}: the server asks for a password, and none is configured") from None
        if code == ACCESS_DENIED and mode == "disable":
            # MariaDB refuses an open connection with this number too where it demands TLS.
            raise PermanentError(
                f"{where}: user {where.user!r} or the password was not accepted, or the server demands TLS"
                " and sslmode is disable"
            ) from None
        if code is None:
            raise RetryableError(f"{where}: the connection ended while it was opened") from None
        raise server_error(code, message, where, "connecting") from None
    except OSError as error:
        raise unreachable_database(error, where, target.connection.connect_timeout_seconds) from None
    except RuntimeError:
        # caching_sha2_password without TLS encrypts the password by RSA, which wants a further library.
        raise PermanentError(
            f"{where}: the user's password may only be sent over TLS; set sslmode to require or verify-full"
        ) from None
    control = Control(opened, where)
    try:
        for statement in _session_statements(control.is_mariadb, timeout_seconds):
            control.rows(statement, "setting up the session")
    except BaseException:
        control.close()
        raise
    return control


def _session_statements(mariadb: bool, timeout_seconds: int) -> list[str]:
    limit = (
        # MariaDB counts seconds, MySQL milliseconds; both end a SELECT that takes longer.
        f"max_statement_time = {timeout_seconds}"
        if mariadb
        else f"max_execution_time = {timeout_seconds * 1000}"
    )
    return [
        "SET SESSION time_zone = '+00:00'",
        # Never what others have not committed, and no locks, whatever the server's default is.
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        f"SET SESSION {limit}",
        f"SET SESSION net_write_timeout = {_WRITE_TIMEOUT_SECONDS}",
        f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT_SECONDS}",
    ]


def _opened(target: Target, password: str | None, mode: str, timeout_seconds: int) -> Any:
    import pymysql

    connection, where = target.connection, target.where
    opened = pymysql.Connection(
        host=where.host,
        port=where.port,
        unix_socket=_socket_file(where.host) if where.host.startswith("/") else None,
        user=where.user,
        # As bytes: the driver would make Latin-1 of a str.
        password=(password or "").encode(),
        database=where.database,
        charset="utf8mb4",
        # Whatever the server's or the user's defaults are: each statement is its own until START TRANSACTION.
        autocommit=True,
        connect_timeout=connection.connect_timeout_seconds,
        read_timeout=connection.connect_timeout_seconds,
        write_timeout=CONTROL_TIMEOUT_SECONDS,
        program_name=target.application_name[:_LONGEST_NAME],
        ssl_disabled=True,
        defer_connect=True,
    )
    context = tls.context_for(mode, connection.sslrootcert)
    if context is not None and not where.host.startswith("/"):
        opened.ssl = True
        opened.ctx = context
        # Else a server without TLS would be spoken to in the clear.
        opened._ssl_required = mode != "prefer"
        if opened._ssl_required:
            opened.client_flag |= pymysql.constants.CLIENT.SSL
    opened.connect()
    # Only connecting was to be quick; a lost server is found by keep-alives and by this limit.
    opened._read_timeout = timeout_seconds + 10
    return opened


def _socket_file(path: str) -> str:
    return str(Path(path) / "mysqld.sock") if Path(path).is_dir() else path
