"""Who writes to the sources while they are loaded, and what both sides hold in the end."""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from local.object_events import put_blob
from local.soak.sources import BUCKET, DATABASE, FILES, IDS, PREFIX, World, table_of

Rows = Counter[tuple[Any, ...]]
FileRows = list[tuple[int, str]]
_SOURCE_QUERIES = {
    "soak-orders": "SELECT id::text, note FROM orders",
    "soak-customers": "SELECT id::text, name FROM customers",
    "soak-products": "SELECT id::text, price::text FROM products",
}
_DESTINATION_COLUMNS = {
    "soak-customers": "name",
    "soak-products": "FORMAT('%.2f', CAST(price AS FLOAT64))",
    **dict.fromkeys(FILES, "name"),
}


@dataclass
class Writers:
    """Threads that write to the sources until they are stopped."""

    world: World
    stop: threading.Event = field(default_factory=threading.Event)
    files: dict[str, Rows] = field(default_factory=lambda: {name: Counter() for name in FILES})
    """What was written into files, by source."""
    errors: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start writing: late commits, updates, catalog changes, files."""
        postgres, mariadb, bigquery = self._postgres, self._mariadb, self._bigquery
        bodies: list[tuple[Any, Callable[[Any], None]]] = [
            *((postgres, body) for body in (self._orders, self._orders, self._customers, self._products)),
            *((mariadb, self._visits) for _ in range(2)),
            # One writer: a window of keys is exact where keys are committed in their order.
            (bigquery, self._measures),
            *((_nothing, self._files_of(source_id)) for source_id in FILES),
        ]
        for connect, body in bodies:
            thread = threading.Thread(target=self._until_stopped, args=(connect, body), daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Stop writing and wait for the last commits.

        Raises:
            BaseException: what a writer met.
        """
        self.stop.set()
        for thread in self._threads:
            thread.join(120)
        if self.errors:
            raise self.errors[0]

    def _until_stopped(self, connect: Callable[[], Any], body: Callable[[Any], None]) -> None:
        try:
            with connect() as connection:
                while not self.stop.is_set():
                    body(connection)
        except BaseException as error:  # noqa: BLE001 - reported by whoever ends the writers
            self.errors.append(error)

    def _postgres(self) -> Any:
        return closing(self.world.stack.postgres.connect(DATABASE))

    def _mariadb(self) -> Any:
        return self.world.mariadb.connect(DATABASE, autocommit=False)

    def _bigquery(self) -> Any:
        return closing(self.world.bigquery())

    def _orders(self, connection: Any) -> None:
        """Rows whose cursor is the transaction's begin, committed up to two seconds after it."""
        connection.run("BEGIN")
        for _ in range(random.randint(1, 20)):
            connection.run("INSERT INTO orders (note) VALUES (:note)", note=f"{random.random()}")
        self.stop.wait(random.choice([0, 0.05, 0.3, 2.0]))
        connection.run("COMMIT")

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

    def _visits(self, connection: Any) -> None:
        """Rows whose cursor is their statement's begin, committed up to two seconds after it."""
        with connection.cursor() as cursor:
            for _ in range(random.randint(1, 5)):
                cursor.execute("INSERT INTO visits (note) VALUES (%s)", (f"{random.random()}",))
            self.stop.wait(random.choice([0, 0.05, 0.3, 2.0]))
        connection.commit()
        self.stop.wait(0.2)

    def _measures(self, connection: Any) -> None:
        connection.query_and_wait(
            "INSERT INTO soak_source.measures SELECT n + (SELECT COALESCE(MAX(id), 0) FROM "
            f"soak_source.measures), 'm' FROM UNNEST(GENERATE_ARRAY(1, {random.randint(1, 9)})) AS n"
        )
        self.stop.wait(2.0)

    def _files_of(self, source_id: str) -> Callable[[Any], None]:
        written = self.files[source_id]
        encode, put = _ENCODE[source_id], getattr(self, f"_put_{source_id.removeprefix('soak-')}")

        def body(connection: Any) -> None:
            del connection
            number = written.total()
            rows = [(number + n, f"f{number + n}") for n in range(random.randint(1, 5))]
            ending = str(FILES[source_id]["file_pattern"]).removeprefix("*")
            # Before it is written: telling of it may take until after the end.
            written.update((str(row[0]), row[1]) for row in rows)
            put(f"{PREFIX}{time.time_ns()}{ending}", encode(rows))
            self.stop.wait(0.5 if source_id == "soak-gcs" else 2.0)

        return body

    def _put_gcs(self, name: str, data: bytes) -> None:
        self.world.stack.put_file(name, data)

    def _put_s3(self, name: str, data: bytes) -> None:
        self.world.s3.put(BUCKET, name, data)

    def _put_azure(self, name: str, data: bytes) -> None:
        put_blob(self.world.azure, BUCKET, name, data, self.world.deliver)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _csv(rows: FileRows) -> bytes:
    return ("id,name\n" + "".join(f"{row[0]},{row[1]}\n" for row in rows)).encode()


def _jsonl(rows: FileRows) -> bytes:
    return "".join(json.dumps({"id": row[0], "name": row[1]}) + "\n" for row in rows).encode()


def _parquet(rows: FileRows) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [row[0] for row in rows], "name": [row[1] for row in rows]}), buffer)
    return buffer.getvalue()


_ENCODE: dict[str, Callable[[FileRows], bytes]] = {
    "soak-gcs": _csv,
    "soak-s3": _jsonl,
    "soak-azure": _parquet,
}


def in_source(world: World, writers: Writers) -> dict[str, Rows]:
    """What each source holds, as the server's own text; of files, what was written into them."""
    with closing(world.stack.postgres.connect(DATABASE)) as connection:
        found = {
            name: Counter(tuple(row) for row in connection.run(query))
            for name, query in _SOURCE_QUERIES.items()
        }
    with world.mariadb.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CAST(id AS CHAR), note FROM visits")
        found["soak-visits"] = Counter(tuple(row) for row in cursor.fetchall())
    rows = world.bigquery().query_and_wait("SELECT CAST(id AS STRING), note FROM soak_source.measures")
    found["soak-measures"] = Counter(tuple(row.values()) for row in rows)
    return {**found, **writers.files}


def in_destination(client: Any, dataset: str) -> dict[str, Rows]:
    """What each destination holds."""
    found = {}
    for source_id in IDS:
        column = _DESTINATION_COLUMNS.get(source_id, "note")
        sql = f"SELECT CAST(id AS STRING), {column} FROM `{dataset}`.{table_of(source_id)}"
        found[source_id] = Counter(tuple(row.values()) for row in client.query_and_wait(sql))
    return found
