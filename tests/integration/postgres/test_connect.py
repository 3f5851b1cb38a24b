"""One sentence for each thing that can be wrong, and never the password in it."""

from __future__ import annotations

import socket
import traceback
from typing import Any

import pytest

from etl_runner.config.secrets import EnvFileResolver, SecretValue
from etl_runner.errors import ConfigError, EtlError, PermanentError, RetryableError
from etl_runner.sources.postgres.check import check as check_connection
from etl_runner.sources.postgres.connect import Bulk, open_control
from local.ports import free_port
from tests.conftest import Database
from tests.integration.postgres.support import connection_to, plan_of, read_all, source_of

pytestmark = pytest.mark.stack

PASSWORD = "hunter2 'quoted\\"


@pytest.fixture
def silent_port() -> Any:
    """A port that accepts connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def check(caught: pytest.ExceptionInfo[EtlError], *words: str) -> None:
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def attempt(postgres: Database, /, **fields: Any) -> None:
    connection = connection_to(postgres, **{"password": SecretValue(PASSWORD), **fields})
    check_connection(connection, EnvFileResolver({}))


def test_a_server_that_answers(postgres: Database) -> None:
    said = check_connection(connection_to(postgres), EnvFileResolver({}))
    assert said.endswith(f"answers user {postgres.user}.")


def test_a_table_that_can_be_read_and_others(postgres: Database) -> None:
    postgres.execute("CREATE SCHEMA sales; CREATE TABLE sales.orders (id int)")
    said = check_connection(connection_to(postgres), EnvFileResolver({}), "sales.orders")
    assert said.endswith("who can read sales.orders.")
    with pytest.raises(ConfigError, match=r"sales\.orderz"):
        check_connection(connection_to(postgres), EnvFileResolver({}), "sales.orderz")


def test_unknown_host(postgres: Database) -> None:
    with pytest.raises((PermanentError, RetryableError)) as caught:
        attempt(postgres, host="no-such-host.invalid")
    check(caught, "no-such-host.invalid", "resolved")


def test_nobody_listens(postgres: Database) -> None:
    with pytest.raises(RetryableError) as caught:
        attempt(postgres, port=free_port())
    check(caught, "refused", "port")


def test_no_answer(postgres: Database, silent_port: int) -> None:
    with pytest.raises(RetryableError) as caught:
        attempt(postgres, port=silent_port, connect_timeout_seconds=1)
    check(caught, "no answer within 1 s")


def test_wrong_password(postgres: Database) -> None:
    with pytest.raises(PermanentError) as caught:
        attempt(postgres)
    check(caught, f"user '{postgres.user}' or the password was not accepted")


def test_no_password(postgres: Database) -> None:
    with pytest.raises(PermanentError) as caught:
        attempt(postgres, password=None)
    check(caught, "asks for a password, and none is configured")


def test_unknown_database(postgres: Database) -> None:
    with pytest.raises(PermanentError) as caught:
        attempt(postgres, database="nowhere", password=SecretValue(postgres.password))
    check(caught, "no database 'nowhere'")


def test_the_server_has_no_tls(postgres: Database) -> None:
    with pytest.raises(PermanentError) as caught:
        attempt(postgres, sslmode="require")
    check(caught, "offers no TLS", "sslmode require")


def test_a_certificate_file_that_is_not_there(postgres: Database) -> None:
    with pytest.raises(PermanentError) as caught:
        attempt(postgres, sslmode="verify-ca", sslrootcert="/nowhere/root.crt")
    check(caught, "/nowhere/root.crt")


def test_bulk_connections_say_the_same(postgres: Database) -> None:
    connection = connection_to(postgres, password=SecretValue(PASSWORD))
    with pytest.raises(PermanentError) as caught:
        Bulk(source_of(postgres, connection, source_table_name="t")._target("x"))
    check(caught, "password was not accepted")


def test_a_password_with_quotes_works_for_both_drivers(postgres: Database) -> None:
    postgres.execute("DROP ROLE IF EXISTS odd")
    quoted = PASSWORD.replace("'", "''")
    postgres.execute(f"SET standard_conforming_strings = on; CREATE ROLE odd LOGIN PASSWORD '{quoted}'")
    postgres.execute("GRANT USAGE ON SCHEMA public TO odd; CREATE TABLE t (id int); GRANT SELECT ON t TO odd")
    postgres.execute("INSERT INTO t VALUES (1)")
    connection = connection_to(postgres, username="odd", password=SecretValue(PASSWORD))
    source = source_of(postgres, connection, source_table_name="t")
    plan, _ = plan_of(source)
    assert read_all(source, plan).rows == 1
    postgres.execute("DROP OWNED BY odd; DROP ROLE odd")


def test_sessions_bear_the_names_of_source_and_run_and_cannot_write(postgres: Database) -> None:
    target = source_of(postgres, source_table_name="t")._target("orders/run-1")
    with open_control(target) as control:
        with control.transaction():
            assert (
                control.value("SELECT current_setting('application_name')", "asking")
                == "etl-runner orders/run-1"
            )
            with pytest.raises(PermanentError, match="read-only transaction"):
                control.rows("CREATE TABLE x ()", "writing")
        with control.transaction():
            assert control.value("SELECT current_setting('TimeZone')", "asking") == "UTC"
        # Nothing is left behind for whoever gets the session from a pooler next.
        assert control.value("SELECT current_setting('IntervalStyle')", "asking") == "postgres"


def test_no_permission(postgres: Database) -> None:
    postgres.execute("DROP ROLE IF EXISTS outsider")
    postgres.execute("CREATE ROLE outsider LOGIN PASSWORD 'pw'; CREATE TABLE t (id int)")
    connection = connection_to(postgres, username="outsider", password=SecretValue("pw"))
    with pytest.raises((PermanentError, ConfigError), match=r"public\.t") as caught:
        source_of(postgres, connection, schema_name="public", source_table_name="t").describe()
    check(caught, "may not read", "SELECT")
    postgres.execute("DROP ROLE outsider")


@pytest.mark.parametrize(
    ("fields", "path", "suggestion"),
    [
        ({"source_table_name": "ordres"}, "source_table_name", "orders"),
        ({"source_table_name": "Orders"}, "source_table_name", "orders"),
        ({"source_table_name": "sales"}, "source_table_name", "shop.sales"),
        ({"source_table_name": "orders", "schema_name": "pubic"}, "schema_name", "public"),
        ({"source_table_name": "orders", "selected_columns": ["totl"]}, "selected_columns.0", "total"),
        ({"source_table_name": "orders", "column_mapping": {"Total": "x"}}, "column_mapping.Total", "total"),
        ({"source_table_name": "orders", "primary_key_column": ["idd"]}, "primary_key_column", "id"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "query", None),
        ({"query": "SELECT nothing"}, "query", None),
        ({"query": "DELETE FROM orders RETURNING *"}, "query", None),
    ],
)
def test_what_the_document_names_and_the_server_lacks(
    postgres: Database, fields: dict[str, Any], path: str, suggestion: str | None
) -> None:
    postgres.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric)")
    postgres.execute(
        "DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop; CREATE TABLE shop.sales (id int)"
    )
    with pytest.raises(ConfigError) as caught:
        source_of(postgres, **fields).describe()
    problem = caught.value.problems[0]
    assert (problem.path, problem.suggestion) == (path, suggestion)


def test_tables_of_other_schemas_and_odd_names(postgres: Database) -> None:
    postgres.execute('DROP SCHEMA IF EXISTS "Odd ""one" CASCADE; CREATE SCHEMA "Odd ""one"')
    postgres.execute('CREATE TABLE "Odd ""one"."a.b\'c" ("sel""ect" int, "%s :x" text, dropped int)')
    postgres.execute('ALTER TABLE "Odd ""one"."a.b\'c" DROP COLUMN dropped')
    postgres.execute('INSERT INTO "Odd ""one"."a.b\'c" VALUES (1, \'x\')')
    source = source_of(postgres, schema_name='Odd "one', source_table_name="a.b'c")
    plan, _ = plan_of(source)
    assert read_all(source, plan).columns == {'sel"ect': [1], "%s :x": ["x"]}
    postgres.execute('DROP SCHEMA "Odd ""one" CASCADE')


def test_generated_columns_selected_columns_and_keys(postgres: Database) -> None:
    postgres.execute(
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, b int NOT NULL,"
        " c int GENERATED ALWAYS AS (b * 2) STORED, PRIMARY KEY (b, a))"
    )
    postgres.execute("INSERT INTO t (b) VALUES (21)")
    source = source_of(postgres, source_table_name="public.t", selected_columns=["c", "b"])
    description = source.describe()
    assert [(column.name, column.nullable, column.note) for column in description.columns] == [
        ("c", True, "generated"),
        ("b", False, None),
    ]
    assert description.primary_key == ("b", "a")
    plan, _ = plan_of(source)
    assert read_all(source, plan).columns == {"c": [42], "b": [21]}


def test_errors_while_reading_say_the_unit_and_no_value(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'private')")
    source = source_of(postgres, query="SELECT id, v::int AS n FROM t")
    plan, _ = plan_of(source)
    with pytest.raises(PermanentError) as caught:
        read_all(source, plan)
    check(caught, "while reading unit u00000", "SQLSTATE 22P02")
    assert "private" not in "".join(traceback.format_exception(caught.value))


def test_a_slow_query_and_a_lost_connection_can_be_tried_again(postgres: Database) -> None:
    slow = source_of(
        postgres, connection_to(postgres, statement_timeout_seconds=1), query="SELECT pg_sleep(30)::text AS x"
    )
    plan, _ = plan_of(slow)
    with pytest.raises(RetryableError, match="statement_timeout_seconds"):
        read_all(slow, plan)
    killed = source_of(
        postgres, query="SELECT pg_terminate_backend(pg_backend_pid())::text AS x FROM generate_series(1, 2)"
    )
    plan, _ = plan_of(killed)
    with pytest.raises(RetryableError):
        read_all(killed, plan)


def test_a_reader_goes_on_after_a_unit_that_was_given_up(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, pad text)")
    postgres.execute("INSERT INTO t SELECT g, repeat('x', 2000) FROM generate_series(1, 20000) g; ANALYZE t")
    source = source_of(postgres, source_table_name="t")
    plan, _ = plan_of(source)
    with source.session(plan.header, snapshot=False) as session, session.reader() as reader:
        batches = iter(reader.read(plan.units[0]))
        assert next(batches).batch.num_rows < 20000
        batches.close()  # type: ignore[attr-defined]
        assert sum(rows.batch.num_rows for rows in reader.read(plan.units[0])) == 20000


def test_row_security_is_told(postgres: Database) -> None:
    postgres.execute("DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN PASSWORD 'pw'")
    postgres.execute(
        "CREATE TABLE t (id int); GRANT USAGE ON SCHEMA public TO limited; GRANT SELECT ON t TO limited"
    )
    postgres.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    connection = connection_to(postgres, username="limited", password=SecretValue("pw"))
    notes = source_of(postgres, connection, source_table_name="t").describe().notes
    assert any("row-level security" in note for note in notes)
    postgres.execute("DROP OWNED BY limited; DROP ROLE limited")
