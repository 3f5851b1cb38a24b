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
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from etl_runner.errors import CorruptStateError, ObjectExists
from etl_runner.state.document import State
from etl_runner.state.objects import ObjectStore
from etl_runner.state.store import StateStore

if TYPE_CHECKING:
    import pyarrow as pa

COMPACT_FROM = 50
"""Segments from which on it pays to make one of them."""


@dataclass(frozen=True)
class LedgerEntry:
    """One committed file. ``version`` is its generation or etag; ``size`` in bytes; ``modified`` RFC 3339;
    ``outcome`` ``loaded`` or ``ignored``; ``run_id`` the run that committed it."""

    uri: str
    version: str
    size: int
    modified: str
    rows: int
    outcome: str
    run_id: str

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
            self._objects.create(name, _to_parquet(entries), "application/vnd.apache.parquet")
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
        yield from (LedgerEntry(**row) for row in self._segment(name).to_pylist())

    def known(self, state: State) -> set[tuple[str, str]]:
        """The keys of all committed files: about 200 bytes of memory a file."""
        keys: set[tuple[str, str]] = set()
        for name in state.ledger:
            segment = self._segment(name)
            keys.update(
                zip(segment.column("uri").to_pylist(), segment.column("version").to_pylist(), strict=True)
            )
        return keys

    def compact(self, store: StateStore) -> bool:
        """Make one segment of all, if there are many and no run holds the slot. Whether it was done.

        The new segment is written first, then takes the others' place in one compare-and-swap; killed in
        between, it is an object that nobody lists.
        """
        before = store.read()
        if len(before.ledger) < COMPACT_FROM or before.slot is not None:
            return False
        name = f"sources/{self._source_id}/ledger/{before.epoch}-compacted.parquet"
        # An earlier attempt may have written it: the epoch names exactly which segments they were.
        with contextlib.suppress(ObjectExists):
            self._objects.create(name, _to_parquet(self.read(before)), "application/vnd.apache.parquet")

        def decide(state: State) -> State | None:
            if state.ledger != before.ledger:
                return None
            return replace(state, ledger=(name,))

        return store.change(decide).ledger == (name,)

    def _segment(self, name: str) -> pa.Table:
        import pyarrow.parquet as pq

        stored = self._objects.read(name)
        if stored is None:
            raise CorruptStateError(f"ledger segment {self._objects.uri(name)} is gone: restore the object")
        try:
            return pq.read_table(io.BytesIO(stored.data))
        except (OSError, ValueError) as error:
            raise CorruptStateError(
                f"ledger segment {self._objects.uri(name)} cannot be read: restore an earlier generation"
            ) from error


def _to_parquet(entries: Iterable[LedgerEntry]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, Any] = {"int": pa.int64(), "str": pa.string()}
    schema = pa.schema([(item.name, kinds[str(item.type)]) for item in fields(LedgerEntry)])
    table = pa.Table.from_pylist([asdict(entry) for entry in entries], schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()
