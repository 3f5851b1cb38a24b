"""Loading what finished runs have to tell: one drain is one run of the commit protocol.

The order of things, of which each may be the last before the process dies::

    list notes, open a run of the stream        a held slot: somebody drains already
    read the receipts of runs not yet covered   by the watermark read *after* the slot was taken
    write their rows as objects                 in the staging bucket, under the drain's own epoch
    write the commit record, claim, roll on     one load job; then watermark and empty slot in one CAS
    remove notes that every stream covers       a note that comes back later is covered, and removed again
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from etl_runner import jsontypes
from etl_runner.commit.close import Clock, Closer, Done, Pending, RunEvents, RunKey, timestamp, utc_now
from etl_runner.commit.jobs import BigQueryJobs
from etl_runner.commit.open_run import Opened, Opener
from etl_runner.commit.roll_forward import RollForward, claim_commit
from etl_runner.errors import EtlError
from etl_runner.history.covered import Covered
from etl_runner.history.streams import Stream
from etl_runner.planning.plan import run_prefix
from etl_runner.state.notes import Note, Notes
from etl_runner.state.objects import ObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.records import CommitRecord, CommitRecords, Step
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

MOST_RUNS = 5_000
"""Runs that one drain takes: their receipts are read one by one."""
_OBJECT_ROWS = 20_000
_READERS = 16


class Nobody:
    """Drains are told to nobody: their events would be events about events."""

    def publish(self, receipt: dict[str, Any]) -> None:
        """Tell nobody."""
        del receipt


@dataclass(frozen=True)
class Target:
    """Where the history's tables are."""

    project: str
    dataset: str
    location: str


@dataclass(frozen=True)
class Drained:
    """What one drain did. ``pending``: its load job, or another drain, is still at it."""

    table: str
    runs: int = 0
    rows: int = 0
    pending: bool = False


class Drain:
    """Drains one stream."""

    def __init__(
        self,
        stream: Stream,
        objects: ObjectStore,
        staging: ObjectStore,
        jobs: BigQueryJobs,
        target: Target,
        *,
        clock: Clock = utc_now,
        store: StateStore | None = None,
        new_id: Callable[[], str] = lambda: f"drain-{secrets.token_hex(8)}",
    ) -> None:
        self._stream = stream
        self._objects = objects
        self._staging = staging
        self._target = target
        self._new_id = new_id
        self._notes = Notes(objects)
        self._store = store or StateStore(objects, stream.source_id)
        self._records = CommitRecords(objects, stream.source_id)
        receipts = Receipts(objects, stream.source_id)
        events: RunEvents = Nobody()
        self._closer = Closer(self._store, receipts, events, clock)
        self._forward = RollForward(self._store, self._records, jobs, self._closer)
        self._opener = Opener(self._store, receipts, self._closer, self._roll_forward)

    def covered(self) -> Covered:
        """The runs that the table has."""
        return Covered.from_watermark(self._store.read().watermark)

    def drain(self) -> Drained:
        """Load what is noted and not covered; call again while it says pending.

        Raises:
            RetryableError, PermanentError: a service is unavailable or refuses; nothing is lost, the next
                drain takes it up.
        """
        noted = list(itertools.islice(self._fresh(self._notes.all(), self.covered()), MOST_RUNS))
        if not noted and self._store.read().slot is None:
            return Drained(self._stream.table)
        opened = self._opener.open_run(self._new_id())
        if not isinstance(opened, Opened):
            return Drained(self._stream.table, pending=True)
        last = opened.state.last
        if last is not None and last.outcome != "ok":
            self._clean(last.run_id, last.epoch)  # a drain that died left its objects
        try:
            runs, rows, done = self._commit(opened, noted)
        except EtlError as error:
            self._give_up(opened, error)
            raise
        pending = self._settle(opened.key) if done is None else False
        return Drained(self._stream.table, runs, rows, pending)

    def _commit(self, opened: Opened, noted: Sequence[Note]) -> tuple[int, int, Done | None]:
        """Number of runs and rows; and the end of the drain where it needed no job."""
        key = opened.key
        before = Covered.from_watermark(opened.state.watermark)
        receipts = self._receipts(list(self._fresh(noted, before)))
        watermark = before.adding((item["source_id"], item["epoch"]) for item in receipts).to_watermark()
        names, rows = self._write_rows(key, receipts)
        receipt = self._receipt(len(receipts), rows)
        if not names:
            done = self._closer.advance(
                key, receipt, phase="extracting", watermark=watermark, ledger_segment=None
            )
            return len(receipts), 0, done or Done(None, None)
        self._records.write(
            CommitRecord(
                source_id=key.source_id,
                run_id=key.run_id,
                epoch=key.epoch,
                location=self._target.location,
                rows=rows,
                steps=(Step("load", {"load": self._load(names)}, rows),),
                watermark=watermark,
                ledger_segment=None,
                receipt=receipt,
            )
        )
        claim_commit(self._store, key)
        return len(receipts), rows, None

    def _settle(self, key: RunKey) -> bool:
        """Roll the drain forward; whether it is still going on."""
        return isinstance(self._roll_forward(key), Pending)

    def _roll_forward(self, key: RunKey) -> Done | Pending:
        result = self._forward.roll_forward(key)
        if isinstance(result, Done):
            self._clean(key.run_id, key.epoch)
            if result.outcome != "ok":
                reason = (result.receipt or {}).get("reason")
                log.error("%s was not brought up to date: %s", self._stream.table, reason)
        return result

    def _clean(self, run_id: str, epoch: int) -> None:
        for info in self._staging.list(run_prefix(run_id, epoch)):
            self._staging.delete(info.name)

    def _give_up(self, opened: Opened, error: EtlError) -> None:
        """Free the slot after an error before the claim, so that the next drain need not wait for it."""
        slot = opened.state.slot
        if slot is None:
            return
        try:
            self._closer.close_failed(opened.key, self._receipt(0, 0), str(error), slot)
        except EtlError as second:
            log.warning("the slot of %s stays until its deadline: %s", opened.key.source_id, second)

    def _fresh(self, notes: Iterable[Note], covered: Covered) -> Iterator[Note]:
        return (note for note in notes if not covered.has(note.source_id, note.epoch))

    def _receipts(self, notes: Sequence[Note]) -> list[dict[str, Any]]:
        """The receipts of noted runs. One that a crash kept from being written lies in its source's state."""
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(self._receipt_of, notes)
            return [receipt for receipt in found if receipt is not None]

    def _receipt_of(self, note: Note) -> dict[str, Any] | None:
        receipts = Receipts(self._objects, note.source_id)
        receipt = receipts.read(note.run_id)
        if receipt is None:
            last = StateStore(self._objects, note.source_id).read().last
            if last is None or (last.run_id, last.epoch) != (note.run_id, note.epoch):
                return None
            receipts.write(last.receipt)
            receipt = receipts.read(note.run_id)
        # A run id has one receipt: that of another epoch is another note's.
        return receipt if receipt is not None and receipt.get("epoch") == note.epoch else None

    def _write_rows(self, key: RunKey, receipts: Sequence[dict[str, Any]]) -> tuple[list[str], int]:
        """JSON Lines objects in the staging bucket, and how many rows they hold."""
        rows = itertools.chain.from_iterable(self._stream.rows_of(self._objects, item) for item in receipts)
        names: list[str] = []
        total = 0
        while chunk := list(itertools.islice(rows, _OBJECT_ROWS)):
            name = f"{run_prefix(key.run_id, key.epoch)}history-{len(names)}.jsonl"
            self._staging.create(name, b"".join(jsontypes.dumps(row) + b"\n" for row in chunk))
            names.append(name)
            total += len(chunk)
        return names, total

    def _load(self, names: Sequence[str]) -> dict[str, Any]:
        stream, target = self._stream, self._target
        return {
            "sourceFormat": "NEWLINE_DELIMITED_JSON",
            "sourceUris": [self._staging.uri(name) for name in names],
            "destinationTable": {
                "projectId": target.project,
                "datasetId": target.dataset,
                "tableId": stream.table,
            },
            "schema": {"fields": stream.schema()},
            # A newer release may have added columns to the table's schema.
            "schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"],
            "createDisposition": "CREATE_IF_NEEDED",
            "writeDisposition": "WRITE_APPEND",
            "timePartitioning": {"type": "DAY", "field": stream.partition_field},
            "clustering": {"fields": list(stream.clustering)},
        }

    def _receipt(self, runs: int, rows: int) -> dict[str, Any]:
        target = self._target
        return {
            "started": timestamp(self._closer.clock()),
            "destination": f"{target.project}.{target.dataset}.{self._stream.table}",
            "disposition": "append",
            "runs": runs,
            "rows_read": rows,
            "rows_loaded": 0,
            "rejects": 0,
            "jobs": [],
        }
