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
from etl_runner.state.document import Slot, State
from etl_runner.state.store import StateStore
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
