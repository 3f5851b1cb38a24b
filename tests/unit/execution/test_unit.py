from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner.convert.rejects import Reject
from etl_runner.errors import CorruptStateError, PermanentError, RetryableError
from etl_runner.execution.manifest import manifest_name
from etl_runner.execution.unit import execute_unit, read_manifest
from etl_runner.planning.plan import WorkUnit
from etl_runner.state.memory import MemoryObjectStore
from tests.unit.execution.worlds import FakeSource, FaultyStore, batch_of, make_plan, names, rows_of


def test_a_unit_becomes_shards_and_a_manifest(tmp_path: Path) -> None:
    plan, store = make_plan(2), MemoryObjectStore()
    manifest = execute_unit(FakeSource(), plan.units[1], plan.header, store, workdir=tmp_path)
    assert (manifest.unit, manifest.read, manifest.rows, manifest.rejects) == ("u00001", 10, 10, 0)
    assert read_manifest(store, plan.header, "u00001") == manifest
    assert [row["id"] for row in rows_of(store, [manifest])] == list(range(10, 20))
    assert manifest.bytes == sum(shard.bytes for shard in manifest.shards)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_unit_has_a_manifest_without_shards(tmp_path: Path) -> None:
    plan, store = make_plan(1), MemoryObjectStore()
    source = FakeSource(batches=lambda unit: [batch_of([])])
    manifest = execute_unit(source, plan.units[0], plan.header, store, workdir=tmp_path)
    assert (manifest.read, manifest.rows, manifest.shards) == (0, 0, ())
    assert names(store) == [manifest_name("run1", 7, "u00000")]


def test_a_finished_unit_is_not_read_again(tmp_path: Path) -> None:
    plan, store = make_plan(1), MemoryObjectStore()
    first = execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)

    def refuse(unit: WorkUnit, number: int) -> None:
        raise AssertionError("read again")

    assert execute_unit(FakeSource(refuse), plan.units[0], plan.header, store, workdir=tmp_path) == first


def test_a_stalled_attempt_that_wakes_after_the_other_one_takes_its_shards_back(tmp_path: Path) -> None:
    plan, store = make_plan(1), MemoryObjectStore()
    winners = []

    def stall(unit: WorkUnit, number: int) -> None:
        if number == 1:
            winners.append(execute_unit(FakeSource(), unit, plan.header, store, workdir=tmp_path))

    late = execute_unit(FakeSource(stall), plan.units[0], plan.header, store, workdir=tmp_path)
    assert [late] == winners
    assert [name for name in names(store) if "/shards/" in name] == [shard.name for shard in late.shards]
    assert [row["id"] for row in rows_of(store, [late])] == list(range(10))


def test_a_lost_response_to_the_manifest_is_our_own_success(tmp_path: Path) -> None:
    """The store's own retry finds the name taken by the attempt that it repeats."""

    class Repeating(MemoryObjectStore):
        def create(
            self,
            name: str,
            data: bytes,
            content_type: str = "application/json",
            metadata: Mapping[str, str] | None = None,
        ) -> int:
            del metadata
            generation = super().create(name, data)
            if "/units/" in name or "/shards/" in name:
                super().create(name, data)
            return generation

    plan, store = make_plan(1), Repeating()
    manifest = execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)
    assert [row["id"] for row in rows_of(store, [manifest])] == list(range(10))


def test_shards_stay_when_nobody_knows_whether_the_manifest_was_written(tmp_path: Path) -> None:
    plan = make_plan(1)
    recorder = FaultyStore()
    execute_unit(FakeSource(), plan.units[0], plan.header, recorder, workdir=tmp_path)
    at = next(k for k, call in enumerate(recorder.calls) if call.startswith("create") and "/units/" in call)
    store = FaultyStore(at, "after")
    with pytest.raises(RetryableError):
        execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)
    store.revive()
    manifest = execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)
    assert [row["id"] for row in rows_of(store, [manifest])] == list(range(10))


def test_a_failed_attempt_takes_its_shards_back(tmp_path: Path) -> None:
    def die(unit: WorkUnit, number: int) -> None:
        if number == 1:
            raise RetryableError("connection lost")

    plan, store = make_plan(1), MemoryObjectStore()
    with pytest.raises(RetryableError, match="connection lost"):
        execute_unit(FakeSource(die), plan.units[0], plan.header, store, workdir=tmp_path)
    assert names(store) == []
    assert list(tmp_path.iterdir()) == []


def bad_batches(unit: WorkUnit) -> Iterator[pa.RecordBatch]:
    yield batch_of([1, 2], ["1.25", "2.5"])
    yield batch_of([3, 4, 5], ["3.125", "4", "NaN"])


def test_a_bad_row_fails_the_unit_and_its_value_stays_out_of_the_message(tmp_path: Path) -> None:
    plan, store = make_plan(1), MemoryObjectStore()
    source = FakeSource(batches=lambda unit: list(bad_batches(unit)))
    with pytest.raises(
        PermanentError, match=r"unit u00000, row 3: column 'amount' is not a number"
    ) as caught:
        execute_unit(source, plan.units[0], plan.header, store, workdir=tmp_path)
    assert "3.125" not in str(caught.value)
    assert names(store) == []


def test_bad_rows_are_kept_with_value_and_reason(tmp_path: Path) -> None:
    plan, store = make_plan(1, on_bad_row="reject", max_rejects=2), MemoryObjectStore()
    source = FakeSource(batches=lambda unit: list(bad_batches(unit)))
    manifest = execute_unit(source, plan.units[0], plan.header, store, workdir=tmp_path)
    assert (manifest.read, manifest.rows, manifest.rejects) == (5, 3, 2)
    assert [row["id"] for row in rows_of(store, [manifest])] == [1, 2, 4]
    assert manifest.rejects_object is not None
    stored = store.read(manifest.rejects_object)
    assert stored is not None
    rejects = [Reject.from_line(line) for line in stored.data.splitlines()]
    assert [(r.unit, r.row, r.column, r.value) for r in rejects] == [
        ("u00000", 3, "amount", "3.125"),
        ("u00000", 5, "amount", "NaN"),
    ]
    assert rejects[0].record == '{"amount":"3.125","id":"3","name":"name 3"}'


def test_more_bad_rows_than_allowed_fail_the_unit(tmp_path: Path) -> None:
    plan, store = make_plan(1, on_bad_row="reject", max_rejects=1), MemoryObjectStore()
    source = FakeSource(batches=lambda unit: list(bad_batches(unit)))
    with pytest.raises(PermanentError, match=r"more bad rows than max_rejects allows \(1\)"):
        execute_unit(source, plan.units[0], plan.header, store, workdir=tmp_path)
    assert names(store) == []


def test_metadata_columns_are_the_same_in_every_attempt(tmp_path: Path) -> None:
    plan = make_plan(1, metadata=("_etl_run_id", "_etl_loaded_at"))
    found = []
    for _ in range(2):
        store = MemoryObjectStore()
        manifest = execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)
        found.append(rows_of(store, [manifest]))
    assert found[0] == found[1]
    assert found[0][0]["_etl_run_id"] == "run1"
    assert found[0][0]["_etl_loaded_at"].isoformat() == "2026-01-02T03:04:05+00:00"


def test_a_manifest_that_does_not_add_up_is_refused(tmp_path: Path) -> None:
    plan, store = make_plan(1), MemoryObjectStore()
    store.create(manifest_name("run1", 7, "u00000"), b'{"unit":"u00000"}')
    with pytest.raises(CorruptStateError):
        execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)


def test_shards_are_parquet_as_bigquery_reads_it(tmp_path: Path) -> None:
    plan, store = make_plan(1), MemoryObjectStore()
    manifest = execute_unit(FakeSource(), plan.units[0], plan.header, store, workdir=tmp_path)
    stored = store.read(manifest.shards[0].name)
    assert stored is not None
    file = pq.ParquetFile(pa.BufferReader(stored.data))
    column = file.schema.column(2)
    assert (str(column.logical_type), file.metadata.row_group(0).column(2).compression) == (
        "Decimal(precision=12, scale=2)",
        "ZSTD",
    )
    assert file.metadata.row_group(0).column(0).statistics.max == 9
