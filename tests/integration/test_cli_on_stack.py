"""The command against the whole topology: functions, workflow, job, buckets, BigQuery and PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from etl_runner.cli.deployment import Deployment, cloud_deployment
from etl_runner.cli.main import app
from etl_runner.config.connections import BigQueryConnection
from etl_runner.config.secrets import EnvFileResolver
from etl_runner.connections.check import Surroundings, Verdict, verdict
from etl_runner.state.document import Slot, State
from etl_runner.state.store import StateStore
from local import rest
from local.layout import write_settings
from local.stack import Stack

pytestmark = pytest.mark.stack


@dataclass
class Orders:
    """A table of 1,000 orders, its source, and the command that speaks to its deployment."""

    stack: Stack
    database: Any
    source_id: str
    deployment: Deployment

    def etl_runner(self, *arguments: str) -> tuple[int, Any]:
        """Exit code and JSON answer."""
        result = CliRunner().invoke(app, [*arguments, "--json"], obj=self.deployment)
        return result.exit_code, json.loads(result.stdout)

    def objects(self) -> list[tuple[str, int]]:
        """All objects of state and staging bucket, with their generations."""
        buckets = (self.deployment.state, self.deployment.staging)
        return [(info.name, info.generation) for bucket in buckets for info in bucket.list("")]


@pytest.fixture
def orders(stack: Stack, postgres: Any, tmp_path: Path) -> Iterator[Orders]:
    postgres.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(10, 2), updated_at timestamptz NOT NULL);"
        "INSERT INTO orders SELECT n, n / 4.0, now() - n * interval '1 s' FROM generate_series(1, 1000) n;"
        "ANALYZE orders"
    )
    name = postgres.database
    password = tmp_path / "password"
    password.write_text(postgres.password)
    stack.put_connection(
        name,
        {
            "source_type": "postgresql",
            "host": postgres.host,
            "port": postgres.port,
            "database": postgres.database,
            "username": postgres.user,
            "password": {"file": str(password)},
        },
    )
    stack.put_source(
        name,
        {
            "source_type": "postgresql",
            "connection": name,
            "source_table_name": "orders",
            "load_type": "transactional",
            "timestamp_column": "updated_at",
            "dest_table_name": f"orders_{name}",
        },
    )
    yield Orders(stack, postgres, name, cloud_deployment(stack.settings))


def test_plan_run_status_runs_and_plan_again(orders: Orders) -> None:
    before = orders.objects()
    code, planned = orders.etl_runner("plan", orders.source_id)
    assert code == 0
    assert planned["plan"]["destination"]["exists"] is False
    assert planned["plan"]["estimated_rows"] == 1000
    assert orders.objects() == before

    code, ran = orders.etl_runner("run", orders.source_id)
    assert (code, ran["outcome"]) == (0, "ok"), ran
    assert ran["receipt"]["rows_loaded"] == 1000

    code, status = orders.etl_runner("status", orders.source_id)
    (one,) = status["sources"]
    assert (code, one["slot"], one["last"]["outcome"], one["epoch"]) == (0, None, "ok", 1)
    assert one["watermark"] == ran["receipt"]["watermark_after"]

    code, runs = orders.etl_runner("runs", orders.source_id)
    assert code == 0
    assert runs["runs"] == [ran["receipt"]]
    assert len(ran["receipt"]["jobs"]) == 1

    orders.database.execute("INSERT INTO orders VALUES (1001, 1, clock_timestamp())")
    code, again = orders.etl_runner("plan", orders.source_id)
    assert (code, again["plan"]["destination"]["exists"], again["plan"]["destination"]["added"]) == (
        0,
        True,
        [],
    )
    assert again["plan"]["window"]["low"] == ran["receipt"]["window"]["high"]


def test_a_run_while_another_holds_the_slot_is_skipped(orders: Orders) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    store = StateStore(orders.deployment.state, orders.source_id)
    store.change(lambda state: replace(state, epoch=1, slot=Slot("somebody", 1, until)))
    code, answer = orders.etl_runner("run", orders.source_id)
    assert (code, answer["outcome"]) == (4, "skipped")
    assert answer["holder"] == {"run_id": "somebody", "phase": "extracting", "until": until}
    assert orders.etl_runner("status", orders.source_id)[1]["sources"][0]["slot"]["run_id"] == "somebody"


def test_a_paused_source_blocks_its_run(orders: Orders) -> None:
    store = StateStore(orders.deployment.state, orders.source_id)
    store.change(lambda state: State(paused="loaded 9 rows, expected 10"))
    code, answer = orders.etl_runner("run", orders.source_id)
    assert code == 6
    assert "loaded 9 rows, expected 10" in answer["error"]


def test_a_source_that_is_not_there_is_a_configuration_error(orders: Orders) -> None:
    assert orders.etl_runner("plan", "nobody")[0] == 3
    code, answer = orders.etl_runner("run", "nobody")
    assert code == 3
    assert "nobody" in answer["error"]


def test_a_failed_run_tells_its_reason_and_changes_nothing(orders: Orders) -> None:
    orders.database.execute("ALTER TABLE orders RENAME TO sales")
    code, answer = orders.etl_runner("run", orders.source_id)
    assert (code, answer["outcome"]) == (1, "failed")
    assert "orders" in answer["receipt"]["reason"]
    status = orders.etl_runner("status", orders.source_id)[1]["sources"][0]
    assert (status["slot"], status["watermark"], status["last"]["outcome"]) == (None, None, "failed")


def test_the_installed_command_reads_a_settings_file(orders: Orders, tmp_path: Path) -> None:
    settings = tmp_path / "settings.env"
    write_settings(settings, orders.stack.environ)
    command = [
        str(Path(sys.executable).with_name("etl-runner")),
        "status",
        "--json",
        "--settings",
        str(settings),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    assert orders.source_id in {one["source_id"] for one in json.loads(done.stdout)["sources"]}


def test_a_preview_shows_rows_as_they_would_land_and_writes_nothing(orders: Orders) -> None:
    before = orders.objects()
    code, shown = orders.etl_runner("preview", orders.source_id, "--rows", "3")
    assert code == 0, shown
    columns = {column["source"]: column for column in shown["columns"]}
    assert (columns["amount"]["source_type"], columns["amount"]["destination"]) == (
        "numeric(10,2)",
        "NUMERIC",
    )
    assert columns["id"]["natural"] == "INT64"
    expected = {
        int(str(number)): amount
        for number, amount in orders.database.query_text("SELECT id, amount FROM orders")
    }
    assert len(shown["rows"]) == 3
    for row in shown["rows"]:  # the server prints the column's two places, 0.50; the value is 0.5
        assert row["amount"] == str(expected[row["id"]]).rstrip("0").rstrip(".")
    assert shown["rejects"] == []
    assert orders.objects() == before

    # The same, asked of the deployed function.
    url = f"{orders.stack.layout.function_urls['plan']}/"
    status, answer = rest.call(
        "POST", url, {"operation": "preview", "source_id": orders.source_id, "rows": 3}
    )
    assert status == 200, answer
    assert [row["id"] for row in answer["rows"]] == [row["id"] for row in shown["rows"]]
    assert (
        rest.call("POST", url, {"operation": "preview", "source_id": orders.source_id, "rows": 0})[0] == 400
    )
    assert rest.call("POST", url, {"operation": "guess"})[0] == 400
    assert orders.objects() == before


def test_a_preview_names_the_rows_that_would_be_rejected(orders: Orders) -> None:
    orders.database.execute("UPDATE orders SET amount = 'NaN' WHERE id = 1")
    orders.database.execute("DELETE FROM orders WHERE id > 2")
    code, shown = orders.etl_runner("preview", orders.source_id)
    assert code == 0, shown
    assert [row["id"] for row in shown["rows"]] == [2]
    (reject,) = shown["rejects"]
    assert (reject["column"], reject["value"].lower()) == ("amount", "nan")


def test_connections_are_tested_from_here_and_by_the_function(orders: Orders, tmp_path: Path) -> None:
    name = orders.source_id  # the connection's id, too
    code, answer = orders.etl_runner("connections", "test", name, "--table", "orders")
    assert (code, answer["ok"]) == (0, True), answer
    assert "who can read public.orders" in answer["message"]
    url = f"{orders.stack.layout.function_urls['plan']}/"
    status, told = rest.call("POST", url, {"operation": "test_connection", "connection": name})
    assert (status, told["ok"]) == (200, True)

    def inline(**changes: Any) -> tuple[int, Any]:
        document = {
            "source_type": "postgresql",
            "host": orders.database.host,
            "port": orders.database.port,
            "database": orders.database.database,
            "username": orders.database.user,
            "password": orders.database.password,
            **changes,
        }
        return rest.call("POST", url, {"operation": "test_connection", "connection": document})

    assert inline()[1]["ok"]
    status, told = inline(password="wrong-password")
    assert (status, told["ok"]) == (200, False)
    assert "or the password was not accepted" in told["message"]
    assert "wrong-password" not in json.dumps(told)
    assert "there is no database" in inline(database="nowhere")[1]["message"]
    # Else whoever may call could have a secret sent to a server of their own.
    secret = tmp_path / "somebody-elses"
    secret.write_text("hunter2")
    for reference in ({"file": str(secret)}, {"env": "HOME"}, {"secret_manager": "other"}):
        status, told = inline(password=reference)
        assert status == 400, told
        assert "a request may not" in told["error"]["message"]


def test_a_bigquery_connection_is_tested(stack: Stack) -> None:
    settings = stack.settings
    around = Surroundings(settings.project, bigquery_endpoint=settings.bigquery_endpoint)

    def told(**fields: Any) -> Verdict:
        connection = BigQueryConnection(
            source_type="bigquery", project=settings.project, use_runner_account=True, **fields
        )
        return verdict(connection, EnvFileResolver({}), around)

    assert told(dataset=settings.dataset).ok
    missing = told(dataset="no_such_dataset")
    assert not missing.ok
    assert "not found, while looking at dataset no_such_dataset" in missing.sentence
    elsewhere = Surroundings("p", bigquery_endpoint="http://127.0.0.1:1")
    refused = verdict(
        BigQueryConnection(source_type="bigquery", project="some-project", use_runner_account=True),
        EnvFileResolver({}),
        elsewhere,
    )
    assert (refused.ok, refused.retry) == (False, True)
    assert "the connection was refused" in refused.sentence


def test_the_control_planes_scheduler_starts_a_run(orders: Orders) -> None:
    trigger = orders.stack.layout.function_urls["trigger"]
    path = f"{trigger}/api/etl/sources/{orders.source_id}/scheduler-webhook/"
    status, answer = rest.call("POST", path)
    assert (status, answer["status"]) == (200, "started"), answer
    ended = orders.stack.wait_run(f"{orders.stack.workflows.parent}/executions/{answer['run_id']}")
    assert ended.state == "SUCCEEDED", ended
    assert ended.result["rows_loaded"] == 1000
    assert rest.call("GET", path)[0] == 405
    assert rest.call("POST", f"{trigger}/api/etl/sources/nobody/scheduler-webhook/")[0] == 400


def test_a_document_of_a_request_is_loaded_by_its_run(orders: Orders) -> None:
    table = f"inline_{orders.source_id}"
    document = {
        "source_type": "postgresql",
        "connection": orders.source_id,
        "source_table_name": "orders",
        "load_type": "catalog",
        "dest_table_name": table,
    }
    adhoc = f"{orders.source_id}-adhoc"
    ended = orders.stack.wait_run(orders.stack.start_run(adhoc, source=document))
    assert ended.state == "SUCCEEDED", ended
    assert (ended.result["rows_loaded"], ended.result["outcome"]) == (1000, "ok")
    # The stored source's state is not touched by a document of a request that takes its id.
    ended = orders.stack.wait_run(orders.stack.start_run(orders.source_id, source=document))
    assert ended.state == "FAILED"
    assert "an id of its own" in json.dumps(ended.error)
