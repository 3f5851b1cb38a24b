"""Windows over a table that others write to: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from etl_runner.config.secrets import SecretValue
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.sources.base import Extract
from tests.integration.mysql.support import Database, Read, connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack


@pytest.fixture
def orders(mariadb: Database) -> Database:
    mariadb.execute(
        "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, updated timestamp(6) NOT NULL,"
        " KEY (updated))"
    )
    return mariadb


def _run(
    database: Database,
    watermark: dict[str, Any] | None,
    *,
    connection: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[Read, Extract]:
    document = {
        "source_table_name": "orders",
        "load_type": "transactional",
        "timestamp_column": "updated",
        **fields,
    }
    source = source_of(database, connection_to(database, **(connection or {})), **document)
    plan, extract = plan_of(source, watermark=watermark, unit_rows=50)
    return read_all(source, plan), extract


def test_concurrent_writers_lose_and_double_nothing(orders: Database) -> None:
    """Transactions stay open for some seconds, and commit rows behind those of others, or roll back."""
    stop = threading.Event()
    committed: list[int] = []
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            connection = orders.connect(autocommit=False)
            while not stop.is_set():
                with connection.cursor() as cursor:
                    ids = []
                    for _ in range(chance.randint(1, 5)):
                        cursor.execute("INSERT INTO orders (updated) VALUES (NOW(6))")
                        ids.append(int(cursor.lastrowid))
                        time.sleep(chance.choice([0, 0, 0.01, 0.3, 1.5]))
                if chance.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()
                    committed.extend(ids)
            connection.close()
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for writer in writers:
        writer.start()
    seen: Counter[int] = Counter()
    watermark: dict[str, Any] | None = None
    held_back = 0
    try:
        for _ in range(12):
            read, extract = _run(orders, watermark)
            seen.update(read.columns["id"])
            watermark = extract.next_watermark
            held_back += any("held back by connection" in note for note in extract.notes)
            time.sleep(0.4)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not failures
    time.sleep(2.1)
    read, _ = _run(orders, watermark)
    seen.update(read.columns["id"])
    assert len(committed) > 30
    assert seen == Counter(committed)
    assert held_back > 0


def test_the_window_ends_below_an_open_write_transaction(orders: Database) -> None:
    orders.execute("INSERT INTO orders (updated) VALUES (NOW(6) - INTERVAL 1 HOUR)")
    writer = orders.connect(autocommit=False)
    writer.query("SET time_zone = '+00:00'")
    writer.query("INSERT INTO orders (updated) VALUES (NOW(6))")
    time.sleep(3)
    orders.execute("INSERT INTO orders (updated) VALUES (NOW(6))")
    time.sleep(2.5)
    first, extract = _run(orders, None)
    assert first.columns["id"] == [1]
    assert any(f"held back by connection {writer.thread_id()}" in note for note in extract.notes)
    writer.commit()
    writer.close()
    second, _ = _run(orders, extract.next_watermark)
    assert sorted(second.columns["id"]) == [2, 3]


def test_reading_transactions_hold_nothing_back(orders: Database) -> None:
    orders.execute("INSERT INTO orders (updated) VALUES (NOW(6) - INTERVAL 3 SECOND)")
    reader = orders.connect(autocommit=False)
    with reader.cursor() as cursor:
        cursor.execute("SELECT * FROM orders")
    read, extract = _run(orders, None)
    reader.close()
    assert read.rows == 1
    assert extract.window.detail["oldest"] is None


@pytest.fixture
def blind(orders: Database) -> Iterator[dict[str, Any]]:
    """A user without PROCESS."""
    orders.execute(
        "CREATE OR REPLACE USER blind@'%' IDENTIFIED BY 'x'",
        f"GRANT SELECT ON `{orders.name}`.* TO blind@'%'",
    )
    yield {"username": "blind", "password": SecretValue("x")}
    orders.execute("DROP USER blind@'%'")


def test_without_process_the_window_stays_settle_seconds_behind(
    orders: Database, blind: dict[str, Any]
) -> None:
    orders.execute(
        "INSERT INTO orders (updated) VALUES (NOW(6) - INTERVAL 50 SECOND), (NOW(6) - INTERVAL 100 SECOND)"
    )
    read, extract = _run(orders, None, connection=blind)
    assert read.columns["id"] == [2]
    assert any("grant it PROCESS" in note and "60 s" in note for note in extract.notes)
    read, _ = _run(orders, extract.next_watermark, connection=blind, settle_seconds=10)
    assert read.columns["id"] == [1]


def test_wall_clocks_are_taken_in_the_servers_zone(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, updated datetime(6) NULL, day date, KEY (updated))"
    )
    ((before,),) = mariadb.text("SELECT @@GLOBAL.time_zone")
    mariadb.execute("SET GLOBAL time_zone = '+05:30'")
    try:
        mariadb.execute(
            "INSERT INTO orders SELECT seq, n - INTERVAL seq MINUTE, NULL"
            " FROM seq_1_to_3 JOIN (SELECT UTC_TIMESTAMP(6) + INTERVAL 330 MINUTE AS n) AS x",
            "INSERT INTO orders VALUES (10, UTC_TIMESTAMP(6) + INTERVAL 340 MINUTE, NULL), (11, NULL, NULL)",
        )
        read, extract = _run(mariadb, None)
    finally:
        mariadb.execute(f"SET GLOBAL time_zone = '{before}'")
    assert sorted(read.columns["id"]) == [1, 2, 3]
    assert any("taken to be written in the server's (+05:30)" in note for note in extract.notes)
    assert any(note == "1 rows whose updated is NULL are not loaded" for note in extract.notes)
    assert any("1 rows whose updated lies in the future" in note for note in extract.notes)


def test_a_day_is_read_when_it_is_over(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, updated date NOT NULL)",
        "INSERT INTO orders VALUES (1, UTC_DATE()), (2, UTC_DATE() - INTERVAL 2 DAY)",
    )
    assert _run(mariadb, None)[0].columns["id"] == [2]


def test_increasing_keys(mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE orders (id bigint unsigned PRIMARY KEY)",
        "INSERT INTO orders SELECT seq FROM seq_1_to_300",
    )
    fields: dict[str, Any] = {"timestamp_column": None, "incrementing_column": "id"}
    first, extract = _run(mariadb, None, late_window="10", **fields)
    assert sorted(first.columns["id"]) == [str(number) for number in sorted(range(1, 291), key=str)]
    mariadb.execute("INSERT INTO orders VALUES (18446744073709551615)")
    second, extract = _run(mariadb, extract.next_watermark, late_window="0", **fields)
    assert {int(number) for number in second.columns["id"]} == {*range(291, 301), 2**64 - 1}
    third, extract = _run(mariadb, extract.next_watermark, **fields)
    assert third.rows == 0
    assert extract.window.low == extract.window.high == str(2**64 - 1)


def test_an_empty_table_leaves_the_watermark_alone(mariadb: Database) -> None:
    mariadb.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    read, extract = _run(mariadb, None, timestamp_column=None, incrementing_column="id")
    assert (read.rows, extract.units, extract.next_watermark) == (0, (), None)


def test_where_a_first_run_begins(orders: Database) -> None:
    orders.execute(
        "INSERT INTO orders (updated) VALUES ('2024-01-01 00:00:00'), ('2024-01-01 00:00:00.000001'),"
        " ('2023-12-31 23:59:59.999999')"
    )
    assert _run(orders, None, historical_start_date="2024-01-01")[0].columns["id"] == [1, 2]
    assert _run(orders, None, last_sync_value="2024-01-01T00:00:00Z")[0].columns["id"] == [2]
    assert _run(orders, {"value": "2024-01-01 00:00:00.000001+00"})[0].rows == 0
    with pytest.raises(ConfigError, match="watermark"):
        _run(orders, {"value": "yesterday"})


def test_a_watermark_of_another_column_is_refused(orders: Database) -> None:
    with pytest.raises(PermanentError, match="etl-runner reset"):
        _run(orders, {"value": "1", "column": "id", "type": "key"})


def test_on_a_replica_the_window_stays_settle_seconds_behind(orders: Database) -> None:
    orders.execute(
        "INSERT INTO orders (updated) VALUES (NOW(6) - INTERVAL 50 SECOND), (NOW(6) - INTERVAL 100 SECOND)",
        "SET GLOBAL read_only = ON",
    )
    try:
        read, extract = _run(orders, None)
    finally:
        orders.execute("SET GLOBAL read_only = OFF")
    assert read.columns["id"] == [2]
    assert any("the server is a replica" in note and "60 s" in note for note in extract.notes)


def test_what_is_not_committed_is_never_read(orders: Database) -> None:
    """Not even where that is the server's default."""
    orders.execute("INSERT INTO orders (updated) VALUES (NOW(6) - INTERVAL 1 HOUR)")
    writer = orders.connect(autocommit=False)
    writer.query("INSERT INTO orders (updated) VALUES ('2024-01-01')")
    orders.execute("SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    try:
        read, _ = _run(orders, None)
        catalog = source_of(orders, source_table_name="orders")
        assert read_all(catalog, plan_of(catalog)[0], snapshot=True).columns["id"] == [1]
    finally:
        orders.execute("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        writer.rollback()
        writer.close()
    assert read.columns["id"] == [1]
