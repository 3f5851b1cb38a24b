"""What the demo does, step by step."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etl_runner.cli.deployment import cloud_deployment
from etl_runner.cli.run import Ended, follow
from etl_runner.cli.runs import runs_table
from etl_runner.cli.watch import watch_on
from etl_runner.errors import PermanentError
from etl_runner.gcp.clients import bigquery_client
from local.demo import data
from local.demo.checksums import Sum, columns_of, destination_sum, source_sum
from local.stack import Stack

CONFIG = Path(__file__).with_name("config")
DATABASE = "airline"
READER = "etl_reader"
PASSWORD_VARIABLE = "AIRLINE_PASSWORD"  # noqa: S105 - the variable's name
_TAMPERING = "UPDATE `{table}` SET distance = distance + 1 WHERE id = 77"


def new_password() -> str:
    """A password for the account that the sources read with."""
    return secrets.token_urlsafe(18)


class Story:
    """The demo on a running topology."""

    def __init__(self, stack: Stack, password: str, console: Console) -> None:
        self._stack = stack
        self._password = password
        self._console = console
        self._deployment = cloud_deployment(stack.settings)
        self._bigquery = bigquery_client(stack.settings)

    def prepare(self) -> None:
        """Fill the database and write the documents to the config bucket."""
        postgres = self._stack.postgres
        postgres.create_database(DATABASE)
        with (
            self._step("PostgreSQL is filled with eleven months of flights"),
            self._connected() as connection,
        ):
            rows = data.load_history(connection)
            connection.run(f"CREATE ROLE {READER} LOGIN PASSWORD '{self._password}'")
            connection.run(f"GRANT pg_read_all_data, pg_read_all_stats TO {READER}")
        self._say("  " + ", ".join(f"{table} {count:,}" for table, count in rows.items()))
        connection_document = _read(CONFIG / "connections" / "airline.yaml")
        self._stack.put_connection(
            "airline", connection_document | {"host": postgres.host, "port": postgres.port}
        )
        for table in data.TABLES:
            self._stack.put_source(table, _read(CONFIG / "sources" / f"{table}.yaml"))

    def play(self) -> None:
        """Two rounds of runs, and life in the database between and during them.

        Raises:
            PermanentError: a run did not end well.
        """
        with data.late_writer(self._connect) as commit_late:
            self._say(
                "A transaction writes flights of December 1 and 2 and stays open during the first round."
            )
            first = self._round("First round")
            late = commit_late()
        boundary = (first["flights"].receipt or {})["window"]["high"]
        with self._step("After the first round"), self._connected() as connection:
            happened = {"flights committed late, with earlier times": late}
            happened |= data.write_december(connection, boundary)
        self._say("\n".join(f"  {count:>7,}  {what}" for what, count in happened.items()))
        self._round("Second round")

    def tamper(self) -> None:
        """Change one value of one row in the destination."""
        table = self._path("flights")
        self._bigquery.query(_TAMPERING.format(table=table)).result()
        self._say(f"Tampered with: one value of one row of {table}.")

    def agree(self) -> bool:
        """Compare count and checksum of every table, show them, say what follows."""
        with self._step("Counts and checksums, each computed by its own database"):
            sums = self._sums()
        self._console.print(_sums_table(sums))
        different = [table for table, (source, destination) in sums.items() if source != destination]
        rows = sum(source.rows for source, _ in sums.values())
        if different:
            self._say(f"Source and destination DIFFER: {', '.join(different)}.", "bold red")
            return False
        self._say(f"Source and destination agree: {len(sums)} tables, {rows:,} rows.", "bold green")
        return True

    def _round(self, title: str) -> Mapping[str, Ended]:
        """Run all sources at the same time through the workflow and wait for their receipts."""
        with self._step(title), watch_on(self._console) as watch:

            def run(source_id: str) -> Ended:
                execution = self._deployment.executions.start(source_id)
                return follow(self._deployment, source_id, execution, watch)

            with ThreadPoolExecutor(len(data.TABLES)) as pool:
                ended = dict(zip(data.TABLES, pool.map(run, data.TABLES), strict=True))
        failed = [
            f"{source_id} {one.outcome}: {one.error or (one.receipt or {}).get('reason')}"
            for source_id, one in ended.items()
            if one.outcome != "ok"
        ]
        self._console.print(runs_table([one.receipt for one in ended.values() if one.receipt]))
        if failed:
            raise PermanentError("; ".join(failed))
        return ended

    def _sums(self) -> dict[str, tuple[Sum, Sum]]:
        """Both sides of every table; the two databases work at the same time."""
        with self._connected() as connection, ThreadPoolExecutor(1) as pool:
            columns = {table: columns_of(connection, table) for table in data.TABLES}
            there = {
                table: pool.submit(destination_sum, self._bigquery, self._path(table), columns[table])
                for table in data.TABLES
            }
            here = {table: source_sum(connection, table, columns[table]) for table in data.TABLES}
            return {table: (here[table], there[table].result()) for table in data.TABLES}

    def _path(self, table: str) -> str:
        settings = self._stack.settings
        return f"{settings.project}.{settings.dataset}.{table}"

    def _connect(self) -> Any:
        return self._stack.postgres.connect(DATABASE)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _step(self, what: str, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
        began = clock()
        yield
        self._say(f"{what}: {clock() - began:.1f} s", "bold")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _sums_table(sums: Mapping[str, tuple[Sum, Sum]]) -> Table:
    table = Table("table", box=None, pad_edge=False)
    for name in ("source rows", "destination rows", "source checksum", "destination checksum"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for name, (source, destination) in sums.items():
        equal = source == destination
        verdict = Text("equal", style="green") if equal else Text("DIFFERENT", style="bold red")
        rows = f"{source.rows:,}", f"{destination.rows:,}"
        table.add_row(name, *rows, f"{source.checksum:x}", f"{destination.checksum:x}", verdict)
    return table
