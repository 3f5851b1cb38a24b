"""Connections: one for questions (pg8000, pure Python, parameters bound), others for bulk reading (ADBC).

Everything happens inside short read-only transactions with settings that end with them (``SET LOCAL``), and
nothing is prepared beyond one: a transaction-level pooler between us and the server changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etl_runner.config.connections import PostgresConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.network import Where, unreachable_database
from etl_runner.sources.postgres import tls
from etl_runner.sources.postgres.diagnose import code_and_message, diagnosed, server_error
from etl_runner.sources.quoting import literal

if TYPE_CHECKING:
    import pyarrow as pa

    from etl_runner.sources.postgres.copy_wire import Rows

MIN_SERVER_VERSION = 130_000
"""``pg_current_snapshot()`` and ``xid8`` came with PostgreSQL 13."""
CONTROL_TIMEOUT_SECONDS = 300
"""A question to the catalog or the planner takes no longer; a unit may (statement_timeout_seconds)."""
LOCK_TIMEOUT_SECONDS = 60
BATCH_BYTES = 8 << 20
_KEEPALIVES_IDLE_SECONDS = 60
_MAX_APPLICATION_NAME = 63
"""NAMEDATALEN - 1: the server cuts off the rest."""

_SETTINGS = {
    # One spelling of every value, whatever the server's or the role's defaults are.
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
}


@dataclass(frozen=True)
class Target:
    """Where and as whom to connect; the password is fetched at the moment it is needed and not kept."""

    connection: PostgresConnection
    secrets: SecretResolver
    application_name: str
    replica: bool = False

    @property
    def where(self) -> Where:
        c = self.connection
        if self.replica and c.replica_host:
            return Where(c.replica_host, c.replica_port or c.port, c.database, c.username, "PostgreSQL")
        return Where(c.host, c.port, c.database, c.username, "PostgreSQL")

    @property
    def application(self) -> str:
        return self.application_name.encode()[:_MAX_APPLICATION_NAME].decode("utf-8", "ignore")

    def password(self) -> str | None:
        secret = self.connection.password
        return None if secret is None else self.secrets.reveal(secret)


def begin_statements(timeout_seconds: int, *, isolation: str, snapshot: str | None = None) -> list[str]:
    """The statements that open a read-only transaction with our settings, in order."""
    statements = [f"BEGIN ISOLATION LEVEL {isolation} READ ONLY"]
    if snapshot is not None:
        # Must come before any query.
        statements.append(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
    statements.append(f"SET LOCAL statement_timeout = {timeout_seconds * 1000}")
    statements += [f"SET LOCAL {name} = {literal(value)}" for name, value in _SETTINGS.items()]
    return statements


class Control:
    """An open control connection. Not safe for use by two threads at once."""

    def __init__(self, connection: Any, where: Where) -> None:
        import pg8000.exceptions

        self._connection = connection
        self._errors: type[Exception] = pg8000.exceptions.Error
        self.where = where

    @contextmanager
    def transaction(
        self,
        *,
        isolation: str = "READ COMMITTED",
        timeout_seconds: int = CONTROL_TIMEOUT_SECONDS,
        snapshot: str | None = None,
    ) -> Iterator[Control]:
        """A read-only transaction; always rolled back, since it has nothing to commit."""
        statements = begin_statements(timeout_seconds, isolation=isolation, snapshot=snapshot)
        with diagnosed(self._errors, self.where, "opening a transaction"):
            # One message to the server: several statements without parameters may share it.
            self._connection.run("; ".join(statements))
        try:
            yield self
        finally:
            self._rollback()

    def _rollback(self) -> None:
        try:
            self._connection.run("ROLLBACK")
        except (self._errors, OSError):
            # The connection is gone, and the transaction with it; whoever was using it has the error.
            self.close()

    def rows(self, sql: str, doing: str, **parameters: Any) -> list[list[Any]]:
        """All rows of a short query; ``:name`` in ``sql`` is a bound parameter.

        Raises:
            RetryableError, PermanentError: see :mod:`~etl_runner.sources.postgres.diagnose`.
        """
        with diagnosed(self._errors, self.where, doing):
            rows: list[list[Any]] | None = self._connection.run(sql, **parameters)
        return rows or []

    def one(self, sql: str, doing: str, **parameters: Any) -> list[Any]:
        """The only row."""
        (row,) = self.rows(sql, doing, **parameters)
        return row

    def value(self, sql: str, doing: str, **parameters: Any) -> Any:
        """The only value."""
        (value,) = self.one(sql, doing, **parameters)
        return value

    def described(self, sql: str, doing: str) -> list[tuple[str, int, int]]:
        """``(name, type oid, type modifier)`` of a query's columns; the query has to be free of effects."""
        with diagnosed(self._errors, self.where, doing):
            self._connection.run(sql)
        # Oids are unsigned; the driver reads them as signed.
        return [
            (column["name"], column["type_oid"] & 0xFFFFFFFF, column["type_modifier"])
            for column in self._connection.columns
        ]

    def copied(self, sql: str, columns: int, doing: str) -> Generator[Rows, None, None]:
        """The rows of a binary COPY of so many columns; given up early, the connection is closed.

        Raises:
            RetryableError, PermanentError: see :mod:`~etl_runner.sources.postgres.diagnose`.
            Garbled: the answer is no such copy.
        """
        from etl_runner.sources.postgres.copy_wire import copy_rows

        complete = False
        try:
            with diagnosed(self._errors, self.where, doing):
                status = self._connection.parameter_statuses
                if status.get("server_encoding") not in ("UTF8", "SQL_ASCII"):
                    self._connection.run("SET LOCAL client_encoding = 'UTF8'")
                yield from copy_rows(self._connection, sql, columns)
            complete = True
        finally:
            if not complete:
                # The rest of the rows is still on its way; nothing else can be asked on this connection.
                self.close()

    def close(self) -> None:
        """Close the connection; closing it twice, or a broken one, is no error."""
        try:
            self._connection.close()
        except (self._errors, OSError):
            return


@contextmanager
def open_control(target: Target) -> Iterator[Control]:
    """A control connection, closed at the end.

    Raises:
        RetryableError, PermanentError: it cannot be opened; one sentence says why.
    """
    control = connect(target)
    try:
        yield control
    finally:
        control.close()


def connect(target: Target, patience_seconds: float | None = CONTROL_TIMEOUT_SECONDS + 10) -> Control:
    """Open a control connection; see :func:`open_control`. ``patience_seconds`` is how long the server may
    be silent; None: as long as the network's keep-alives are answered."""
    import pg8000.exceptions
    import pg8000.native

    where, mode = target.where, target.connection.sslmode
    password = target.password()

    def attempt(encrypted: bool) -> Any:
        sock = _socket(target, encrypted)
        try:
            opened = pg8000.native.Connection(
                where.user,
                host=where.host,
                database=where.database,
                # Without one the driver breaks when the server asks; an empty one is refused by name.
                password=password or "",
                application_name=target.application,
                sock=sock,
                ssl_context=False,
            )
        except BaseException:
            sock.close()
            raise
        # Only connecting was to be quick; a lost server is found by keep-alives and by this limit.
        sock.settimeout(patience_seconds)
        return opened

    try:
        if mode == "allow":
            try:
                connection = attempt(encrypted=False)
            except pg8000.exceptions.DatabaseError as error:
                if code_and_message(error)[0] != "28000":
                    raise
                connection = attempt(encrypted=True)
        else:
            connection = attempt(encrypted=mode != "disable")
    except pg8000.exceptions.DatabaseError as error:
        code, message = code_and_message(error)
        if code == "28P01" and password is None:
            raise PermanentError(f"{where}: the server asks for a password, and none is configured") from None
        raise server_error(code, message, where, "connecting") from None
    except pg8000.exceptions.InterfaceError as error:
        if isinstance(error.__cause__, OSError):
            raise unreachable_database(
                error.__cause__, where, target.connection.connect_timeout_seconds
            ) from None
        raise RetryableError(f"{where}: the connection ended while it was opened") from None
    except OSError as error:
        raise unreachable_database(error, where, target.connection.connect_timeout_seconds) from None
    control = Control(connection, where)
    version = connection.parameter_statuses.get("server_version", "0")
    if _version_number(version) < MIN_SERVER_VERSION:
        control.close()
        raise PermanentError(f"{where}: PostgreSQL {version} is too old; version 13 or later is needed")
    return control


def _version_number(version: str | bytes) -> int:
    text = version.decode() if isinstance(version, bytes) else version
    major = text.split(".")[0].split(" ")[0]
    digits = "".join(character for character in major if character.isdigit())
    return int(digits or 0) * 10_000


def _socket(target: Target, encrypted: bool) -> socket.socket:
    where, timeout = target.where, target.connection.connect_timeout_seconds
    if where.host.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(f"{where.host}/.s.PGSQL.{where.port}")
        except OSError:
            sock.close()
            raise
        return sock
    mode = target.connection.sslmode
    context = None
    if encrypted:
        context = tls.context_for("prefer" if mode == "allow" else mode, target.connection.sslrootcert)
    sock = socket.create_connection((where.host, where.port), timeout)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVES_IDLE_SECONDS)
        return sock if context is None else tls.wrap(sock, context, mode, where.host)
    except BaseException:
        sock.close()
        raise


def conninfo(target: Target, password: str | None) -> str:
    """libpq's connection string, password included.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
    """
    where, connection = target.where, target.connection
    parts: dict[str, str | None] = {
        "host": where.host,
        "port": str(where.port),
        "dbname": where.database,
        "user": where.user,
        "password": password,
        "application_name": target.application,
        "connect_timeout": str(max(2, connection.connect_timeout_seconds)),
        "sslmode": connection.sslmode,
        "sslrootcert": tls.root_certificates(connection.sslmode, connection.sslrootcert),
        "gssencmode": "disable",
        "keepalives_idle": str(_KEEPALIVES_IDLE_SECONDS),
    }

    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    return " ".join(f"{name}={quoted(value)}" for name, value in parts.items() if value is not None)


class Bulk:
    """An open connection for reading units as Arrow. Not safe for use by two threads at once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = self._connect()

    def _opened(self) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Any:
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi

        try:
            # autocommit: the driver then opens no transaction of its own, and ours are all there is.
            return adbc_driver_postgresql.dbapi.connect(
                conninfo(self._target, self._target.password()), autocommit=True
            )
        except adbc_driver_manager.Error:
            failed = True
        if failed:
            # libpq's text is not parsed: the control connection finds the same fault and knows its meaning.
            connect(self._target).close()
        raise RetryableError(f"{self._target.where}: the connection for bulk reading could not be opened")

    def stream(
        self, sql: str, *, isolation: str, snapshot: str | None, timeout_seconds: int, doing: str
    ) -> Iterator[pa.RecordBatch]:
        """The query's rows in batches of about 8 MiB, in one transaction of its own.

        Raises:
            RetryableError, PermanentError: see :mod:`~etl_runner.sources.postgres.diagnose`.
        """
        import adbc_driver_manager
        from adbc_driver_manager._reader import AdbcRecordBatchReader

        where = self._target.where
        with diagnosed(adbc_driver_manager.Error, where, doing), self._opened().cursor() as cursor:
            statements = begin_statements(timeout_seconds, isolation=isolation, snapshot=snapshot)
            try:
                for statement in statements:
                    cursor.execute(statement)
                cursor.adbc_statement.set_options(
                    **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
                )
                cursor.execute(sql)
                # This reader, unlike fetch_record_batch()'s, tells the server's errors with their SQLSTATE.
                handle = cursor.fetch_arrow()
                reader = AdbcRecordBatchReader._import_from_c(handle.address)
                try:
                    yield from reader
                finally:
                    reader.close()
            finally:
                self._rollback(cursor)

    def _rollback(self, cursor: Any) -> None:
        import adbc_driver_manager

        try:
            cursor.execute("ROLLBACK")
        except adbc_driver_manager.Error:
            # A broken connection, or a stream that was left half-read: the next unit begins on a new one.
            self.close()

    def close(self) -> None:
        """Close the connection; a broken one too."""
        import adbc_driver_manager

        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except adbc_driver_manager.Error:
            return
