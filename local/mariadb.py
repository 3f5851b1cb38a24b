"""A MariaDB server of our own, or a MySQL or MariaDB server that is named.

The server is the distribution's (Debian: ``mariadb-server-core``), run unprivileged over a folder of its own.
It asks every client for a password and does not wait for the disk: a crash of the *machine* may cost data.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

from etl_runner.errors import PermanentError
from local.ports import free_port
from local.processes import Child, ProcessFailedError, as_account

TEST_URL = "ETL_TEST_MYSQL_URL"
"""``mysql://user:password@host:port`` of a server to use instead; its user must be able to do everything."""
_ACCOUNT = "nobody"
"""Whom root starts the server as."""
_USER = "etl"
_OPTIONS = (
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=64M",
    "--max-allowed-packet=64M",
    "--character-set-server=utf8mb4",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--event-scheduler=OFF",
)


@dataclass
class MariaDbServer:
    """A server that accepts connections."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    _child: Child | None = field(default=None, repr=False)
    _home: Path | None = field(default=None, repr=False)

    @classmethod
    def start(cls, log: Path, *options: str, within: Path | None = None) -> MariaDbServer:
        """Start a server over a fresh folder, which :meth:`stop` removes.

        Args:
            log: the server's log.
            options: further ones of its command line.
            within: where its folder is made, ``/var/tmp`` when absent.

        Raises:
            ProcessFailedError: the server did not start; the message has the end of its log.
            PermanentError: MariaDB is not installed.
        """
        program, install = programs()
        account = _ACCOUNT if os.geteuid() == 0 else None
        # A short path that every account may walk to; a socket's path has at most 107 characters.
        home = Path(tempfile.mkdtemp(prefix="etl-runner-mariadb-", dir=within or "/var/tmp"))  # noqa: S108 - mkdtemp
        password = secrets.token_urlsafe(18)
        grant = home / "init.sql"
        grant.touch(mode=0o600)
        grant.write_text(
            f"CREATE OR REPLACE USER '{_USER}'@'%' IDENTIFIED BY '{password}';\n"
            f"GRANT ALL ON *.* TO '{_USER}'@'%' WITH GRANT OPTION;\n"
        )
        if account is not None:
            entry = pwd.getpwnam(account)
            for path in (home, grant):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        try:
            _install(install, home, account)
            port = free_port()
            command: list[str | Path] = [program, *_OPTIONS, f"--datadir={home}/data", f"--port={port}"]
            command += [f"--socket={home}/mysqld.sock", f"--pid-file={home}/pid", f"--init-file={grant}"]
            child = Child.start(
                "MariaDB", [*command, f"--tmpdir={home}", *options], log=log, user=account, cwd=Path("/")
            )
            try:
                child.wait_for_port(port)
            except ProcessFailedError:
                child.kill()
                raise
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return cls("127.0.0.1", port, _USER, password, child, home)

    @classmethod
    def at(cls, url: str) -> MariaDbServer:
        """A server that runs already, by its URL.

        Raises:
            PermanentError: the URL lacks a part.
        """
        parts = urlsplit(url)
        if parts.scheme != "mysql" or not parts.hostname or not parts.username:
            raise PermanentError(f"{TEST_URL} must be mysql://user:password@host:port.")
        return cls(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username),
            password=unquote(parts.password or ""),
        )

    @classmethod
    def from_environment(
        cls, log: Path, *, environ: Mapping[str, str], within: Path | None = None
    ) -> MariaDbServer:
        """The server that ``ETL_TEST_MYSQL_URL`` names, else one of our own."""
        url = environ.get(TEST_URL)
        return cls.at(url) if url else cls.start(log, within=within)

    def connect(self, database: str | None = None, **options: Any) -> Any:
        """A pymysql connection that commits each statement by itself unless told otherwise."""
        fields: dict[str, Any] = {"autocommit": True, "ssl_disabled": True, "charset": "utf8mb4", **options}
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            **fields,
        )

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def drop_database(self, name: str) -> None:
        """Drop a database; one that is gone already is no error."""
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _execute(self, sql: str) -> None:
        connection = self.connect()
        try:
            connection.query(sql)
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop the server if it is our own, and remove its files. Safe to repeat."""
        if self._child is not None:
            self._child.stop(grace=10.0)
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)


def find_programs() -> tuple[Path, Path] | None:
    """The server and the program that fills its data folder, or None."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/usr/libexec"]
    path = os.pathsep.join(places)
    server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    return (Path(server), Path(install)) if server and install else None


def programs() -> tuple[Path, Path]:
    """See :func:`find_programs`.

    Raises:
        PermanentError: MariaDB is not installed.
    """
    found = find_programs()
    if found is None:
        raise PermanentError(
            "MariaDB is not installed: `apt-get install mariadb-server-core`, or name a server in "
            f"{TEST_URL}."
        )
    return found


def _install(program: Path, home: Path, account: str | None) -> None:
    result = subprocess.run(
        [program, "--no-defaults", f"--datadir={home}/data", "--skip-test-db", f"--tmpdir={home}"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **as_account(account),
    )
    if result.returncode != 0:
        raise ProcessFailedError(
            f"mariadb-install-db failed with code {result.returncode}:\n{result.stdout}{result.stderr}"
        )
