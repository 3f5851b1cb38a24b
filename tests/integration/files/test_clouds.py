"""Files of real servers of each cloud, into BigQuery, through the deployment's own steps."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from etl_runner.sources.files.store import FileReplaced
from tests.integration.files.conftest import Shelf
from tests.integration.ops.test_operate import etl_runner

pytestmark = pytest.mark.stack


def test_new_files_are_loaded_once_and_overwritten_ones_again(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="in/**/*.csv")
    shelf.put("in/a.csv", b"id,version,word\n1,1,x\n2,1,\n")
    shelf.put("in/deep/er/b ü.csv", 'id,version,word\n3,1,"é, 😀"\n'.encode())
    shelf.put("out/c.csv", b"id,version,word\n9,9,no\n")
    assert lab.step_by_step("first").outcome == "ok"
    columns = "id, version, word, _etl_source_file"
    a, b = shelf.uri("in/a.csv"), shelf.uri("in/deep/er/b ü.csv")
    assert lab.loaded(columns) == [(1, 1, "x", a), (2, 1, None, a), (3, 1, "é, 😀", b)]
    assert [(entry.uri, entry.size, entry.rows) for entry in shelf.ledger()] == [(a, 27, 2), (b, 31, 1)]

    jobs = len(lab.job_ids())
    assert lab.step_by_step("nothing").outcome == "ok"
    assert len(lab.job_ids()) == jobs

    shelf.put("in/a.csv", b"id,version,word\n1,2,again\n")
    shelf.put("in/d.csv", b"id,version,word\n4,1,w\n")
    assert lab.step_by_step("second").outcome == "ok"
    assert lab.loaded() == [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1)]
    assert len({entry.version for entry in shelf.ledger() if entry.uri == a}) == 2


def test_a_file_replaced_between_plan_and_extraction_is_noticed(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv.gz")
    shelf.put("a.csv.gz", gzip.compress(b"id,version\n1,1\n"))
    key = shelf.open("replaced")
    shelf.put("a.csv.gz", gzip.compress(b"id,version\n1,2\n"))
    with pytest.raises(FileReplaced, match=r"a\.csv\.gz") as caught:
        lab.extract(key)
    assert caught.value.uri == shelf.uri("a.csv.gz")
    done = shelf.fail(key, "the task failed")
    assert done.outcome == "failed"
    assert done.receipt is not None
    assert shelf.uri("a.csv.gz") in done.receipt["reason"]
    assert (lab.loaded(), shelf.ledger()) == ([], [])
    assert lab.step_by_step("again").outcome == "ok"
    assert lab.loaded() == [(1, 2)]


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
def test_the_workflow_replaces_a_catalog_by_the_latest_file(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.jsonl", load_type="catalog", order_by="name")
    shelf.put("1.jsonl", b'{"id": 1, "version": 1, "tags": ["a", "b"], "box": {"x": 1.10}}\n')
    assert lab.run_ok()["rows_loaded"] == 1
    shelf.put("2.jsonl", b'{"id": 1, "version": 2, "tags": [], "box": {"x": 2.5}, "more": true}\n')
    receipt = lab.run_ok()
    assert receipt["files"] == {"files": 1, "ignored": 0, "matching": 2}
    assert lab.loaded("id, version, more") == [(1, 2, True)]
    rows = lab.query("SELECT ARRAY_LENGTH(tags), box.x = NUMERIC '2.5' FROM {table}")
    assert rows == [(0, True)]


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
def test_upserts_merge_files_by_key_and_time(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv", load_type="upsert", primary_key_column="id", timestamp_column="at")
    shelf.put("1.csv", b"id,version,at\n1,1,2026-01-02T00:00:00Z\n2,1,2026-01-01T00:00:00Z\n")
    assert lab.step_by_step("first").outcome == "ok"
    shelf.put("2.csv", b"id,version,at\n2,3,2026-01-03T00:00:00Z\n2,2,2026-01-02T00:00:00Z\n")
    shelf.put("3.csv", b"id,version,at\n1,0,2026-01-01T00:00:00Z\n3,1,2026-01-01T00:00:00Z\n")
    assert lab.step_by_step("second").outcome == "ok"
    assert lab.loaded() == [(1, 1), (2, 3), (3, 1)]


def test_files_that_an_earlier_system_processed_are_taken_over(shelf: Shelf, tmp_path: Path) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv")
    for number in (1, 2, 3):
        shelf.put(f"{number}.csv", b"id,version\n%d,1\n" % number)
    processed = tmp_path / "processed.json"
    long_ago = '{"file_name": "2.csv", "last_modified": "2001-01-01T00:00:00Z"}'
    processed.write_text(f'["1.csv", {long_ago}, "gone.csv"]')
    for _ in range(2):  # repeating it changes nothing
        code, answer = etl_runner(lab, "adopt", lab.source_id, "--processed", str(processed))
        changed = [shelf.uri("2.csv")]
        assert (code, answer["adopted"], answer["changed"], answer["gone"]) == (0, 1, changed, ["gone.csv"])
        assert [(entry.uri, entry.outcome) for entry in shelf.ledger()] == [(shelf.uri("1.csv"), "adopted")]
    assert lab.step_by_step("after").outcome == "ok"
    assert lab.loaded() == [(2, 1), (3, 1)]
    shelf.put("1.csv", b"id,version\n1,2\n")
    assert lab.step_by_step("overwritten").outcome == "ok"
    assert lab.loaded() == [(1, 2), (2, 1), (3, 1)]


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
def test_reconcile_tells_files_of_earlier_runs_apart_and_loads_what_is_not_loaded(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv")
    for number in (1, 2, 3):
        shelf.put(f"{number}.csv", b"id,version\n%d,1\n%d,2\n" % (number, number))
    assert lab.step_by_step("first").outcome == "ok"
    code, answer = etl_runner(lab, "reconcile", lab.source_id)
    assert (code, answer["differing"], len(answer["ranges"])) == (0, 0, 3), answer
    shelf.put("4.csv", b"id,version\n4,1\n")
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--repair")
    assert (code, answer["differing"], len(answer["repairs"])) == (0, 0, 1), answer
    lab.bigquery.query_and_wait(f"DELETE FROM `{lab.path}` WHERE id = 2 AND version = 1")
    lab.bigquery.query_and_wait(f"INSERT INTO `{lab.path}` SELECT * FROM `{lab.path}` WHERE id = 4")
    code, answer = etl_runner(lab, "reconcile", lab.source_id)
    differing = {item["start"]: item["verdict"] for item in answer["ranges"] if item["verdict"] != "equal"}
    assert (code, differing) == (1, {shelf.uri("2.csv"): "missing", shelf.uri("4.csv"): "extra"})
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--repair")
    assert (code, answer["differing"], len(answer["repairs"])) == (0, 0, 1), answer
    rows = [(number, version) for number in (1, 2, 3) for version in (1, 2)]
    assert lab.loaded() == [*rows, (4, 1)]


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
def test_reconcile_finds_and_repairs_what_a_catalog_of_files_lacks_or_has_too_much(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv", load_type="catalog", file_selection="all")
    for number in (1, 2, 3):
        shelf.put(f"{number}.csv", b"id,version\n%d,1\n%d,2\n" % (number, number))
    assert lab.step_by_step("first").outcome == "ok"
    code, answer = etl_runner(lab, "reconcile", lab.source_id)
    assert (code, answer["differing"], len(answer["ranges"])) == (0, 0, 3), answer
    lab.bigquery.query_and_wait(f"DELETE FROM `{lab.path}` WHERE id = 1 AND version = 1")
    lab.bigquery.query_and_wait(f"INSERT INTO `{lab.path}` SELECT * FROM `{lab.path}` WHERE id = 2")
    lab.bigquery.query_and_wait(f"INSERT INTO `{lab.path}` (id, version) VALUES (9, 9)")
    shelf.put("3.csv", b"id,version\n3,5\n")
    code, answer = etl_runner(lab, "reconcile", lab.source_id)
    differing = {item["start"]: item["verdict"] for item in answer["ranges"] if item["verdict"] != "equal"}
    names = [shelf.uri(f"{number}.csv") for number in (1, 2, 3)]
    wanted = dict(zip(names, ("missing", "extra", "not loaded"), strict=True))
    assert (code, differing) == (1, {**wanted, "(no file)": "extra"})
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--repair")
    assert (code, answer["differing"], len(answer["repairs"])) == (0, 0, 1), answer
    assert lab.loaded() == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5)]


def test_a_backfill_replaces_the_rows_of_exactly_its_files(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="in/**/*.csv")
    for name in ("a", "b", "c"):
        shelf.put(f"in/{name}.csv", f"id,version,word\n1,1,{name}\n2,1,{name}'\n".encode())
    assert lab.step_by_step("first").outcome == "ok"
    # Damage in two files; the third is overwritten, and its new version is not loaded yet.
    lab.bigquery.query_and_wait(f"DELETE FROM `{lab.path}` WHERE word = 'a'")
    lab.bigquery.query_and_wait(f"UPDATE `{lab.path}` SET version = 7 WHERE word LIKE 'b%'")
    shelf.put("in/c.csv", b"id,version,word\n3,2,c\n")
    code, answer = etl_runner(lab, "backfill", lab.source_id, "--only", "in/[ac].csv")
    assert (code, answer["outcome"]) == (0, "ok"), answer
    assert answer["receipt"]["rows_loaded"] == 3
    wanted = [(1, 1, "a"), (1, 7, "b"), (2, 1, "a'"), (2, 7, "b'"), (3, 2, "c")]
    assert lab.loaded("id, version, word") == wanted
    # What the backfill loaded is known: nothing comes twice.
    assert lab.step_by_step("regular").outcome == "ok"
    assert lab.loaded("id, version, word") == wanted
    assert lab.state().watermark is None


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
def test_a_backfill_of_a_time_appends_where_that_is_wanted(shelf: Shelf) -> None:
    lab = shelf.lab
    shelf.document(file_pattern="*.csv")
    shelf.put("a.csv", b"id,version\n1,1\n")
    assert lab.step_by_step("first").outcome == "ok"
    shelf.put("b.csv", b"id,version\n2,1\n")
    window = ("--from", "2020-01-01", "--to", "2999-01-01", "--append")
    code, answer = etl_runner(lab, "backfill", lab.source_id, *window)
    assert (code, answer["outcome"]) == (0, "ok"), answer
    assert lab.step_by_step("regular").outcome == "ok"
    assert lab.loaded() == [(1, 1), (1, 1), (2, 1)]
    for wrong, sentence in (
        (("--to", "2020-01-01"), "nothing to load again"),
        (("--from", "soon"), "--from: is no time"),
        ((), "give --from, --to or --only"),
    ):
        code, answer = etl_runner(lab, "backfill", lab.source_id, *wrong)
        assert (code, sentence in answer["error"]["message"]) == (3, True), answer
