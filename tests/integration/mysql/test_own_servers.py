"""What needs a server of the test's own: TLS, and a process whose memory is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from etl_runner.errors import PermanentError
from local.data_folder import memory_folder
from local.layout import REPOSITORY
from local.mariadb import MariaDbServer
from tests.integration.mysql.support import Database, connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(server_dir: Path) -> Path:
    """A folder with an authority (ca.pem) and a certificate of it for localhost (cert.pem, key.pem)."""
    folder = server_dir / "mariadb-tls"
    folder.mkdir()
    folder.chmod(0o755)
    ca, ca_key = folder / "ca.pem", folder / "ca-key.pem"
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test authority",
             "-addext", "keyUsage=critical,keyCertSign", "-keyout", ca_key, "-out", ca)  # fmt: skip
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
             "-keyout", folder / "key.pem", "-out", folder / "request.pem")  # fmt: skip
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost\n")
    _openssl("x509", "-req", "-days", "2", "-in", folder / "request.pem", "-CA", ca, "-CAkey", ca_key,
             "-set_serial", "1", "-extfile", names, "-out", folder / "cert.pem")  # fmt: skip
    # The server's account has to read it.
    (folder / "key.pem").chmod(0o644)
    return folder


@pytest.fixture(scope="module")
def encrypted(server_dir: Path, authority: Path) -> Iterator[Database]:
    """A server that offers TLS and demands it."""
    server = MariaDbServer.start(
        server_dir / "mariadb-tls.log",
        f"--ssl-cert={authority}/cert.pem",
        f"--ssl-key={authority}/key.pem",
        "--require-secure-transport=ON",
        within=memory_folder(),
    )
    try:
        connection = server.connect(ssl_disabled=False, ssl_verify_cert=False)
        connection.query("CREATE DATABASE secure")
        connection.select_db("secure")
        connection.query("CREATE TABLE t (id int PRIMARY KEY)")
        connection.query("INSERT INTO t SELECT seq FROM seq_1_to_100000")
        connection.close()
        yield Database(server, "secure")
    finally:
        server.stop()


@pytest.mark.parametrize("mode", ["allow", "prefer", "require"])
def test_modes_that_encrypt_without_asking_who_answers(encrypted: Database, mode: str) -> None:
    source = source_of(encrypted, connection_to(encrypted, sslmode=mode), source_table_name="t")
    assert read_all(source, plan_of(source)[0]).rows == 100_000


def test_the_certificate_is_verified(encrypted: Database, authority: Path) -> None:
    fields = {"sslmode": "verify-full", "sslrootcert": str(authority / "ca.pem"), "host": "localhost"}
    source = source_of(encrypted, connection_to(encrypted, **fields), source_table_name="t")
    assert read_all(source, plan_of(source)[0]).rows == 100_000


def test_a_certificate_for_another_host_is_refused(encrypted: Database, authority: Path) -> None:
    fields = {"sslrootcert": str(authority / "ca.pem"), "host": "127.0.0.1"}
    connection = connection_to(encrypted, sslmode="verify-full", **fields)
    with pytest.raises(PermanentError, match="certificate was not accepted"):
        source_of(encrypted, connection, source_table_name="t").describe()
    connection = connection_to(encrypted, sslmode="verify-ca", **fields)
    assert source_of(encrypted, connection, source_table_name="t").describe().columns[0].name == "id"


def test_a_certificate_of_nobody_known_is_refused(encrypted: Database, authority: Path) -> None:
    fields = {"sslmode": "verify-ca", "sslrootcert": str(authority / "cert.pem")}
    with pytest.raises(PermanentError, match="certificate was not accepted"):
        source_of(encrypted, connection_to(encrypted, **fields), source_table_name="t").describe()


def test_a_server_that_demands_tls_says_so(encrypted: Database) -> None:
    connection = connection_to(encrypted, sslmode="disable")
    with pytest.raises(PermanentError, match="demands TLS and sslmode is disable"):
        source_of(encrypted, connection, source_table_name="t").describe()


_MEASURE = """
import sys
from local.mariadb import MariaDbServer
from tests.integration.mysql.support import Database, plan_of, source_of
from tests.peak import peak_kilobytes

url, database, rows = sys.argv[1:]
source = source_of(
    Database(MariaDbServer.at(url), database),
    query=f"SELECT seq AS k, seq / 3e0 AS f, REPEAT('x', 150) AS v, NOW() AS m FROM seq_1_to_{rows}",
)
plan, _ = plan_of(source)
seen = 0
with source.session(plan.header, snapshot=True) as session, session.reader() as reader:
    for rows in reader.read(plan.units[0]):
        seen += rows.batch.num_rows
print(seen, peak_kilobytes())
"""


def test_memory_does_not_grow_with_the_rows(mariadb: Database) -> None:
    """Eight times the rows (150 MB instead of 19 MB) take at most a few megabytes more."""
    server = mariadb.server
    url = f"mysql://{server.user}:{server.password}@{server.host}:{server.port}"
    peaks = []
    for rows in (100_000, 800_000):
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, url, mariadb.name, str(rows)],
            cwd=REPOSITORY,
            env={"PYTHONPATH": f"{REPOSITORY}/src:{REPOSITORY}"},
            capture_output=True,
            text=True,
            check=True,
        )
        seen, kilobytes = map(int, done.stdout.split())
        assert seen == rows
        peaks.append(kilobytes)
    assert peaks[1] < peaks[0] + 24_000, peaks


def test_a_server_leaves_nothing_behind(server_dir: Path) -> None:
    server = MariaDbServer.start(server_dir / "mariadb-short.log", within=memory_folder())
    home = server._home
    assert home is not None
    assert home.exists()
    assert replace(server, _child=None, _home=None).password not in repr(server)
    server.stop()
    server.stop()
    assert not home.exists()
