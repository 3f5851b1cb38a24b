"""What cannot work says so in one clear message, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from etl_runner.cli.exits import Exit
from etl_runner.state.document import State
from local.layout import write_settings
from tests.integration.exactness.lab import Lab, add_orders, orders, sentence

pytestmark = pytest.mark.stack

COMMAND = "from etl_runner.cli.main import main; main()"
WRONG_PASSWORD = "not-the-password-7d1f"


@dataclass(frozen=True)
class Case:
    """Fields that spoil a source document, and what its message has to say: the thing, and what to do."""

    fields: dict[str, Any] = field(default_factory=dict)
    connection: dict[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    opened: bool = True
    """Whether it can be found only once the run is open."""


CASES = {
    "a table that does not exist": Case(
        {"source_table_name": "ordres"}, says=("source_table_name", "ordres", "did you mean 'orders'?")
    ),
    "a schema that does not exist": Case(
        {"schema_name": "pubic"}, says=("schema_name", "pubic", "did you mean 'public'?")
    ),
    "a misspelt field": Case(
        {"timestamp_colum": "updated_at"},
        says=("timestamp_colum", "did you mean 'timestamp_column'?"),
        opened=False,
    ),
    "a column that does not exist": Case(
        {"selected_columns": ["id", "updated_at", "noet"]},
        says=("selected_columns", "noet", "did you mean 'note'?"),
    ),
    "a cursor that does not exist": Case(
        {"timestamp_column": "update_at"},
        says=("timestamp_column", "update_at", "did you mean 'updated_at'?"),
    ),
    "a cursor of the wrong kind": Case(
        {"timestamp_column": "note"},
        says=("timestamp_column", "note", "type text", "timestamp with time zone", "updated_at"),
    ),
    "a key cursor of the wrong kind": Case(
        {"timestamp_column": None, "incrementing_column": "note"},
        says=("incrementing_column", "note", "type text", "bigint", "id"),
    ),
    "a query that does not parse": Case(
        {"source_table_name": None, "query": "SELECT id, updated_at FORM orders"},
        says=("query", "syntax error"),
    ),
    "a dataset that does not exist": Case(
        {"dest_dataset": "nowhere"}, says=("dest_dataset", "local-project.nowhere", "create it in EU")
    ),
    "a dataset elsewhere": Case(
        {"dest_dataset": "overseas"}, says=("dest_dataset", "overseas", "is in US", "run in EU")
    ),
    "a connection that is not there": Case(
        {"connection": "shopp"}, says=("connections/shopp", "no such document"), opened=False
    ),
    "a database that does not exist": Case(
        connection={"database": "atlantis"}, says=("there is no database 'atlantis'",)
    ),
    "a user that does not exist": Case(
        connection={"username": "nobody_here"}, says=("user 'nobody_here'", "password was not accepted")
    ),
    "a host that does not exist": Case(
        connection={"host": "no-such-host.invalid"},
        says=("no-such-host.invalid", "cannot be resolved", "check host"),
    ),
}


def _spoilt(lab: Lab, case: Case) -> None:
    fields = {"source_table_name": "orders", "timestamp_column": "updated_at", **case.fields}
    lab.put(
        server=lab.connection(**case.connection),
        **{name: value for name, value in fields.items() if value is not None},
    )


def _check_message(lab: Lab, message: str, *says: str) -> None:
    for text in says:
        assert text in message, message
    assert "Traceback" not in message
    assert "Error(" not in message
    assert lab.database.password not in message
    assert WRONG_PASSWORD not in message
    assert len(message) < 600, message


def _check_unchanged(lab: Lab, before: State, loaded: list[tuple[Any, ...]], message: str | None) -> None:
    """Nothing but a failed receipt that says ``message``; with None not even that."""
    after = lab.settled()
    assert (after.watermark, after.ledger, after.paused) == (before.watermark, before.ledger, before.paused)
    if message is None:
        assert after == before
    else:
        assert after.last is not None
        assert after.last.outcome == "failed"
        assert after.last.receipt["reason"] == message
        receipt = next(one for one in lab.receipts() if one["run_id"] == after.last.run_id)
        assert receipt == after.last.receipt
    assert lab.loaded() == loaded


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message_and_nothing_is_changed(lab: Lab, name: str) -> None:
    case = CASES[name]
    lab.stack.bigquery.create_dataset("overseas", "US")
    orders(lab, rows=2)
    lab.step_by_step("good")
    before, loaded = lab.state(), lab.loaded()
    jobs, receipts = lab.job_ids(), lab.receipts()
    _spoilt(lab, case)
    ended = lab.run()
    assert ended.state == "FAILED", ended
    message = sentence(ended)
    _check_message(lab, message, *case.says)
    _check_unchanged(lab, before, loaded, message if case.opened else None)
    assert len(lab.receipts()) == len(receipts) + case.opened
    assert lab.job_ids() == jobs


def test_a_wrong_password_is_not_told_and_the_next_run_goes_on(lab: Lab) -> None:
    orders(lab, rows=2)
    lab.run_ok()
    before, loaded = lab.state(), lab.loaded()
    wrong = lab.password_file.with_name(f"{lab.source_id}-wrong-password")
    wrong.write_text(WRONG_PASSWORD)
    lab.put(
        server=lab.connection(password={"file": str(wrong)}),
        source_table_name="orders",
        timestamp_column="updated_at",
    )
    ended = lab.run()
    message = sentence(ended)
    _check_message(
        lab, message, f"{lab.database.host}:{lab.database.port}", "user", "password was not accepted"
    )
    _check_unchanged(lab, before, loaded, message)
    for log in lab.stack.logs.rglob("*.log"):
        assert WRONG_PASSWORD.encode() not in log.read_bytes(), log
        if log.name != "postgres.log":
            assert lab.database.password.encode() not in log.read_bytes(), log
    lab.put(source_table_name="orders", timestamp_column="updated_at")
    add_orders(lab, 1)
    lab.run_ok()
    lab.check_equal()


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("updated_at DATE", ("updated_at", "timestamp with time zone", "DATE", "TIMESTAMP or STRING")),
        ("updated_at TIMESTAMP, note INT64", ("note",)),
        ("updated_at TIMESTAMP, version STRING, id BOOL", ("id", "bigint", "BOOL", "INT64")),
        ("updated_at TIMESTAMP, region STRING NOT NULL", ("region", "column_mapping")),
    ],
    ids=["another time", "text for numbers", "numbers for truth", "a required column"],
)
def test_a_destination_with_other_types(lab: Lab, column: str, says: tuple[str, ...]) -> None:
    orders(lab, rows=2)
    lab.query(f"CREATE TABLE {{table}} (key INT64, {column})")
    lab.query("INSERT INTO {table} (key) VALUES (1)" if "NOT NULL" not in column else "SELECT 1")
    loaded = lab.query("SELECT COUNT(*) FROM {table}")
    schema = lab.bigquery.get_table(lab.path).schema
    ended = lab.run()
    assert ended.state == "FAILED", ended
    message = sentence(ended)
    _check_message(lab, message, *says)
    assert lab.query("SELECT COUNT(*) FROM {table}") == loaded
    assert lab.bigquery.get_table(lab.path).schema == schema
    assert lab.settled().watermark is None
    assert lab.job_ids() == []


def test_a_value_that_the_destination_cannot_hold(lab: Lab) -> None:
    """Found while rows are read; the task's own sentence reaches the end of the workflow."""
    orders(lab, rows=2)
    lab.run_ok()
    before, loaded = lab.state(), lab.loaded()
    lab.database.execute("INSERT INTO orders (id, updated_at, note) VALUES (3, clock_timestamp(), 'x')")
    lab.database.execute("ALTER TABLE orders ADD COLUMN price numeric(10,2) DEFAULT 'NaN'")
    ended = lab.run()
    assert ended.state == "FAILED", ended
    message = sentence(ended)
    _check_message(lab, message, "price", "29 digits", "on_bad_row")
    _check_unchanged(lab, before, loaded, message)
    assert [field.name for field in lab.bigquery.get_table(lab.path).schema if field.name == "price"] == []


def test_a_source_that_nobody_wrote(lab: Lab) -> None:
    ended = lab.run()
    message = sentence(ended)
    _check_message(lab, message, f"sources/{lab.source_id}", "no such document")
    assert lab.receipts() == []
    assert lab.deployment.state.read(f"sources/{lab.source_id}/state.json") is None


def _command(lab: Lab, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = tmp_path / "settings.env"
    write_settings(settings, lab.stack.environ)
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--settings", str(settings)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "src"},
        cwd=Path(__file__).parents[3],
        check=False,
    )


def test_the_command_line_says_the_same(lab: Lab, tmp_path: Path) -> None:
    orders(lab, rows=1, source_table_name="ordres")
    says = ("source_table_name", "ordres", "did you mean 'orders'?")
    planned = _command(lab, tmp_path, "plan", lab.source_id)
    assert planned.returncode == Exit.CONFIGURATION, planned
    _check_message(lab, planned.stdout + planned.stderr, *says)
    assert lab.state() == State()  # a plan writes nothing
    ran = _command(lab, tmp_path, "run", lab.source_id, "--json")
    assert ran.returncode == Exit.FAILED, ran
    told = json.loads(ran.stdout)
    _check_message(lab, told["receipt"]["reason"], *says)
    assert lab.database.password not in ran.stdout + ran.stderr
    lab.put(source_table_name="orders", timestamp_colum="updated_at")
    refused = _command(lab, tmp_path, "run", lab.source_id)
    assert refused.returncode == Exit.CONFIGURATION, refused
    _check_message(
        lab, refused.stdout + refused.stderr, "timestamp_colum", "did you mean 'timestamp_column'?"
    )
