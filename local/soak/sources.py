"""What the soak loads, who writes it meanwhile, and what both sides hold in the end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from etl_runner.jsontypes import JsonObject
from local.stack import Stack

DATABASE = "soak"
TABLES = """
CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE products (id int PRIMARY KEY, price numeric(10,2) NOT NULL);
INSERT INTO products SELECT n, n FROM generate_series(1, 50) n;
CREATE INDEX ON orders (updated_at);
CREATE INDEX ON customers (updated_at);
"""
SOURCES: dict[str, JsonObject] = {
    "soak-orders": {
        "load_type": "transactional",
        "source_table_name": "orders",
        "timestamp_column": "updated_at",
        "dest_table_name": "soak_orders",
        "late_window": "1m",
        "unit_rows": 50,
    },
    "soak-customers": {
        "load_type": "upsert",
        "source_table_name": "customers",
        "timestamp_column": "updated_at",
        "primary_key_column": ["id"],
        "dest_table_name": "soak_customers",
        "late_window": "1m",
    },
    "soak-products": {
        "load_type": "catalog",
        "source_table_name": "products",
        "dest_table_name": "soak_products",
    },
}
FILES = "soak-files"
Rows = Counter[tuple[Any, ...]]


def prepare(stack: Stack) -> None:
    """The database, the connections and the documents."""
    stack.postgres.create_database(DATABASE)
    connection = stack.postgres.connect(DATABASE)
    connection.run(TABLES)
    connection.close()
    password = stack.data / "password"
    password.touch(mode=0o600)
    password.write_text(stack.postgres.password)
    stack.put_connection(
        "soak",
        {
            "source_type": "postgresql",
            "host": stack.postgres.host,
            "port": stack.postgres.port,
            "database": DATABASE,
            "username": stack.postgres.user,
            "password": {"file": str(password)},
        },
    )
    for source_id, fields in SOURCES.items():
        stack.put_source(source_id, {"source_type": "postgresql", "connection": "soak", **fields})
    stack.put_source(
        FILES,
        {
            "source_type": "gcs",
            "connection_params": {
                "source_type": "gcs",
                "bucket": stack.layout.names.landing_bucket,
                "prefix": "soak/",
                "use_runner_account": True,
            },
            "load_type": "transactional",
            "dest_table_name": "soak_files",
            "file_pattern": "*.csv",
            "file_format": "csv",
        },
    )


@dataclass
class Writers:
    """Threads that write to the sources until they are stopped."""

    stack: Stack
    stop: threading.Event = field(default_factory=threading.Event)
    files: Rows = field(default_factory=Counter)
    written: int = 0
    errors: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start writing: late commits, updates, catalog changes, files."""
        for body in (self._orders, self._orders, self._customers, self._products, self._drop_files):
            thread = threading.Thread(target=self._until_stopped, args=(body,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Stop writing and wait for the last commits."""
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
        if self.errors:
            raise self.errors[0]

    def _until_stopped(self, body: Callable[[Any], None]) -> None:
        connection = self.stack.postgres.connect(DATABASE)
        try:
            while not self.stop.is_set():
                body(connection)
        except BaseException as error:  # noqa: BLE001 - reported by whoever ends the writers
            self.errors.append(error)
        finally:
            connection.close()

    def _orders(self, connection: Any) -> None:
        """Rows whose cursor is the transaction's begin, committed up to two seconds after it."""
        connection.run("BEGIN")
        for _ in range(random.randint(1, 20)):
            connection.run("INSERT INTO orders (note) VALUES (:note)", note=f"{random.random()}")
        self.stop.wait(random.choice([0, 0.05, 0.3, 2.0]))
        connection.run("COMMIT")
        self.written += 1

    def _customers(self, connection: Any) -> None:
        connection.run(
            "INSERT INTO customers SELECT n, md5(random()::text), clock_timestamp() FROM "
            "generate_series(1, 40) n "
            "WHERE random() < 0.3 ON CONFLICT (id) DO UPDATE SET name = excluded.name, updated_at = "
            "clock_timestamp()"
        )
        self.stop.wait(0.3)

    def _products(self, connection: Any) -> None:
        connection.run("UPDATE products SET price = price + 1 WHERE random() < 0.2")
        self.stop.wait(1.0)

    def _drop_files(self, connection: Any) -> None:
        del connection
        number = sum(self.files.values())
        rows = [(number + n, f"f{number + n}") for n in range(random.randint(1, 5))]
        data = "id,name\n" + "".join(f"{row[0]},{row[1]}\n" for row in rows)
        self.stack.put_file(f"soak/{time.time_ns()}.csv", data.encode())
        self.files.update(rows)
        self.stop.wait(0.5)


def in_source(stack: Stack, writers: Writers) -> dict[str, Rows]:
    """What each source holds, as the server's own text."""
    connection = stack.postgres.connect(DATABASE)
    try:
        queries = {
            "soak-orders": "SELECT id::text, note FROM orders",
            "soak-customers": "SELECT id::text, name FROM customers",
            "soak-products": "SELECT id::text, price::text FROM products",
        }
        found = {
            name: Counter(tuple(row) for row in connection.run(query)) for name, query in queries.items()
        }
    finally:
        connection.close()
    found[FILES] = Counter((str(row[0]), row[1]) for row in writers.files.elements())
    return found


def in_destination(client: Any, dataset: str) -> dict[str, Rows]:
    """What each destination holds."""
    queries = {
        "soak-orders": "SELECT CAST(id AS STRING), note FROM {0}.soak_orders",
        "soak-customers": "SELECT CAST(id AS STRING), name FROM {0}.soak_customers",
        "soak-products": "SELECT CAST(id AS STRING), FORMAT('%.2f', CAST(price AS FLOAT64)) FROM "
        "{0}.soak_products",
        FILES: "SELECT CAST(id AS STRING), name FROM {0}.soak_files",
    }
    return {
        name: Counter(tuple(row.values()) for row in client.query_and_wait(query.format(f"`{dataset}`")))
        for name, query in queries.items()
    }
