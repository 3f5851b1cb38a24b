"""The ledger: which files of a source are committed.

A segment is one create-only Parquet object a commit, ``sources/<id>/ledger/<epoch>-<run_id>.parquet``; only
those listed in the state count, so that a segment becomes valid in the very compare-and-swap that commits
its run. When there are many, one segment takes the place of all (:meth:`Ledger.compact`).

A file is known by its URI and its version: the generation on Cloud Storage, the etag elsewhere.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from etl_runner.errors import CorruptStateError, ObjectExists
from etl_runner.state.document import State
from etl_runner.state.notes import untold_runs
from etl_runner.state.objects import ObjectStore
from etl_runner.state.store import StateStore

if TYPE_CHECKING:
    import pyarrow as pa

_PARQUET = "application/vnd.apache.parquet"
_COMPACTED = "compacted.parquet"
LOADED, REPLACED, APPENDED, ADOPTED = "loaded", "replaced", "appended", "adopted"
COMPACT_FROM = 50
"""Segments from which on it pays to make one of them."""


@dataclass(frozen=True)
class LedgerEntry:
    """One committed file. ``version`` is its generation or etag; ``size`` in bytes; ``modified`` RFC 3339;
    ``rows`` those that were loaded; ``outcome`` is ``loaded``, ``ignored``, ``adopted``, ``replaced`` or
    ``appended`` (a backfill's, whose rows took the place of all that were there of the file, or came beside
    them), or ``replayed`` of a run's rejects, whose ``uri`` is ``rejects:<run id>``; ``run_id`` the run that
    committed it; ``rejects`` rows that were not loaded."""

    uri: str
    version: str
    size: int
    modified: str
    rows: int
    outcome: str
    run_id: str
    rejects: int = 0

    @property
    def name(self) -> str:
        """The object's name within its bucket."""
        return self.uri.partition("://")[2].partition("/")[2]

    @property
    def key(self) -> tuple[str, str]:
        """What makes a file this file."""
        return self.uri, self.version


def segment_name(source_id: str, run_id: str, epoch: int) -> str:
    """The object that holds one run's segment."""
    return f"sources/{source_id}/ledger/{epoch}-{run_id}.parquet"


class Ledger:
    """One source's ledger in the state bucket."""

    def __init__(self, objects: ObjectStore, source_id: str) -> None:
        self._objects = objects
        self._source_id = source_id

    def write(self, run_id: str, epoch: int, entries: Sequence[LedgerEntry]) -> str:
        """Write a run's segment and return its name. Counts only once the state lists it; of two writers
        of the same run's segment the first one's stands (they write the same)."""
        name = segment_name(self._source_id, run_id, epoch)
        with contextlib.suppress(ObjectExists):
            self._objects.create(name, _to_parquet(entries), _PARQUET)
        return name

    def read(self, state: State) -> Iterator[LedgerEntry]:
        """All entries of the segments that the state lists, oldest segment first.

        Raises:
            CorruptStateError: a listed segment is gone or cannot be read.
        """
        for name in state.ledger:
            yield from self.segment(name)

    def segment(self, name: str) -> Iterator[LedgerEntry]:
        """The entries of one segment.

        Raises:
            CorruptStateError: it is gone or cannot be read.
        """
        yield from _entries(self._segment(name))

    def known(self, state: State) -> set[tuple[str, str]]:
        """The keys of all committed files: about 300 bytes of memory a file."""
        keys: set[tuple[str, str]] = set()
        for name in state.ledger:
            segment = self._segment(name)
            keys.update(
                zip(segment.column("uri").to_pylist(), segment.column("version").to_pylist(), strict=True)
            )
        return keys

    def adopted(self, state: State) -> set[str]:
        """The URIs of files that another system loaded."""
        found: set[str] = set()
        for name in state.ledger:
            segment = self._segment(name)
            outcomes = segment.column("outcome").to_pylist()
            uris = segment.column("uri").to_pylist()
            found.update(uri for uri, outcome in zip(uris, outcomes, strict=True) if outcome == ADOPTED)
        return found

    def compact(self, store: StateStore) -> bool:
        """Make one segment of all, if there are many and no run holds the slot. Whether it was done. Of a
        file that was loaded again (a catalog's) the latest entry stays, and each that was appended to it.

        The new segment is written first, then takes the others' place in one compare-and-swap; killed in
        between, it is an object that nobody lists. What the compaction before this one replaced is deleted.
        """
        before = store.read()
        if len(before.ledger) < COMPACT_FROM or before.slot is not None:
            return False
        name = f"sources/{self._source_id}/ledger/{before.epoch}-{_COMPACTED}"
        # An earlier attempt may have written it: the epoch names exactly which segments they were.
        with contextlib.suppress(ObjectExists):
            whole = _latest([self._segment(segment) for segment in before.ledger])
            self._objects.create(name, _table_bytes(whole), _PARQUET)

        def decide(state: State) -> State | None:
            if state.ledger != before.ledger:
                return None
            return replace(state, ledger=(name,))

        if store.change(decide).ledger != (name,):
            return False
        self._delete_replaced(before.ledger)
        return True

    def _delete_replaced(self, replaced: Sequence[str]) -> None:
        """Delete the segments that were replaced when the first of ``replaced`` was made.

        That was at least :data:`COMPACT_FROM` commits ago, so that no run reads them any more: while it holds
        the slot there are no commits. No segment of an epoch up to then can come to be listed again. Those
        stay from which the history or a report has yet to tell a run's files, and those of epoch 0, which
        are written before anybody holds a slot. What a death leaves is deleted the next time.
        """
        first = replaced[0]
        last_epoch, _, ending = first.rpartition("/")[2].partition("-")
        if ending != _COMPACTED:
            return
        untold = untold_runs(self._objects, self._source_id)
        for info in self._objects.list(f"sources/{self._source_id}/ledger/"):
            epoch, _, rest = info.name.rpartition("/")[2].partition("-")
            if not epoch.isdecimal() or not 0 < int(epoch) <= int(last_epoch):
                continue
            if info.name not in replaced and rest.removesuffix(".parquet") not in untold:
                self._objects.delete(info.name)

    def _segment(self, name: str) -> pa.Table:
        import pyarrow.parquet as pq

        stored = self._objects.read(name)
        if stored is None:
            raise CorruptStateError(f"ledger segment {self._objects.uri(name)} is gone: restore the object")
        try:
            return _complete(pq.read_table(io.BytesIO(stored.data)))
        except (OSError, ValueError) as error:
            raise CorruptStateError(
                f"ledger segment {self._objects.uri(name)} cannot be read: restore an earlier generation"
            ) from error


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds: dict[str, Any] = {"int": pa.int64(), "str": pa.string()}
    return pa.schema([(item.name, kinds[str(item.type)]) for item in fields(LedgerEntry)])


def _complete(table: pa.Table) -> pa.Table:
    """The table with the columns that segments of older releases lack, as their defaults."""
    import pyarrow as pa

    for place, item in enumerate(fields(LedgerEntry)):
        if item.name not in table.schema.names and item.default is not MISSING:
            table = table.add_column(
                place, _schema().field(item.name), pa.repeat(pa.scalar(item.default), table.num_rows)
            )
    return table


def _entries(table: pa.Table) -> Iterator[LedgerEntry]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from (LedgerEntry(**row) for row in batch.to_pylist())


def _latest(tables: Sequence[pa.Table]) -> pa.Table:
    """The tables' rows one after the other, of each file only the last and those that were appended, in the
    order in which they were committed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pa.concat_tables(tables)
    appended = pc.equal(whole.column("outcome"), APPENDED)
    beside = pc.if_else(appended, whole.column("run_id"), "")
    numbered = whole.append_column("beside", beside).append_column(
        "number", pa.array(range(whole.num_rows), pa.int64())
    )
    keys = ["uri", "version", "beside"]
    others = [name for name in numbered.schema.names if name not in keys]
    # Without threads the rows of a group come in order.
    grouped = numbered.group_by(keys, use_threads=False).aggregate([(name, "last") for name in others])
    grouped = grouped.sort_by("number_last")
    columns = [grouped.column(name if name in keys else f"{name}_last") for name in whole.schema.names]
    return pa.table(columns, schema=_schema())


def _to_parquet(entries: Iterable[LedgerEntry]) -> bytes:
    import pyarrow as pa

    return _table_bytes(pa.Table.from_pylist([asdict(entry) for entry in entries], _schema()))


def _table_bytes(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()
