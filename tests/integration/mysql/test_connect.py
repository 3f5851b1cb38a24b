"""One sentence for each way in which reading can go wrong, without the password in it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from etl_runner.config.secrets import EnvFileResolver, SecretValue
from etl_runner.errors import ConfigError, PermanentError, RetryableError
from etl_runner.sources.mysql.check import check
from tests.integration.mysql.support import Database, connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack


def _refusal(database: Database, kind: type[Exception], connection: dict[str, Any], **fields: Any) -> str:
    source = source_of(
        database, connection_to(database, **connection), **({"source_table_name": "orders"} | fields)
    )
    with pytest.raises(kind) as caught:
        source.describe()
    assert database.server.password not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def orders(mariadb: Database) -> Database:
    mariadb.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer varchar(20), updated timestamp NULL)",
        "INSERT INTO orders VALUES (1, 'a', NULL)",
    )
    return mariadb


@pytest.fixture
def reader(orders: Database) -> Iterator[dict[str, Any]]:
    """A user without any privilege, as fields of a connection."""
    orders.execute("CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'sésame 🔑'")
    yield {"username": "reader", "password": SecretValue("sésame 🔑")}
    orders.execute("DROP USER reader@'%'")


def test_the_host_has_no_address(orders: Database) -> None:
    text = _refusal(orders, PermanentError, {"host": "no-such-host.invalid"})
    assert "host name 'no-such-host.invalid' cannot be resolved" in text


def test_nobody_listens(orders: Database) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    assert "the connection was refused" in _refusal(orders, RetryableError, {"port": port})


def test_nobody_answers(orders: Database) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        fields = {"port": silent.getsockname()[1], "connect_timeout_seconds": 1}
        assert "no answer within 1 s" in _refusal(orders, RetryableError, fields)


def test_tls_is_demanded_and_not_offered(orders: Database) -> None:
    assert "offers no TLS" in _refusal(orders, PermanentError, {"sslmode": "require"})


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_modes_that_do_without_tls(orders: Database, mode: str) -> None:
    source = source_of(orders, connection_to(orders, sslmode=mode), source_table_name="orders")
    assert [column.name for column in source.describe().columns] == ["id", "customer", "updated"]


def test_the_password_is_wrong(orders: Database) -> None:
    text = _refusal(orders, PermanentError, {"password": SecretValue("wrong")})
    assert "user 'etl' or the password was not accepted" in text


def test_no_password_is_configured(orders: Database) -> None:
    assert "none is configured" in _refusal(orders, PermanentError, {"password": None})


def test_the_database_does_not_exist(orders: Database) -> None:
    assert "there is no database 'nowhere'" in _refusal(orders, PermanentError, {"database": "nowhere"})


def test_the_database_is_not_granted(orders: Database, reader: dict[str, Any]) -> None:
    assert "user 'reader' may not use the database" in _refusal(orders, PermanentError, reader)


def test_the_table_is_not_granted(orders: Database, reader: dict[str, Any]) -> None:
    orders.execute("CREATE TABLE other (id int)", f"GRANT SELECT ON `{orders.name}`.other TO reader@'%'")
    text = _refusal(orders, ConfigError, reader)
    assert "is no table or view" in text
    assert "other" in text


def test_a_granted_table_is_read_with_a_password_that_is_not_ascii(
    orders: Database, reader: dict[str, Any]
) -> None:
    orders.execute(f"GRANT SELECT ON `{orders.name}`.orders TO reader@'%'")
    source = source_of(orders, connection_to(orders, **reader), source_table_name="orders")
    assert read_all(source, plan_of(source)[0]).columns["customer"] == ["a"]


def test_the_table_does_not_exist(orders: Database) -> None:
    text = _refusal(orders, ConfigError, {}, source_table_name="order")
    assert "is no table or view" in text
    assert "orders" in text


def test_the_columns_do_not_exist(orders: Database) -> None:
    text = _refusal(
        orders,
        ConfigError,
        {},
        selected_columns=["id", "custmer"],
        load_type="transactional",
        timestamp_column="update",
    )
    assert "custmer" in text
    assert "customer" in text
    assert "updated" in text


def test_a_column_that_is_no_cursor(orders: Database) -> None:
    text = _refusal(orders, ConfigError, {}, load_type="transactional", timestamp_column="customer")
    assert "which is no cursor" in text
    assert "updated" in text


def test_queries_that_cannot_work(orders: Database) -> None:
    fields: dict[str, Any] = {"source_table_name": None}
    text = _refusal(orders, PermanentError, {}, query="SELEC 'secret' FROM orders", **fields)
    assert "syntax" in text
    assert "secret" not in text
    assert "Unknown column" in _refusal(orders, PermanentError, {}, query="SELECT idd FROM orders", **fields)
    twice = _refusal(orders, ConfigError, {}, query="SELECT id, id FROM orders", **fields)
    assert "two columns of one name" in twice


def test_a_query_may_not_write(orders: Database) -> None:
    orders.execute(
        "CREATE OR REPLACE FUNCTION spoil() RETURNS int MODIFIES SQL DATA"
        " BEGIN DELETE FROM orders; RETURN 1; END"
    )
    source = source_of(orders, query="SELECT spoil() AS x FROM orders")
    with pytest.raises(PermanentError, match="the query writes"):
        plan_of(source)
    assert orders.text("SELECT COUNT(*) FROM orders") == [("1",)]
    orders.execute("DROP FUNCTION spoil")


def test_a_unit_that_takes_too_long_is_ended_by_the_server(orders: Database) -> None:
    connection = connection_to(orders, statement_timeout_seconds=1)
    source = source_of(orders, connection, query="SELECT id, SLEEP(20) AS s FROM orders")
    plan, _ = plan_of(source)
    with pytest.raises(RetryableError, match="statement_timeout_seconds"):
        read_all(source, plan)


def test_a_connection_that_is_killed_can_be_tried_again(orders: Database) -> None:
    orders.execute("INSERT INTO orders SELECT seq, REPEAT('x', 20), NULL FROM seq_2_to_500000")
    source = source_of(orders, source_table_name="orders")
    plan, _ = plan_of(source, unit_rows=10_000_000)
    with source.session(plan.header, snapshot=False) as session, session.reader() as reader:
        batches = reader.read(plan.units[0])
        next(batches)
        found = orders.text(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query' AND ID <> CONNECTION_ID()"
        )
        assert len(found) == 1
        orders.execute(f"KILL {found[0][0]}")
        with pytest.raises(RetryableError):
            for _ in batches:
                pass


def test_a_replica_is_refused_by_name(orders: Database) -> None:
    assert "replica_host" in _refusal(orders, ConfigError, {"replica_host": "replica"})


def test_the_connection_test_names_the_server(orders: Database) -> None:
    text = check(connection_to(orders), EnvFileResolver({}), "orders")
    assert "MariaDB" in text
    assert "answers user etl" in text
    assert "who can read" in text
    with pytest.raises(ConfigError, match="orderz"):
        check(connection_to(orders), EnvFileResolver({}), "orderz")
