"""A table of any size in constant memory, from the server's bytes to the uploaded shards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from local.layout import REPOSITORY
from tests.conftest import Database

TASK = """
import os, sys
from pathlib import Path
import pyarrow as pa
from etl_runner.execution.task import run_task
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectInfo
from local.postgres import PostgresServer
from tests.conftest import Database
from tests.integration.postgres.support import plan_of, source_of
from tests.peak import peak_kilobytes

pa.set_memory_pool(pa.system_memory_pool())  # as the image has it
database = Database(PostgresServer.at(os.environ["SERVER"]), sys.argv[1])

class Sink(MemoryObjectStore):
    def create_from_file(self, name, path, content_type):
        return ObjectInfo(name, Path(path).stat().st_size, 1)

source = source_of(database, source_table_name=sys.argv[2])
plan, _ = plan_of(source)
store = Sink()
store.create("plan.jsonl", plan.to_jsonl())
summary = run_task(store, "plan.jsonl", 0, 1, lambda _: source, slots=2)
print(summary.rows, peak_kilobytes() // 1024)
"""


def peak_of(database: Database, table: str) -> tuple[int, int]:
    """Rows, and the peak in MB, of a task that loads the table with two readers."""
    server = database.server
    url = f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/postgres"
    done = subprocess.run(
        [sys.executable, "-c", TASK, database.database, table],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}/src:{REPOSITORY}", "SERVER": url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows, peak = done.stdout.split()
    return int(rows), int(peak)


@pytest.mark.slow
def test_a_table_four_times_as_large_needs_no_more_memory(postgres: Database) -> None:
    """170 MB more of values, 80 MB more of shards: a task that kept either would show it."""
    for table, rows in (("small", 250_000), ("large", 1_000_000)):
        postgres.execute(
            f"CREATE TABLE {table} AS SELECT i AS id, now() AS at, md5(i::text) || md5((-i)::text) || "
            f"md5((i / 7.0)::text) || sha512(i::text::bytea) AS text FROM generate_series(1, {rows}) AS i"
        )
        postgres.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        postgres.execute(f"ANALYZE {table}")
    small, small_peak = peak_of(postgres, "small")
    large, large_peak = peak_of(postgres, "large")
    assert (small, large) == (250_000, 1_000_000)
    assert large_peak < small_peak + 40, (small_peak, large_peak)
