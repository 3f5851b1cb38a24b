"""MySQL to BigQuery through the workflow: functions, plan, job, shards, commit."""

from __future__ import annotations

import base64
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from etl_runner.jsontypes import JsonObject
from local.stack import Stack
from tests.conftest import fresh_name
from tests.integration.mysql.support import Database

pytestmark = pytest.mark.stack

_ORDERS = """
CREATE TABLE orders (
    id bigint unsigned NOT NULL PRIMARY KEY,
    amount decimal(65,30),
    ratio float,
    flag tinyint(1),
    name varchar(60) CHARACTER SET latin1,
    note longtext,
    payload varbinary(40),
    ordered date,
    wall datetime(6),
    updated timestamp(6) NOT NULL,
    at time(3),
    y year,
    KEY (updated)
)
"""
_INSERT = """
INSERT INTO orders SELECT 18446744073709551615 - seq, seq / 7, seq / 3e0, seq % 3,
    CONCAT('é ', seq),
    IF(seq % 5, CONCAT('line\\n', CHAR(0 USING utf8mb4), '😀', seq), IF(seq % 2, '', NULL)),
    UNHEX(MD5(seq)), '2024-01-01' + INTERVAL seq DAY, '2024-01-01' + INTERVAL seq MICROSECOND,
    NOW(6) - INTERVAL {age} SECOND, SEC_TO_TIME(seq), 2000 + seq % 100
FROM seq_{first}_to_{last}
"""


def _put(stack: Stack, database: Database, password: Path, **fields: Any) -> str:
    name = fresh_name("orders")
    password.write_text(database.server.password)
    stack.put_connection(
        name,
        {
            "source_type": "mysql",
            "host": database.server.host,
            "port": database.server.port,
            "database": database.name,
            "username": database.server.user,
            "password": {"file": str(password)},
        },
    )
    stack.put_source(
        name,
        {
            "source_type": "mysql",
            "connection": name,
            "source_table_name": "orders",
            "dest_table_name": name,
            **fields,
        },
    )
    return name


def _run(stack: Stack, name: str) -> JsonObject:
    ended = stack.run(name, 120.0)
    assert ended.state == "SUCCEEDED", ended
    receipt: JsonObject = ended.result
    assert receipt["outcome"] == "ok", receipt
    return receipt


def _loaded(stack: Stack, name: str) -> list[tuple[Any, ...]]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    settings = stack.settings
    client = Client(
        project=settings.project,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": stack.bigquery.process.url},
    )
    try:
        rows = client.query_and_wait(
            f"SELECT * FROM `{settings.project}.{settings.dataset}.{name}` ORDER BY id"
        )
        return [tuple(row.values()) for row in rows]
    finally:
        client.close()  # type: ignore[no-untyped-call]


def _check_equal(stack: Stack, database: Database, name: str) -> None:
    """Each value is what the server prints for it."""
    columns = "id, amount, ratio * 1e0, flag, name, note, HEX(payload), ordered, wall, updated, at, y"
    wanted = database.text(f"SELECT {columns} FROM orders ORDER BY id")
    loaded = _loaded(stack, name)
    assert len(loaded) == len(wanted)
    for row, texts in zip(loaded, wanted, strict=True):
        numbers = [*row[:4], row[11]]
        assert [Decimal(str(value)) for value in numbers] == [
            Decimal(text or "") for text in (*texts[:4], texts[11])
        ]
        payload = row[6] if isinstance(row[6], bytes) else base64.b64decode(row[6])
        assert (*row[4:6], payload.hex().upper(), row[7].isoformat()) == texts[4:8]
        for value, text in zip(row[8:11], texts[8:11], strict=True):
            spelled = value.isoformat(timespec="microseconds").replace("T", " ").removesuffix("+00:00")
            assert spelled == (text or "").ljust(len(spelled), "0")


def test_a_transactional_load(stack: Stack, mariadb: Database, tmp_path: Path) -> None:
    mariadb.execute(_ORDERS, _INSERT.format(first=1, last=2_000, age=60), "ANALYZE TABLE orders")
    name = _put(
        stack,
        mariadb,
        tmp_path / "password",
        load_type="transactional",
        timestamp_column="updated",
        unit_rows=500,
    )
    assert _run(stack, name)["rows_loaded"] == 2_000
    _check_equal(stack, mariadb, name)
    mariadb.execute(_INSERT.format(first=2_001, last=2_100, age=0))
    # The window ends two seconds before the clock.
    time.sleep(2.1)
    assert _run(stack, name)["rows_loaded"] == 100
    assert _run(stack, name)["rows_loaded"] == 0
    _check_equal(stack, mariadb, name)


def test_a_catalog_load(stack: Stack, mariadb: Database, tmp_path: Path) -> None:
    mariadb.execute(_ORDERS, _INSERT.format(first=1, last=1_000, age=60), "ANALYZE TABLE orders")
    name = _put(stack, mariadb, tmp_path / "password", load_type="catalog", unit_rows=300)
    assert _run(stack, name)["rows_loaded"] == 1_000
    mariadb.execute("DELETE FROM orders WHERE id % 2 = 0", "UPDATE orders SET note = 'changed' LIMIT 7")
    assert _run(stack, name)["rows_loaded"] == 500
    _check_equal(stack, mariadb, name)
