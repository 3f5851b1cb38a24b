"""The whole topology: used in this process, and kept in the background."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from etl_runner.cli.deployment import read_variables
from etl_runner.cli.main import app
from etl_runner.errors import PermanentError
from etl_runner.settings import Settings
from local import rest
from local.layout import REPOSITORY
from local.processes import listens
from local.supervisor import Supervisor

if TYPE_CHECKING:
    from local.stack import Stack
    from tests.conftest import Database, Warehouse

pytestmark = pytest.mark.stack


def test_every_part_answers(stack: Stack) -> None:
    for name, address in stack.endpoints().items():
        assert listens(int(address.rsplit(":", 1)[1])), name
    names = stack.layout.names
    buckets = {
        item["name"]
        for item in rest.call("GET", f"{stack.layout.storage_endpoint}/storage/v1/b?project=p")[1]["items"]
    }
    assert set(names.buckets) <= buckets
    status, dataset = rest.call(
        "GET",
        f"{stack.layout.bigquery_endpoint}/bigquery/v2/projects/{names.project}/datasets/{names.dataset}",
    )
    assert (status, dataset["location"]) == (200, names.bigquery_location)
    status, job = rest.call(
        "GET",
        f"{stack.layout.run_endpoint}/v2/projects/{names.project}/locations/{names.location}/jobs/{names.job}",
    )
    assert (status, job["template"]["template"]["maxRetries"]) == (200, 3)


def test_nothing_leaks_into_this_process(stack: Stack) -> None:
    assert set(stack.environ) & set(os.environ) <= {"GOOGLE_CLOUD_PROJECT"}
    assert stack.settings == Settings.from_env(stack.environ)


def test_documents_arrive_in_the_config_bucket(stack: Stack) -> None:
    stack.put_connection("shop-1", {"a": 1})
    bucket = stack.layout.names.config_bucket
    url = f"{stack.layout.storage_endpoint}/storage/v1/b/{bucket}/o/connections%2Fshop-1.json?alt=media"
    assert rest.call("GET", url) == (200, {"a": 1})


def test_a_run_of_an_unknown_source_fails_and_says_so(stack: Stack) -> None:
    ended = stack.run("no-such-source", timeout=120)
    assert ended.state == "FAILED"
    assert "no-such-source" in json.dumps(ended.error)


def test_a_source_is_loaded_through_the_workflow(stack: Stack, postgres: Database) -> None:
    postgres.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, at timestamptz NOT NULL);"
        "INSERT INTO orders SELECT i, now() - interval '2 hours' + i * interval '1 second'"
        " FROM generate_series(1, 100) i"
    )
    connection = {"source_type": "postgresql", "host": postgres.host, "port": postgres.port}
    connection |= {"username": postgres.user, "password": postgres.password, "sslmode": "disable"}
    stack.put_connection("stack-shop", connection | {"database": postgres.database})
    source = {"source_type": "postgresql", "connection": "stack-shop", "source_table_name": "orders"}
    source |= {"load_type": "transactional", "timestamp_column": "at", "dest_table_name": "stack_orders"}
    stack.put_source("stack-orders", source)
    first, second = stack.run("stack-orders"), stack.run("stack-orders")
    assert (first.state, first.result["rows_loaded"]) == ("SUCCEEDED", 100), first
    assert (second.state, second.result["rows_loaded"]) == ("SUCCEEDED", 0), second
    assert (first.result["run_id"], first.result["epoch"]) == (first.execution, 1)


def test_a_dataset_of_ones_own(bigquery: Warehouse) -> None:
    bigquery.client.query_and_wait(f"CREATE TABLE {bigquery.dataset}.t AS SELECT 1 AS a, 'x' AS b")
    assert bigquery.rows("SELECT a, b FROM {dataset}.t") == [(1, "x")]


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.down(clean=True)


def test_up_status_down_in_the_background(background: Supervisor) -> None:
    assert background.status() == {"running": "no"}
    parts = background.up(clouds=["s3", "azure"])
    assert parts == background.up() == background.status()
    assert parts["running"] == "yes"
    assert {"s3", "azure"} < parts.keys()
    assert background.settings.stat().st_mode & 0o077 == 0
    settings = Settings.from_env(read_variables(background.settings))
    assert settings.storage_endpoint == parts["storage"]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in read_variables(background.settings).items():
            patched.setenv(name, value)
        for cloud in ("s3", "azure"):
            tested = CliRunner().invoke(app, ["connections", "test", cloud])
            assert tested.exit_code == 0, tested.output
    with pytest.raises(PermanentError, match="runs already"):
        background.run()
    ports = [int(address.rsplit(":", 1)[1].partition("/")[0]) for address in parts.values() if ":" in address]
    assert len(ports) >= 11
    assert all(map(listens, ports))
    background.down()
    assert background.status() == {"running": "no"}
    assert not background.settings.exists()
    assert not any(map(listens, ports))
    assert background.data.exists()


def test_doctor_finds_nothing_wrong_with_a_fresh_topology(background: Supervisor) -> None:
    # One of its own: the shared one holds what other tests planted, broken documents among it.
    background.up()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in read_variables(background.settings).items():
            patched.setenv(name, value)
        result = CliRunner().invoke(app, ["doctor", "--settings", str(background.settings), "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["findings"] == []
    assert said["looked_at"]["grants"] > 50


def test_nothing_is_left_when_the_background_process_is_killed(background: Supervisor) -> None:
    parts = background.up()
    ports = [int(address.rsplit(":", 1)[1]) for name, address in parts.items() if ":" in address]
    os.kill(int(parts["pid"]), signal.SIGKILL)
    background.down()
    assert not any(map(listens, ports))
    assert background.status() == {"running": "no"}
    assert not background.settings.exists()


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "local.stack",
        "run",
        "--root",
        str(tmp_path),
        "--schedule",
        "a=61 * * * *",
    ]
    env = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "schedule.minute: cannot be read (found 61)" in ended.stderr
