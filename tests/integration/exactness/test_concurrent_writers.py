"""Runs go on while others write: each row version reaches the destination exactly once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.exactness.lab import ORDERS, Lab, orders

pytestmark = pytest.mark.stack

LATE_SECONDS = 5
RUNS = 10
Version = tuple[int, int]


@dataclass
class Traffic:
    """What the writers share: ids, the runs so far, and how each row version was committed."""

    lab: Lab
    stop: threading.Event = field(default_factory=threading.Event)
    runs: int = 0
    """Runs that are over; the main thread counts."""
    uncovered: set[Version] = field(default_factory=set)
    """Row versions that were committed later behind their cursor than the late window allows."""
    held: list[int] = field(default_factory=list)
    """Rows of the transaction that stays open over several runs."""
    rounds: Counter[str] = field(default_factory=Counter)
    _next_id: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_id(self) -> int:
        with self._lock:
            self._next_id += 1
            return self._next_id

    def wait(self, seconds: float) -> None:
        self.stop.wait(seconds)


INSERT = "INSERT INTO orders (id, updated_at, note) VALUES (:id, clock_timestamp(), 'single')"


def single_rows(traffic: Traffic, connection: Any) -> None:
    """Each insert commits by itself."""
    connection.run(INSERT, id=traffic.new_id())
    traffic.wait(0.01)


def equal_timestamps(traffic: Traffic, connection: Any) -> None:
    """now() stands still in a transaction that commits late."""
    connection.run("BEGIN")
    for _ in range(7):
        connection.run(
            "INSERT INTO orders (id, updated_at, note) VALUES (:id, now(), 'equal')", id=traffic.new_id()
        )
    traffic.wait(0.3)
    connection.run("COMMIT")


def savepoints(traffic: Traffic, connection: Any) -> None:
    """Released and rolled back savepoints: the rows bear numbers of subtransactions."""
    connection.run("BEGIN")
    connection.run("SAVEPOINT kept")
    connection.run(INSERT, id=traffic.new_id())
    connection.run("RELEASE SAVEPOINT kept")
    connection.run("SAVEPOINT lost")
    connection.run(INSERT, id=traffic.new_id())
    traffic.wait(0.2)
    connection.run("ROLLBACK TO SAVEPOINT lost")
    connection.run(INSERT, id=traffic.new_id())
    traffic.wait(0.2)
    connection.run("COMMIT")


def exception_block(traffic: Traffic, connection: Any) -> None:
    """A plpgsql block with a handler is a subtransaction, whether it fails or not."""
    first, second, third = (traffic.new_id() for _ in range(3))
    connection.run(
        f"""
        DO $block$
        BEGIN
            BEGIN
                INSERT INTO orders (id, updated_at, note) VALUES ({first}, clock_timestamp(), 'block');
            EXCEPTION WHEN others THEN RAISE;
            END;
            PERFORM pg_sleep(0.2);
            BEGIN
                INSERT INTO orders (id, updated_at, note) VALUES ({second}, clock_timestamp(), 'undone');
                PERFORM 1 / 0;
            EXCEPTION WHEN division_by_zero THEN
                INSERT INTO orders (id, updated_at, note) VALUES ({third}, clock_timestamp(), 'handler');
            END;
            PERFORM pg_sleep(0.2);
        END
        $block$
        """
    )


def updates(traffic: Traffic, connection: Any) -> None:
    """Row versions that follow each other, with cursors that lie half a second behind their commit."""
    own = traffic.new_id()
    version = 1
    for statement in (
        "INSERT INTO orders (id, version, updated_at, note)"
        " VALUES (:id, :version, clock_timestamp() - interval '500 milliseconds', 'updated')"
        " RETURNING updated_at",
        "UPDATE orders SET version = :version, updated_at = clock_timestamp() - interval '500 milliseconds'"
        " WHERE id = :id RETURNING updated_at",
    ):
        connection.run("BEGIN")
        ((cursor,),) = connection.run(statement, id=own, version=version)
        connection.run("COMMIT")
        ((now,),) = connection.run("SELECT clock_timestamp()")
        if (now - cursor).total_seconds() >= LATE_SECONDS:
            traffic.uncovered.add((own, version))  # this machine was stopped for seconds
        version += 1
        traffic.wait(0.2)


def long_transaction(traffic: Traffic, connection: Any) -> None:
    """Open while three runs go by, with rows from its beginning, its middle and its end."""
    connection.run("BEGIN")
    ids = [traffic.new_id() for _ in range(3)]
    connection.run("INSERT INTO orders (id, updated_at, note) VALUES (:id, now(), 'held')", id=ids[0])
    for number in ids[1:]:
        begun = traffic.runs
        while traffic.runs < begun + 2 and not traffic.stop.is_set():
            traffic.wait(0.02)
        connection.run(INSERT, id=number)
    connection.run("COMMIT")
    if not traffic.stop.is_set():
        traffic.held += ids


def another_database(traffic: Traffic, connection: Any) -> None:
    """Holds back the server's oldest transaction number without being of this database."""
    connection.run("BEGIN")
    connection.run("INSERT INTO elsewhere DEFAULT VALUES")
    traffic.wait(1.0)
    connection.run("COMMIT")


WRITERS = (single_rows, equal_timestamps, savepoints, exception_block, updates, long_transaction)


@dataclass
class Naive:
    """The control: the plain window ``c > low and c <= max(c)``, as it is often written."""

    low: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    seen: list[int] = field(default_factory=list)

    def run(self, connection: Any) -> None:
        ((high,),) = connection.run("SELECT coalesce(max(updated_at), :low) FROM orders", low=self.low)
        rows = connection.run(
            "SELECT id FROM orders WHERE updated_at > :low AND updated_at <= :high", low=self.low, high=high
        )
        self.low = high
        self.seen += [number for (number,) in rows]


@contextmanager
def _writing(traffic: Traffic, elsewhere: Callable[[], Any]) -> Iterator[list[BaseException]]:
    """All writers at work, each on a connection of its own, until the block ends."""
    errors: list[BaseException] = []

    def work(writer: Callable[[Traffic, Any], None], connection: Any) -> None:
        try:
            while not traffic.stop.is_set():
                writer(traffic, connection)
                traffic.rounds[writer.__name__] += 1
        except BaseException as error:
            errors.append(error)

    with ExitStack() as stack:
        threads = []
        for writer in (*WRITERS, another_database):
            connection = elsewhere() if writer is another_database else traffic.lab.database.connect()
            stack.callback(connection.close)
            threads.append(threading.Thread(target=work, args=(writer, connection), name=writer.__name__))
        for thread in threads:
            thread.start()
        try:
            yield errors
        finally:
            traffic.stop.set()
            for thread in threads:
                thread.join()


def test_no_row_version_is_lost_or_doubled_while_writers_go_on(lab: Lab) -> None:
    server = lab.stack.postgres
    other = f"{lab.database.database}_other"
    server.create_database(other)
    connection = lab.database.connect()
    try:
        setup = server.connect(other)
        setup.run("CREATE TABLE elsewhere (id bigint GENERATED ALWAYS AS IDENTITY)")
        setup.close()
        orders(lab, rows=0, late_window=f"{LATE_SECONDS}s", unit_rows=40)
        traffic, naive = Traffic(lab), Naive()
        with _writing(traffic, lambda: server.connect(other)) as errors:
            while traffic.runs < RUNS or traffic.rounds["long_transaction"] < 2:
                assert not errors, errors
                done = lab.step_by_step(f"run-{traffic.runs}")
                assert done.outcome == "ok", done
                naive.run(connection)
                traffic.runs += 1
                assert traffic.runs < 3 * RUNS, traffic.rounds
        assert not errors, errors
        # Whatever the last window had to leave out is past the late window now, or committed.
        lab.step_by_step("last")
        naive.run(connection)
        again = lab.step_by_step("nothing-is-left")
    finally:
        connection.close()
        server.drop_database(other)

    assert all(traffic.rounds[writer.__name__] for writer in (*WRITERS, another_database)), traffic.rounds
    loaded = Counter(lab.loaded())
    current = set(lab.source_rows())
    doubled = {version: count for version, count in loaded.items() if count > 1}
    assert not doubled
    assert current - loaded.keys() - traffic.uncovered == set()
    assert len(traffic.uncovered) < len(current) / 2
    # What is loaded and not current is an earlier version of a row that was updated since.
    assert {number for number, _ in loaded} <= {number for number, _ in current}
    assert again.receipt is not None
    assert again.receipt["rows_loaded"] == 0
    assert lab.settled().epoch == traffic.runs + 2
    # The control: the same traffic, read naively, loses what the long transaction wrote first.
    assert traffic.held
    lost = {number for number, _ in current} - set(naive.seen)
    assert set(traffic.held[::3]) <= lost


def test_a_row_that_bears_the_begin_of_the_oldest_transaction_is_not_lost(lab: Lab) -> None:
    """The transaction is older than the late window: the window ends strictly before begin + late window."""
    orders(lab, rows=0, late_window="1s")
    connection = lab.database.connect()
    try:
        connection.run("BEGIN")
        ((begin,),) = connection.run(
            "INSERT INTO orders (id, updated_at) VALUES (1, now()) RETURNING updated_at"
        )
        time.sleep(1.3)
        lab.database.execute("INSERT INTO orders (id) VALUES (2)")
        key, header = lab.open_and_plan("while-it-is-open")
        assert header.window.high is not None
        high = datetime.fromisoformat(header.window.high)
        assert 0.9 < (high - begin).total_seconds() < 1.0
        lab.extract(key)
        lab.finalize(key)
        assert lab.loaded() == []
        connection.run("COMMIT")
    finally:
        connection.close()
    lab.step_by_step("after-it")
    assert lab.loaded() == [(1, 1), (2, 1)]


@pytest.mark.parametrize("late_window", ["0", "1h"])
def test_rows_at_the_boundary_go_into_exactly_one_run(lab: Lab, late_window: str) -> None:
    """Rows that are committed after a run, with just the time at which its window ended."""
    orders(lab, rows=3, late_window=late_window)
    # Within lw a later commit at the boundary still counts; without it only what comes after does.
    offset = "0" if late_window == "1h" else "1 microsecond"
    for number in (4, 5):
        lab.step_by_step(f"before-{number}")
        lab.check_equal()
        watermark = lab.settled().watermark
        assert watermark is not None
        lab.database.execute(
            "INSERT INTO orders (id, updated_at) VALUES "
            f"({number}, timestamptz '{watermark['value']}' + interval '{offset}')"
        )
        lab.step_by_step(f"after-{number}")
        lab.check_equal()
    lab.step_by_step("nothing-new")
    lab.check_equal()


def test_an_update_that_keeps_its_cursor_arrives_as_a_new_version(lab: Lab) -> None:
    orders(lab, rows=3)
    lab.step_by_step("first")
    lab.database.execute("UPDATE orders SET version = 2 WHERE id = 2")
    lab.step_by_step("second")
    assert lab.loaded() == [(1, 1), (2, 1), (2, 2), (3, 1)]
    lab.step_by_step("third")
    assert lab.loaded() == [(1, 1), (2, 1), (2, 2), (3, 1)]


def test_a_changed_late_window_neither_loses_nor_doubles(lab: Lab) -> None:
    """What a run left for later is looked for as far back as that run left it."""
    orders(lab, rows=0, late_window="1h")
    connection = lab.database.connect()
    try:
        connection.run("BEGIN")
        connection.run("INSERT INTO orders (id, updated_at) VALUES (1, clock_timestamp())")
        lab.database.execute("INSERT INTO orders (id) VALUES (2)")
        lab.step_by_step("wide")
        # Not even the second row, whose transaction is the younger one: it is left for later too.
        assert lab.loaded() == []
        connection.run("COMMIT")
    finally:
        connection.close()
    time.sleep(1.1)
    for number, late_window in enumerate(("1s", "2h", "0", "1h")):
        lab.put(source_table_name="orders", timestamp_column="updated_at", late_window=late_window)
        lab.step_by_step(f"now-{number}")
        lab.check_equal()


def test_a_naive_window_loses_a_late_commit(lab: Lab) -> None:
    """The control alone: what the tests above could not detect, they could not prove either."""
    lab.database.execute(ORDERS)
    naive = Naive()
    late, reader = lab.database.connect(), lab.database.connect()
    try:
        late.run("BEGIN")
        late.run("INSERT INTO orders (id, updated_at) VALUES (1, clock_timestamp())")
        reader.run("INSERT INTO orders (id, updated_at) VALUES (2, clock_timestamp())")
        naive.run(reader)
        late.run("COMMIT")
        naive.run(reader)
    finally:
        late.close()
        reader.close()
    assert naive.seen == [2]
    assert lab.source_rows("id") == [(1,), (2,)]
