"""``python -m benchmarks.idle``: a run that finds nothing new, on the local topology.

Seconds are from the call that starts the workflow to its end, which comes after the receipt: trigger, plan
and finalize under functions-framework, the workflow, the source asked for its window. Sources take turns; the
first round only warms caches. BigQuery is asked for no job and no query meanwhile, and no task is started.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from local.layout import REPOSITORY
from local.mariadb import MariaDbServer
from local.postgres import remove_data
from local.stack import Stack

TARGET_SECONDS = 2.0
ROWS = 10_000
FILES = 1_000
DATABASE = "idle"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the medians; 1 when a run changed a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args(argv).rounds
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="idle-", dir=folder))
    stack = Stack.start(data, environ=os.environ)
    try:
        sources = prepare(stack)
        for source_id in sources:
            _run(stack, source_id)
        return report(stack, sources, rounds)
    finally:
        stack.stop()
        remove_data(data / "postgres")
        shutil.rmtree(data, ignore_errors=True)


def prepare(stack: Stack) -> dict[str, str]:
    """The sources, by id: what each is."""
    stack.postgres.create_database(DATABASE)
    table = "CREATE TABLE events (id int PRIMARY KEY, at {type} NOT NULL, note varchar(40))"
    connection = stack.postgres.connect(DATABASE)
    connection.run(table.format(type="timestamptz"))
    connection.run(
        "INSERT INTO events SELECT n, now() - interval '2 days' + n * interval '1 second', 'note ' || n "
        f"FROM generate_series(1, {ROWS}) n"
    )
    connection.run("CREATE INDEX ON events (at)")
    connection.close()
    mariadb = stack.keep(MariaDbServer.start(stack.logs / "mariadb.log"))
    mariadb.create_database(DATABASE)
    with mariadb.connect(DATABASE) as other, other.cursor() as cursor:
        cursor.execute(f"{table.format(type='timestamp(6)')[:-1]}, KEY (at))")
        cursor.execute(
            "INSERT INTO events SELECT seq, NOW(6) - INTERVAL 2 DAY + INTERVAL seq SECOND, "
            f"CONCAT('note ', seq) FROM seq_1_to_{ROWS}"
        )
    for name, server in (("postgresql", stack.postgres), ("mysql", mariadb)):
        password = stack.data / f"{name}-password"
        password.touch(mode=0o600)
        password.write_text(server.password)
        stack.put_connection(
            name,
            {
                "source_type": name,
                "host": server.host,
                "port": server.port,
                "database": DATABASE,
                "username": server.user,
                "password": {"file": str(password)},
            },
        )
        stack.put_source(
            name,
            {
                "source_type": name,
                "connection": name,
                "source_table_name": "events",
                "timestamp_column": "at",
                "load_type": "transactional",
                "dest_table_name": name,
            },
        )
    bucket = "idle-files"
    stack.storage.create_buckets([bucket])
    for number in range(FILES):
        stack.put_file(f"{number:05}.csv", b"id,name\n%d,file\n" % number, bucket)
    stack.put_source(
        "files",
        {
            "source_type": "gcs",
            "connection_params": {"source_type": "gcs", "bucket": bucket, "use_runner_account": True},
            "file_pattern": "*.csv",
            "load_type": "transactional",
            "dest_table_name": "files",
        },
    )
    return {
        "postgresql": f"PostgreSQL, a table of {ROWS:,} rows",
        "mysql": "MariaDB, the same table",
        "files": f"Cloud Storage, {FILES:,} files in the ledger",
    }


def report(stack: Stack, sources: dict[str, str], rounds: int) -> int:
    """Measure and print."""
    found: dict[str, list[float]] = {source_id: [] for source_id in sources}
    faults = stack.bigquery.faults
    faults.forget_requests()
    for number in range(rounds + 1):
        for source_id in sources:
            began = time.monotonic()
            _run(stack, source_id)
            if number:
                found[source_id].append(time.monotonic() - began)
    jobs = faults.requests("POST", "/(jobs|queries)")
    for source_id, what in sources.items():
        seconds = found[source_id]
        say(
            f"{what}: median {statistics.median(seconds):.2f} s, best {min(seconds):.2f} s, "
            f"worst {max(seconds):.2f} s of {rounds}"
        )
    runs = len(sources) * (rounds + 1)
    say(f"{len(jobs)} jobs in {runs} runs; target: under {TARGET_SECONDS:g} s, none")
    return 1 if jobs else 0


def _run(stack: Stack, source_id: str) -> None:
    ended = stack.run(source_id, 300)
    result = ended.result if isinstance(ended.result, dict) else {}
    if result.get("outcome") != "ok":
        raise SystemExit(f"{source_id}: {ended}")


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
