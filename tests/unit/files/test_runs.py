"""What runs of file sources do, on stores in memory."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from etl_runner.sources.files import look
from etl_runner.state.ledger import COMPACT_FROM
from etl_runner.state.store import StateStore
from tests.faults.files_world import SOURCE, FilesWorld


def test_rows_know_their_file_and_the_ledger_knows_every_file() -> None:
    world = FilesWorld()
    a = world.bucket.put("a.csv", b"id,name\n1,x\n2,y\n")
    b = world.bucket.put("deep/er/b.csv", b"id,name\n3,z\n")
    world.bucket.put("a.txt", b"no")
    world.bucket.put("deep/", b"")
    assert world.receipt()["rows_loaded"] == 3
    assert {(row["id"], row["_etl_source_file"]) for row in world.rows} == {
        (1, a.uri),
        (2, a.uri),
        (3, b.uri),
    }
    for entry, file in zip(world.ledger(), (a, b), strict=True):
        assert (entry.uri, entry.version, entry.size, entry.modified) == (
            file.uri,
            file.version,
            file.size,
            file.modified,
        )
        assert (entry.name, entry.outcome, entry.run_id) == (file.name, "loaded", "r1")


@pytest.mark.parametrize(
    ("policy", "outcome", "ids", "recorded"),
    [
        ("append", "ok", [1, 9], ["loaded", "loaded"]),
        ("ignore", "ok", [1], ["loaded", "ignored"]),
        ("fail", "failed", [1], ["loaded"]),
    ],
)
def test_an_overwritten_file(policy: str, outcome: str, ids: list[int], recorded: list[str]) -> None:
    world = FilesWorld(on_overwrite=policy)
    world.bucket.put("a.csv", b"id\n1\n")
    world.run()
    world.bucket.put("a.csv", b"id\n9\n")
    receipt = world.receipt()
    assert receipt["outcome"] == outcome
    assert world.column("id") == ids
    assert [entry.outcome for entry in world.ledger()] == recorded
    if policy == "fail":
        assert "gs://inbox/a.csv was loaded before and has been overwritten" in receipt["reason"]
    else:
        # What was decided once is not decided again.
        assert world.receipt()["engine"] == "none"
        assert len(world.ledger()) == 2


@pytest.mark.parametrize(
    ("selection", "order_by", "ids"),
    [("latest", "last_modified", [1]), ("latest", "name", [3]), ("all", "last_modified", [1, 2, 3])],
)
def test_a_catalog_is_the_latest_file_or_all(selection: str, order_by: str, ids: list[int]) -> None:
    world = FilesWorld(load_type="catalog", file_selection=selection, order_by=order_by)
    world.bucket.put("a.csv", b"id\n1\n", "2026-03-01T00:00:00Z")
    world.bucket.put("b.csv", b"id\n2\n", "2026-01-01T00:00:00Z")
    world.bucket.put("c.csv", b"id\n3\n", "2026-02-01T00:00:00Z")
    world.run()
    assert world.column("id") == ids
    world.run()
    assert world.column("id") == ids


@pytest.mark.parametrize("emptied", ["no file", "no rows"])
def test_an_empty_bucket_leaves_a_catalog_alone_unless_that_is_meant(emptied: str) -> None:
    for allowed in (False, True):
        world = FilesWorld(load_type="catalog", allow_empty=allowed)
        world.bucket.put("a.csv", b"id\n1\n")
        world.run()
        world.bucket.delete("a.csv")
        if emptied == "no rows":
            world.bucket.put("b.csv", b"id\n")
        receipt = world.receipt()
        assert receipt["outcome"] == ("ok" if allowed else "failed")
        assert world.column("id") == ([] if allowed else [1])


def test_an_event_run_loads_the_files_it_names_and_no_other() -> None:
    world = FilesWorld()
    a = world.bucket.put("a.csv", b"id\n1\n")
    b = world.bucket.put("b.csv", b"id\n2\n")
    world.bucket.put("c.csv", b"id\n3\n")
    assert world.receipt((a, b, a))["rows_loaded"] == 2
    assert world.receipt((b,))["engine"] == "none"
    assert world.column("id") == [1, 2]
    assert world.bucket.lists == []
    world.run()
    assert world.column("id") == [1, 2, 3]


def test_a_file_that_is_replaced_while_it_is_read_ends_the_run_and_the_next_takes_the_new_version() -> None:
    world = FilesWorld()
    world.bucket.put("a.csv", b"id\n1\n2\n")
    reads = 0

    def replace(name: str) -> None:
        nonlocal reads
        reads += 1
        if reads == 6:
            world.bucket.put("a.csv", b"id\n7\n8\n")

    world.bucket.before_read = replace
    receipt = world.receipt()
    assert reads >= 6
    assert receipt["outcome"] == "failed"
    assert "gs://inbox/a.csv is not version 1 any more" in receipt["reason"]
    assert (world.rows, world.ledger()) == ([], [])
    world.run()
    assert world.column("id") == [7, 8]
    assert [entry.version for entry in world.ledger()] == ["2"]


@pytest.mark.parametrize("rest", [b'{"id": 2, "late": 7}', b'{"id": 2, "late": {"x": [1]}}'])
def test_a_key_beyond_the_sample_ends_the_run_and_the_next_plan_knows_it(rest: bytes) -> None:
    world = FilesWorld(file_pattern="*.jsonl")
    lines = b'{"id": 1, "text": "%s"}\n' % (b"x" * 2_000) * 3_000
    world.bucket.put("a.jsonl", lines + rest + b"\n")
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    assert "gs://inbox/a.jsonl has columns that the plan does not know: 'late'" in receipt["reason"]
    assert receipt["unplanned"] == {"late": "gs://inbox/a.jsonl"}
    assert world.receipt()["outcome"] == "ok"
    assert len(world.rows) == 3_001
    late = [row["late"] for row in world.rows if row.get("late") is not None]
    assert len(late) == 1


def test_with_drift_ignored_such_a_key_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    world = FilesWorld(file_pattern="*.jsonl", schema_drift="ignore")
    lines = b'{"id": 1, "text": "%s"}\n' % (b"x" * 2_000) * 3_000
    world.bucket.put("a.jsonl", lines + b'{"id": 2, "late": 7}\n')
    assert world.receipt()["outcome"] == "ok"
    assert len(world.rows) == 3_001
    assert "gs://inbox/a.jsonl has columns that are left out (schema_drift: ignore): 'late'" in caplog.text


def test_known_columns_that_are_not_selected_surprise_nobody() -> None:
    world = FilesWorld(file_pattern="*.jsonl", selected_columns=["id"])
    world.bucket.put("a.jsonl", b'{"id": 1, "x": 5}\n{"id": 2, "x": "text"}\n{"id": 3, "x": {"y": 1}}\n')
    assert world.receipt()["outcome"] == "ok"
    assert world.column("id") == [1, 2, 3]
    assert "x" not in world.rows[0]


def test_many_small_files_become_few_units() -> None:
    world = FilesWorld()
    for number in range(1_200):
        world.bucket.put(f"{number:05}.csv", b"id\n%d\n" % number)
    receipt = world.receipt()
    assert (receipt["rows_loaded"], receipt["units"]) == (1_200, 3)
    assert world.column("id") == list(range(1_200))
    assert any("were not looked at" in note for note in receipt["notes"])


def test_rejects_are_the_files_own() -> None:
    world = FilesWorld(on_bad_row="reject", column_mapping={"n": "n"})
    world.bucket.put("a.csv", b"id,n\n1,1\n2,2,2\n3,3\n")
    world.bucket.put("b.csv", b"id,n\n4,4\n")
    receipt = world.receipt()
    assert (receipt["rows_loaded"], receipt["rows_read"], receipt["rejects"]) == (3, 4, 1)
    assert [(entry.rows, entry.rejects) for entry in world.ledger()] == [(2, 1), (1, 0)]


def test_the_ledger_is_made_one_segment_when_there_are_many() -> None:
    world = FilesWorld()
    for number in range(COMPACT_FROM + 1):
        world.bucket.put(f"{number}.csv", b"id\n%d\n" % number)
        world.run()
    segments = StateStore(world.state, SOURCE).read().ledger
    assert len(segments) == 2
    assert len(world.ledger()) == COMPACT_FROM + 1
    assert world.receipt()["engine"] == "none"


def test_large_plain_files_are_read_in_parts_that_tile_them() -> None:
    lines = [b'{"id": %d, "text": "%s"}' % (number, b"y" * 90) for number in range(60_000)]
    world = FilesWorld(file_pattern="*.jsonl", unit_rows=10_000)
    world.bucket.put("a.jsonl", b"\n".join(lines))
    receipt = world.receipt()
    assert receipt["units"] > 3
    assert world.column("id") == list(range(60_000))
    (entry,) = world.ledger()
    assert entry.rows == 60_000


def test_texts_are_not_loaded_by_bigquery_itself_and_the_plan_says_so() -> None:
    asked = FilesWorld(engine="bigquery", exact_generation=False)
    asked.bucket.put("a.csv", b"id\n1\n")
    assert "engine: bigquery is not possible: csv files declare no types" in asked.receipt()["reason"]
    allowed = FilesWorld(exact_generation=False)
    allowed.bucket.put("a.csv", b"id\n1\n")
    receipt = allowed.receipt()
    assert receipt["outcome"] == "ok"
    assert any("BigQuery does not do it alone" in note for note in receipt["notes"])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_upsert_of_a_file_without_its_key_is_refused_by_the_plan(ending: str) -> None:
    def table(name: str) -> bytes:
        out = io.BytesIO()
        columns = pa.table({name: [1], "text": ["x"]})
        if ending == "csv":
            csv.write_csv(columns, out)
        else:
            pq.write_table(columns, out)
        return out.getvalue()

    world = FilesWorld(load_type="upsert", primary_key_column="id", file_pattern=f"*.{ending}")
    world.bucket.put(f"a.{ending}", table("id"))
    world.bucket.put(f"b.{ending}", table("ID_"))
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    assert f"gs://inbox/b.{ending} lacks the key column 'id' (primary_key_column)" in receipt["reason"]
    assert world.bigquery.submitted == []


def test_an_upsert_notices_a_file_without_its_key_that_was_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(look, "CLOSELY", 4)
    monkeypatch.setattr(look, "BRIEFLY", 4)
    world = FilesWorld(load_type="upsert", primary_key_column="id", file_pattern="*.csv")
    for number in range(5):
        world.bucket.put(f"{number}.csv", b"id,text\n%d,x\n" % number)
    world.bucket.put("1.csv", b"text\nxxxxxx\n", modified="2026-01-01T00:00:00.000003Z")
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    assert "1.csv" in receipt["reason"]
    assert "'id'" in receipt["reason"]
