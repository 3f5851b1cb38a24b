from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner.errors import ObjectExists, RetryableError
from etl_runner.execution.shard_writer import ShardWriter, WriterOptions, repeating_columns
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectInfo
from tests.unit.execution.worlds import names

SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("text", pa.string())])


def batch(start: int, rows: int, width: int = 100) -> pa.RecordBatch:
    ids = list(range(start, start + rows))
    texts = [f"{number:0{width}d}" for number in ids]
    return pa.record_batch([pa.array(ids), pa.array(texts)], schema=SCHEMA)


def shard_object(number: int) -> str:
    return f"shards/u-{number}.parquet"


def read(store: MemoryObjectStore, name: str) -> pq.ParquetFile:
    stored = store.read(name)
    assert stored is not None
    return pq.ParquetFile(pa.BufferReader(stored.data))


def test_row_groups_are_cut_by_bytes_and_rows_keep_their_order(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    options = WriterOptions(row_group_bytes=20_000)
    with ShardWriter(store, shard_object, SCHEMA, tmp_path, options) as writer:
        for start in range(0, 2_000, 50):
            writer.write(batch(start, 50))
        writer.write(batch(2_000, 3_000))
        shards = writer.finish()
    file = read(store, shards[0].name)
    assert file.read().column("id").to_pylist() == list(range(5_000))
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
    # 112 bytes a row: 178 rows make a group, and what was pending before a large batch goes with it.
    assert max(sizes) <= 2 * 178
    assert sum(sizes) == shards[0].rows == 5_000


def test_shards_rotate_and_their_local_files_go(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    options = WriterOptions(row_group_bytes=20_000, shard_bytes=10_000, compression="none")
    with ShardWriter(store, shard_object, SCHEMA, tmp_path, options) as writer:
        writer.write(batch(0, 2_000))
        shards = writer.finish()
    assert len(shards) > 5
    assert [shard.name for shard in shards] == [shard_object(k) for k in range(len(shards))]
    ids = [i for shard in shards for i in read(store, shard.name).read().column("id").to_pylist()]
    assert ids == list(range(2_000))
    assert all(shard.bytes == len(store.read(shard.name).data) for shard in shards)  # type: ignore[union-attr]
    assert list(tmp_path.iterdir()) == []


def test_the_reader_waits_for_a_slow_writer(tmp_path: Path) -> None:
    go_on = threading.Event()

    class Slow(MemoryObjectStore):
        def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
            go_on.wait(10)
            return super().create_from_file(name, path, content_type)

    options = WriterOptions(row_group_bytes=1_000, shard_bytes=1, queue_batches=2)
    handed_over = []
    with ShardWriter(Slow(), shard_object, SCHEMA, tmp_path, options) as writer:

        def feed() -> None:
            for number in range(10):
                writer.write(batch(number * 100, 100))
                handed_over.append(number)

        feeder = threading.Thread(target=feed)
        feeder.start()
        feeder.join(0.5)
        # One batch is being written and two wait; the feeder holds the fourth.
        assert feeder.is_alive()
        assert len(handed_over) <= 3
        go_on.set()
        feeder.join(10)
        assert sum(shard.rows for shard in writer.finish()) == 1_000


def test_a_failing_upload_reaches_the_reader(tmp_path: Path) -> None:
    class Down(MemoryObjectStore):
        def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
            raise RetryableError("503")

    options = WriterOptions(row_group_bytes=1_000, shard_bytes=1)
    with (
        pytest.raises(RetryableError, match="503"),
        ShardWriter(Down(), shard_object, SCHEMA, tmp_path, options) as writer,
    ):
        for number in range(100):
            writer.write(batch(number * 100, 100))
    assert list(tmp_path.iterdir()) == []


def test_leaving_without_finish_takes_everything_back(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    options = WriterOptions(row_group_bytes=1_000, shard_bytes=1)
    with pytest.raises(KeyError), ShardWriter(store, shard_object, SCHEMA, tmp_path, options) as writer:
        for number in range(20):
            writer.write(batch(number * 100, 100))
        raise KeyError
    assert names(store) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_written_makes_no_shard(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    with ShardWriter(store, shard_object, SCHEMA, tmp_path) as writer:
        assert writer.finish() == ()
    assert names(store) == []


def test_dictionaries_only_where_values_repeat() -> None:
    table = pa.table(
        {
            "key": range(1_000),
            "state": ["open", "closed"] * 500,
            "flag": [True, False] * 500,
            "tags": [["a", "b"]] * 1_000,
            "empty": pa.nulls(1_000, pa.string()),
        }
    )
    assert repeating_columns(table) == ["state", "tags.list.element", "empty"]


@pytest.mark.parametrize("batches", [1, 2])
def test_a_folder_without_room_says_so_and_may_be_tried_again(batches: int, tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    with (
        pytest.raises(RetryableError, match=r"could not be written to .*gone"),
        ShardWriter(MemoryObjectStore(), shard_object, SCHEMA, missing) as writer,
    ):
        for number in range(batches):
            writer.write(batch(number * 1_000, 1_000))
        writer.finish()


SMALL, ON_DISK = 100, 1_000
"""Rows of a batch that is encoded in memory, and of one that is not."""


@pytest.mark.parametrize(("batches", "rows"), [(1, SMALL), (1, ON_DISK), (2, SMALL), (3, ON_DISK)])
def test_however_it_is_written_a_shard_holds_the_same(batches: int, rows: int, tmp_path: Path) -> None:
    store = MemoryObjectStore()
    with ShardWriter(store, shard_object, SCHEMA, tmp_path) as writer:
        for number in range(batches):
            writer.write(batch(number * rows, rows))
        (shard,) = writer.finish()
    file = read(store, shard.name)
    assert file.schema_arrow.equals(SCHEMA)
    assert file.read().to_batches()[0].to_pylist()[0] == {"id": 0, "text": "0" * 100}
    assert file.read().column("id").to_pylist() == list(range(batches * rows))
    assert (shard.rows, shard.bytes) == (batches * rows, len(store.read(shard.name).data))  # type: ignore[union-attr]
    key, text = (file.metadata.row_group(0).column(at) for at in (0, 1))
    assert (key.statistics.min, key.statistics.max) == (0, batches * rows - 1)
    assert text.statistics is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [SMALL, ON_DISK])
def test_one_batch_is_written_without_a_thread(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", None)
    with ShardWriter(MemoryObjectStore(), shard_object, SCHEMA, tmp_path) as writer:
        writer.write(batch(0, rows))
        assert [shard.rows for shard in writer.finish()] == [rows]


def test_a_small_unit_touches_no_disk(tmp_path: Path) -> None:
    with ShardWriter(MemoryObjectStore(), shard_object, SCHEMA, tmp_path / "gone") as writer:
        writer.write(batch(0, SMALL))
        assert [shard.rows for shard in writer.finish()] == [SMALL]


def test_an_empty_batch_makes_no_shard(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    with ShardWriter(store, shard_object, SCHEMA, tmp_path) as writer:
        writer.write(batch(0, 0))
        assert writer.finish() == ()
    assert names(store) == []


class Lossy(MemoryObjectStore):
    """Does what it is told; the answer says that it had been done before."""

    def create(self, name: str, *args: Any, **options: Any) -> int:
        super().create(name, *args, **options)
        raise ObjectExists(name)

    def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
        MemoryObjectStore.create(self, name, Path(path).read_bytes(), content_type)
        raise ObjectExists(name)


@pytest.mark.parametrize("rows", [SMALL, ON_DISK])
def test_an_upload_whose_answer_was_lost_is_ours(rows: int, tmp_path: Path) -> None:
    store = Lossy()
    with ShardWriter(store, shard_object, SCHEMA, tmp_path) as writer:
        writer.write(batch(0, rows))
        (shard,) = writer.finish()
    assert read(store, shard.name).metadata.num_rows == rows
