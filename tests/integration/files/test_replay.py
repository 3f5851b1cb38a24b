"""Rejected rows of files come back: corrected, once, merged by key where that is the strategy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etl_runner.commit.close import Done
from etl_runner.errors import ConfigError
from etl_runner.gcp import clients
from etl_runner.jsontypes import JsonObject
from etl_runner.rejects.corrections import Corrections
from tests.integration.exactness.lab import Lab
from tests.integration.files.conftest import Shelf

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("shelf", ["gcs"], indirect=True)]

COLUMNS = "id, n, at, _etl_source_file"


def _replay(lab: Lab, name: str, changes: dict[int, dict[str, Any]]) -> JsonObject:
    """Replay what is pending; ``changes`` go by the line of the file."""
    service = lab.deployment.rejects(lab.source_id)
    pending = [item.run.run_id for item in service.overview() if item.state == "pending"]
    lines = []
    for row in service.rows(pending):
        change = changes.get(row.line or 0)
        if change is not None:
            record = change if row.types is None else {**row.record, **change}
            line = {name: getattr(row, name) for name in ("run_id", "unit", "file", "from_byte", "row")}
            line["record"] = record
            lines.append(json.dumps(line))
    given = Corrections.parse("\n".join(lines).encode(), "fix.jsonl")
    done = service.replay(lab.run_id(name), (), given)
    assert isinstance(done, Done)
    assert done.receipt is not None
    assert done.receipt["outcome"] == "ok", done.receipt
    return done.receipt


def test_lines_and_values_of_a_file_are_corrected_and_loaded_once(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv", on_bad_row="reject")
    shelf.put("1.csv", b"id,n,at\n1,1,2026-01-01\n")
    lab.steps_ok("first")
    shelf.put("2.csv", b'id,n,at\n2,two,2026-01-02\n3,3\n4,4,"never\never"\n5,5,2026-01-05\n')
    receipt = lab.steps_ok("second")
    assert (receipt["rows_loaded"], receipt["rejects"]) == (1, 3)
    found = lab.query(f"SELECT line, `column` FROM `{lab.path}__rejects` ORDER BY line")
    assert found == [(2, "n"), (3, ""), (4, "at")]

    files = shelf.ledger()
    receipt = _replay(lab, "fix", {2: {"n": "22"}, 3: {"id": "3", "n": "33", "at": "2026-01-03"}})
    assert (receipt["rows_loaded"], receipt["rejects"]) == (2, 1)
    loaded = lab.query("SELECT id, n, CAST(at AS STRING), _etl_source_file FROM {table} ORDER BY id")
    a, b = shelf.uri("1.csv"), shelf.uri("2.csv")
    assert [row[:3] for row in loaded] == [
        (1, 1, "2026-01-01"),
        (2, 22, "2026-01-02"),
        (3, 33, "2026-01-03"),
        (5, 5, "2026-01-05"),
    ]
    # A line that is no row has no file column of its own.
    assert [row[3] for row in loaded] == [a, b, loaded[2][3], b]
    # Files stay as they are known, and the next run finds nothing new.
    assert [entry for entry in shelf.ledger() if entry.name] == [entry for entry in files if entry.name]
    jobs = len(lab.job_ids())
    assert lab.step_by_step("nothing").outcome == "ok"
    assert len(lab.job_ids()) == jobs
    # What was rejected again says where its file has it, and comes back by itself.
    (again,) = lab.deployment.rejects(lab.source_id).rows([lab.run_id("fix")])
    assert (again.file, again.line, again.row, again.column) == (b, 4, 3, "at")
    receipt = _replay(lab, "again", {4: {"at": "2026-01-04"}})
    assert (receipt["rows_loaded"], receipt["rejects"]) == (1, 0)
    assert lab.query("SELECT COUNT(*), COUNT(DISTINCT id) FROM {table}") == [(5, 5)]
    with pytest.raises(ConfigError, match="has no rejects to replay"):
        lab.deployment.rejects(lab.source_id).replay(lab.run_id("twice"), [lab.run_id("second")])


def test_an_upsert_merges_them_although_its_files_are_gone(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(
        file_pattern="*.jsonl",
        on_bad_row="reject",
        load_type="upsert",
        primary_key_column="Id",
        timestamp_column="at",
    )
    lab.query("CREATE TABLE {table} (id INT64, n INT64, at TIMESTAMP)")
    shelf.put("1.jsonl", b'{"Id": 1, "n": 1, "at": "2026-01-02T00:00:00Z"}\n')
    shelf.put(
        "2.jsonl",
        b'{"Id": 1, "n": "old", "at": "2026-01-01T00:00:00Z"}\n'
        b'{"Id": 2, "n": 2, "at": "2026-01-01T00:00:00Z"}\n'
        b'{"Id": 2, "n": "new", "at": "2026-01-03T00:00:00Z"}\n',
    )
    assert lab.steps_ok("first")["rejects"] == 2
    assert lab.loaded("id, n") == [(1, 1), (2, 2)]
    bucket = clients.storage_client(lab.stack.settings).bucket(shelf.connection["bucket"])
    for blob in list(bucket.list_blobs()):
        blob.delete()
    receipt = _replay(lab, "fix", {1: {"n": "7"}, 3: {"n": "8"}})
    assert receipt["rejects"] == 0
    # The older version of 1 replaces nothing, the newer one of 2 does.
    assert lab.loaded("id, n") == [(1, 1), (2, 8)]
