"""What needs a server of the test's own: transaction numbers beyond 32 bits, and a replica that lags."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.postgres import window
from local.postgres import PostgresServer, _programs, home_of, remove_data
from local.processes import as_account
from tests.conftest import Database
from tests.integration.postgres.support import connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack

WRAP = 1 << 32
ACCOUNT = "nobody" if os.geteuid() == 0 else None


@pytest.fixture
def data_dir(server_dir: Path) -> Iterator[Path]:
    folder = server_dir / "primary"
    yield folder
    remove_data(folder)


def tool(name: str, *arguments: str | Path, password: str = "") -> None:
    """Run one of PostgreSQL's programs as the account that owns the data."""
    account: dict[str, Any] = dict(as_account(ACCOUNT))
    account.pop("env", None)
    subprocess.run(
        [_programs() / name, *arguments],
        check=True,
        capture_output=True,
        cwd="/",
        env={**os.environ, "PGPASSWORD": password},
        **account,
    )


def test_rows_keep_their_order_across_the_32_bit_boundary(data_dir: Path) -> None:
    """The same rule, on a server whose counter has been around three times."""
    server = PostgresServer.start(data_dir)
    server.stop()
    tool("pg_resetwal", "-e", "3", home_of(data_dir) / "data")
    server = PostgresServer.start(data_dir)
    try:
        database = Database(server, "postgres")
        database.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, x bigint)")
        slow = database.connect()
        insert = "INSERT INTO t VALUES ({}, clock_timestamp(), pg_current_xact_id()::text::int8)"
        slow.run("BEGIN; " + insert.format(1))
        database.execute(insert.format(2))
        fields: dict[str, Any] = {
            "source_table_name": "t",
            "load_type": "transactional",
            "timestamp_column": "at",
        }
        loaded: list[int] = []
        mark = None
        for number in range(3, 6):
            source = source_of(database, **fields)
            plan, extract = plan_of(source, watermark=mark)
            mark = extract.next_watermark
            loaded += read_all(source, plan).columns["id"]
            assert mark is not None
            assert int(mark["xid_horizon"]) > 3 * WRAP
            database.execute(insert.format(number))
            if number == 4:
                slow.run("COMMIT")
        slow.close()
        for _ in range(2):
            plan, extract = plan_of(source, watermark=mark)
            mark = extract.next_watermark
            loaded += read_all(source, plan).columns["id"]
        assert sorted(loaded) == [1, 2, 3, 4, 5]
        rows = database.query(f"SELECT x, {window.transaction_sql('t')} FROM t")
        assert all(x == computed and x > 3 * WRAP for x, computed in rows)
        # A watermark from before the counter went around once cannot be judged by 32 bits.
        assert mark is not None
        with pytest.raises(PermanentError, match="too many to tell"):
            plan_of(source, watermark={**mark, "xid_horizon": "1000"})
        database.close()
    finally:
        server.stop()


def test_units_are_read_from_a_replica_that_has_caught_up(data_dir: Path) -> None:
    primary = PostgresServer.start(data_dir)
    standby_dir = data_dir.with_name("standby")
    home = home_of(standby_dir)
    standby = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(home_of(data_dir) / "password", home / "password")
        if ACCOUNT is not None:
            os.chown(home, pwd.getpwnam(ACCOUNT).pw_uid, pwd.getpwnam(ACCOUNT).pw_gid)
        arguments = [
            "-D",
            str(home / "data"),
            "-h",
            primary.host,
            "-p",
            str(primary.port),
            "-U",
            primary.user,
        ]
        tool("pg_basebackup", *arguments, "-R", "-c", "fast", "-X", "stream", password=primary.password)
        standby = PostgresServer.start(standby_dir)
        database, replica = Database(primary, "postgres"), Database(standby, "postgres")
        replica.execute("SELECT pg_wal_replay_pause()")
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")
        database.execute("ANALYZE t")
        connection = connection_to(database, replica_host=standby.host, replica_port=standby.port)
        source = source_of(database, connection, source_table_name="t")
        source._sleep = lambda seconds: None
        plan, _ = plan_of(source, unit_rows=10)
        with pytest.raises(RetryableError, match="the replica has replayed transactions up to"):
            read_all(source, plan)

        def resume(seconds: float) -> None:
            replica.execute("SELECT pg_wal_replay_resume(); SELECT pg_sleep(0.2)")

        source._sleep = resume
        assert sorted(read_all(source, plan, snapshot=True).columns["id"]) == list(range(1, 101))
        assert read_all(source, plan).rows == 100
        database.close()
        replica.close()
    finally:
        if standby is not None:
            standby.stop()
        primary.stop()
        remove_data(standby_dir)
