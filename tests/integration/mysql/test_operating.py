"""Reconcile and backfill of a MySQL source, by the commands that people use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from etl_runner.cli.deployment import cloud_deployment
from etl_runner.cli.main import app
from etl_runner.gcp.clients import bigquery_client
from local.stack import Stack
from tests.integration.mysql.support import Database
from tests.integration.mysql.test_end_to_end import _put, _run

pytestmark = pytest.mark.stack


def _etl_runner(stack: Stack, *arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"], obj=cloud_deployment(stack.settings))
    print(done.stdout)  # for whoever reads a failure
    return done.exit_code, json.loads(done.stdout)


def test_reconcile_finds_each_difference_and_repairs_exactly_those(
    stack: Stack, mariadb: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environ["PUBSUB_EMULATOR_HOST"])
    mariadb.execute(
        "CREATE TABLE orders (id bigint unsigned PRIMARY KEY, amount decimal(12,3), note varchar(40), "
        "wall datetime(6), day date, updated timestamp(6) NOT NULL, KEY (updated))"
    )
    mariadb.execute(
        "INSERT INTO orders SELECT seq, seq / 7, IF(seq = 3, NULL, CONCAT('é😀', seq)), "
        "'1969-12-30 00:00:00.000001' + INTERVAL seq DAY, '1969-12-30' + INTERVAL seq DAY, "
        "'2025-12-31' + INTERVAL seq DAY FROM seq_1_to_8"
    )
    name = _put(stack, mariadb, tmp_path / "password", load_type="transactional", timestamp_column="updated")
    _run(stack, name)
    code, answer = _etl_runner(stack, "reconcile", name, "--by", "day")
    assert (code, answer["differing"], len(answer["ranges"])) == (0, 0, 8)
    assert {"amount", "note", "wall", "day", "updated"} <= set(answer["compared"])
    client = bigquery_client(stack.settings)
    path = f"`{stack.settings.project}.{stack.settings.dataset}.{name}`"
    client.query_and_wait(f"DELETE FROM {path} WHERE id = 2")
    client.query_and_wait(f"UPDATE {path} SET note = 'x' WHERE id = 5")
    client.query_and_wait(f"UPDATE {path} SET wall = NULL WHERE id = 7")
    code, answer = _etl_runner(stack, "reconcile", name, "--by", "day")
    differing = {
        item["start"][:10]: item["verdict"] for item in answer["ranges"] if item["verdict"] != "equal"
    }
    assert (code, differing) == (
        1,
        {"2026-01-02": "missing", "2026-01-05": "different", "2026-01-07": "different"},
    )
    code, answer = _etl_runner(stack, "reconcile", name, "--by", "day", "--repair")
    assert (code, answer["differing"], len(answer["repairs"])) == (0, 0, 3)
    rows = client.query_and_wait(f"SELECT id, note FROM {path} ORDER BY id")
    wanted = [(n, None if n == 3 else f"é😀{n}") for n in range(1, 9)]
    assert [(int(row["id"]), row["note"]) for row in rows] == wanted


def test_reconcile_compares_an_upsert_by_its_key_and_repairs_what_the_source_still_has(
    stack: Stack, mariadb: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environ["PUBSUB_EMULATOR_HOST"])
    mariadb.execute(
        "CREATE TABLE orders (code varchar(20) NOT NULL, part decimal(9,2) NOT NULL, amount decimal(12,3), "
        "day date, updated timestamp(6) NOT NULL, PRIMARY KEY (code, part), KEY (updated))"
    )
    mariadb.execute(
        "INSERT INTO orders SELECT CONCAT('é😀', seq), seq / 2, seq / 7, '1969-12-30' + INTERVAL seq DAY, "
        "'2025-12-31' + INTERVAL seq DAY FROM seq_1_to_8"
    )
    name = _put(
        stack,
        mariadb,
        tmp_path / "password",
        load_type="upsert",
        timestamp_column="updated",
        primary_key_column=["code", "part"],
    )
    _run(stack, name)
    code, answer = _etl_runner(stack, "reconcile", name)
    assert (code, answer["counts"], sum(item["source_rows"] for item in answer["ranges"])) == (0, {}, 8)
    client = bigquery_client(stack.settings)
    path = f"`{stack.settings.project}.{stack.settings.dataset}.{name}`"
    client.query_and_wait(f"DELETE FROM {path} WHERE code = 'é😀2'")
    client.query_and_wait(f"UPDATE {path} SET amount = amount + 1 WHERE code = 'é😀5'")
    client.query_and_wait(f"INSERT INTO {path} SELECT * FROM {path} WHERE code = 'é😀6'")
    mariadb.execute("DELETE FROM orders WHERE part = 3.5")
    code, answer = _etl_runner(stack, "reconcile", name)
    assert code == 1
    assert [(item["verdict"], item["key"]) for item in answer["keys"]] == [
        ("missing", ["é😀2", "1"]),
        ("different", ["é😀5", "2.5"]),
        ("doubled", ["é😀6", "3"]),
        ("gone", ["é😀7", "3.5"]),
    ]
    code, answer = _etl_runner(stack, "reconcile", name, "--repair")
    assert (code, answer["counts"]) == (1, {"doubled": 1, "gone": 1}), answer
    code, answer = _etl_runner(stack, "reconcile", name, "--by", "day")
    assert (code, "ranges of its key" in answer["error"]["message"]) == (3, True)
