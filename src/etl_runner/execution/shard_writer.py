"""Parquet shards, written behind the reader's back.

Encoding and compressing cost as much as decoding what the database sends, so they happen in a thread of
their own while the next batch is read; the queue between the two is short, which bounds the memory. A unit of
one batch has nothing that could be read meanwhile, so it needs no thread; and a small one no file either.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl_runner.errors import EtlError, ObjectExists, RetryableError
from etl_runner.execution.manifest import Shard
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

PARQUET = "application/vnd.apache.parquet"
MIB = 1 << 20


@dataclass(frozen=True)
class WriterOptions:
    """How shards are cut. Sizes in bytes.

    BigQuery advises row groups of at least 16 MiB
    (https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet); a row group is buffered
    as a whole, so its size is also what the writer costs in memory.
    """

    row_group_bytes: int = 16 * MIB
    """Size of the Arrow data that makes a row group."""
    shard_bytes: int = 256 * MIB
    """A shard that has reached this size is closed and the next one begun. It lies in the working
    directory until it is uploaded: on Cloud Run that is memory."""
    queue_batches: int = 2
    """Batches that may wait for the writer."""
    dictionary_sample: int = 8_192
    """Rows of the first batch that decide whether a column repeats."""
    compression: str = "zstd"
    small_bytes: int = 64 << 10
    """A unit of no more Arrow data than this, in one batch, is encoded in memory and quickly: without a
    dictionary, and with Snappy, since zstd takes longer to begin than to compress so little."""


class ShardWriter:
    """Writes batches into shards and uploads each shard when it is full.

    Args:
        objects: the staging bucket.
        name_of: the object name of shard number n, from 0; never used by anybody else.
        schema: of every batch.
        workdir: where a shard lies until it is uploaded.

    Use as a context manager: leaving it without :meth:`finish` stops the thread, removes the local file
    and deletes the shards uploaded so far.
    """

    def __init__(
        self,
        objects: ObjectStore,
        name_of: Callable[[int], str],
        schema: pa.Schema,
        workdir: Path,
        options: WriterOptions | None = None,
    ) -> None:
        self._objects = objects
        self._name_of = name_of
        self._schema = schema
        self._workdir = workdir
        self._options = options or WriterOptions()
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(self._options.queue_batches)
        self._cancelled = threading.Event()
        self._first: pa.RecordBatch | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._shards: list[Shard] = []
        self._open: _OpenShard | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._dictionary: list[str] | None = None
        self._finished = False

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self.abort()

    def write(self, batch: pa.RecordBatch) -> None:
        """Hand a batch over; waits while the writer is behind.

        Raises:
            RetryableError, PermanentError: the writer has failed.
        """
        if self._writing is None:
            if self._first is None:
                self._first = batch
                return
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="shard-writer")
            self._writing = self._executor.submit(self._run)
            first, self._first = self._first, None
            self._put(self._writing, first)
            del first
        self._put(self._writing, batch)

    def finish(self) -> tuple[Shard, ...]:
        """Write what is left, upload the last shard and return all of them, in order.

        Raises:
            RetryableError, PermanentError: the writer has failed.
        """
        if self._writing is not None:
            self._put(self._writing, None)
            self._writing.result()
        elif self._first is not None:
            first, self._first = self._first, None
            if first.nbytes <= min(self._options.small_bytes, self._options.row_group_bytes):
                self._write_small(first)
            else:
                with self._on_disk():
                    self._add(first)
                    self._flush()
                    self._close_shard()
        self._shut_down()
        self._finished = True
        return tuple(self._shards)

    def abort(self) -> None:
        """Stop, and take back what was uploaded as far as the store lets us."""
        self._finished = True
        self._cancelled.set()
        if self._writing is not None:
            while not self._writing.done():
                self._drain()
                wait([self._writing], timeout=0.05)
        self._shut_down()
        delete_quietly(self._objects, [shard.name for shard in self._shards])

    def _shut_down(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()

    def _put(self, writing: Future[None], item: pa.RecordBatch | None) -> None:
        while True:
            if writing.done():
                # It ends before it is told to only by failing: raise what it died of.
                writing.result()
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _drain(self) -> None:
        """Make room, so that the thread that waits for a batch can be told that there is none."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def _run(self) -> None:
        with self._on_disk():
            while not self._cancelled.is_set():
                batch = self._queue.get()
                if batch is None:
                    break
                self._add(batch)
                # The queue's slot is free; nothing here may keep the batch alive while it waits.
                del batch
            if not self._cancelled.is_set():
                self._flush()
                self._close_shard()

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Another attempt starts with an empty folder, perhaps on another machine.
            raise RetryableError(
                f"a shard could not be written to {self._workdir}: {error.strerror or error}; it needs room "
                f"for one shard of {self._options.shard_bytes >> 20} MiB for each unit read at a time"
            ) from error
        finally:
            if self._open is not None:
                self._open.discard()
                self._open = None

    def _add(self, batch: pa.RecordBatch) -> None:
        rows = batch.num_rows
        if rows == 0:
            return
        size = max(batch.nbytes, 1)
        # Batches from a source that sends larger ones are cut, or one row group would hold it all.
        step = max(1, rows * self._options.row_group_bytes // size)
        for start in range(0, rows, step):
            piece = batch.slice(start, step)
            self._pending.append(piece)
            self._pending_bytes += size * piece.num_rows // rows
            if self._pending_bytes >= self._options.row_group_bytes:
                self._flush()

    def _flush(self) -> None:
        """Write what is pending as one row group."""
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending, self._schema)
        self._pending, self._pending_bytes = [], 0
        if self._dictionary is None:
            self._dictionary = repeating_columns(table.slice(0, self._options.dictionary_sample))
        if self._open is None:
            path = self._workdir / f"{self._name_of(len(self._shards)).replace('/', '_')}"
            self._open = _OpenShard(path, self._schema, self._dictionary, self._options)
        self._open.write(table)
        if self._open.size >= self._options.shard_bytes:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._open is None:
            return
        shard = self._open
        rows, size = shard.close()
        name = self._name_of(len(self._shards))
        with _ours(name):
            self._objects.create_from_file(name, str(shard.path), PARQUET)
        self._shards.append(Shard(name=name, rows=rows, bytes=size))
        shard.discard()
        self._open = None

    def _write_small(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        with pa.BufferOutputStream() as sink:
            with _parquet(sink, self._schema, [], "snappy") as writer:
                writer.write_batch(batch, row_group_size=batch.num_rows)
            data = sink.getvalue().to_pybytes()
        name = self._name_of(0)
        with _ours(name):
            self._objects.create(name, data, PARQUET)
        self._shards.append(Shard(name=name, rows=batch.num_rows, bytes=len(data)))


@contextlib.contextmanager
def _ours(name: str) -> Iterator[None]:
    """A shard's name holds this attempt's random token: if it exists, a lost response hid our own success."""
    try:
        yield
    except ObjectExists:
        log.debug("shard %s had been written", name)


class _OpenShard:
    """One local Parquet file being written."""

    def __init__(self, path: Path, schema: pa.Schema, dictionary: list[str], options: WriterOptions) -> None:
        self.path = path
        self._rows = 0
        self._file = pa.OSFile(str(path), "wb")
        self._writer = _parquet(self._file, schema, dictionary, options.compression)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return int(self._file.tell())

    def write(self, table: pa.Table) -> None:
        """Append ``table`` as one row group."""
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._rows += table.num_rows

    def close(self) -> tuple[int, int]:
        """Write the footer; rows and bytes of the file."""
        self._writer.close()
        size = self.size
        self._file.close()
        return self._rows, size

    def discard(self) -> None:
        """Close and remove the file, in whatever state it is."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def _parquet(
    sink: pa.NativeFile, schema: pa.Schema, dictionary: list[str], compression: str
) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        schema,
        compression=compression,
        use_dictionary=dictionary or False,
        write_statistics=_with_statistics(schema),
        version="2.6",
        store_schema=False,
    )


def _with_statistics(schema: pa.Schema) -> list[str] | bool:
    """The columns whose least and greatest values anybody asks for (execution/bounds.py): not texts, bytes
    and decimals, where finding them costs most. With a nested column, all of them."""
    if any(pa.types.is_nested(field.type) for field in schema):
        return True
    return [field.name for field in schema if not _is_long(field.type)] or False


def _is_long(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_decimal(kind))


def repeating_columns(sample: pa.Table) -> list[str]:
    """The Parquet paths of the columns whose values repeat in ``sample``: at most one in four is new.

    A dictionary on a column that does not repeat is built, found too large and thrown away.
    """
    paths: list[str] = []
    for field in sample.schema:
        values = sample.column(field.name)
        path = field.name
        kind = field.type
        if pa.types.is_list(kind):
            values, path, kind = pc.list_flatten(values), f"{field.name}.list.element", kind.value_type
        if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or len(values) == 0:
            continue
        if pc.count_distinct(values, mode="all").as_py() * 4 <= len(values):
            paths.append(path)
    return paths


def delete_quietly(objects: ObjectStore, names: list[str]) -> None:
    """Delete objects that nobody refers to. A failure is only logged: the staging bucket's lifecycle rule
    removes what stays behind."""
    for name in names:
        try:
            objects.delete(name)
        except EtlError as error:
            log.info("left %s behind: %s", name, type(error).__name__)
            return
