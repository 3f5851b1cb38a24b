"""The ways a run leaves its slot: advanced, closed as failed, abandoned; and what follows.

Each is one compare-and-swap. The receipt lies in ``state.last`` with it, so that a crash right after
loses nothing: whoever opens the source next writes the missing receipt first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from etl_runner.errors import EtlError
from etl_runner.state.document import Last, Outcome, Slot, State
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current instant."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """RFC 3339 with microseconds, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class RunEvents(Protocol):
    """Where a finished run is told to the world."""

    def publish(self, receipt: dict[str, Any]) -> None:
        """Publish the run's CloudEvent. At least once: the event's id is the run's."""


@dataclass(frozen=True)
class RunKey:
    """One taking of a slot."""

    source_id: str
    run_id: str
    epoch: int


@dataclass(frozen=True)
class Failure:
    """Why the workflow gave up on the extraction: the step's name and its error."""

    step: str
    message: str
    cancelled: bool = False
    """A person asked for it: the run ends as cancelled."""


@dataclass(frozen=True)
class Done:
    """A run is over. ``outcome`` is None only for a run of which no trace is left."""

    outcome: Outcome | None
    receipt: dict[str, Any] | None


@dataclass(frozen=True)
class Pending:
    """A commit goes on: ask again after ``retry_after`` seconds."""

    retry_after: int
    what: str


class Closer:
    """The closing steps of one source's runs."""

    def __init__(
        self, store: StateStore, receipts: Receipts, events: RunEvents, clock: Clock = utc_now
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._events = events
        self.clock = clock

    def advance(
        self,
        key: RunKey,
        receipt: dict[str, Any],
        *,
        phase: str,
        watermark: dict[str, Any] | None,
        ledger_segment: str | None,
        paused: str | None = None,
    ) -> Done | None:
        """The run is committed: watermark, ledger, ``last`` and empty slot in one compare-and-swap.

        None: the run holds the slot still, in another phase; look again.
        """
        if ledger_segment is not None:
            receipt = {**receipt, "ledger_segment": ledger_segment}
        full = self._complete(key, receipt, "ok", None)

        def decide(state: State) -> State | None:
            slot = state.slot
            if slot is None or not slot.belongs_to(key.run_id, key.epoch) or slot.phase != phase:
                return None
            return replace(
                state,
                watermark=state.watermark if watermark is None else watermark,
                ledger=state.ledger if ledger_segment is None else (*state.ledger, ledger_segment),
                slot=None,
                last=Last(key.run_id, key.epoch, "ok", full),
                paused=paused or state.paused,
            )

        return self._leave(key, decide)

    def close_failed(
        self,
        key: RunKey,
        receipt: dict[str, Any],
        reason: str,
        slot: Slot,
        outcome: Outcome = "failed",
    ) -> Done | None:
        """Close the run as ``outcome``, if its slot still stands as it was judged (phase, step and n).

        None: the run holds the slot still, but it moved on; look again.
        """
        full = self._complete(key, receipt, outcome, reason)

        def decide(state: State) -> State | None:
            current = state.slot
            if current is None or replace(current, deadline=slot.deadline) != slot:
                return None
            return replace(state, slot=None, last=Last(key.run_id, key.epoch, outcome, full))

        return self._leave(key, decide)

    def abandon_run(self, slot: Slot) -> None:
        """Empty a slot whose holder let its deadline pass while extracting."""
        key = RunKey(self._store.source_id, slot.run_id, slot.epoch)
        reason = f"no progress until its deadline {slot.deadline}; another run took over"
        full = self._complete(key, {}, "abandoned", reason)

        def decide(state: State) -> State | None:
            current = state.slot
            if current is None or not current.belongs_to(slot.run_id, slot.epoch):
                return None
            if current.phase != "extracting" or not current.expired(self.clock()):
                return None
            return replace(state, slot=None, last=Last(slot.run_id, slot.epoch, "abandoned", full))

        self._leave(key, decide)

    def outcome_of(self, key: RunKey, state: State) -> Done:
        """What became of a run that does not hold the slot: its receipt, else ``last``."""
        receipt = self._receipts.read(key.run_id)
        if receipt is None and state.last is not None and state.last.run_id == key.run_id:
            self.write_missing_receipt(state)
            receipt = state.last.receipt
        return Done(receipt["outcome"], receipt) if receipt is not None else Done(None, None)

    def write_missing_receipt(self, state: State) -> None:
        """Write the receipt of the latest run, if a crash kept it from being written."""
        last = state.last
        if last is not None and self._receipts.read(last.run_id) is None:
            self._tell(last.receipt)

    def _leave(self, key: RunKey, decide: Callable[[State], State | None]) -> Done | None:
        state = self._store.change(decide)
        return None if state.holds(key.run_id, key.epoch) else self.outcome_of(key, state)

    def _tell(self, receipt: dict[str, Any]) -> None:
        # Event before receipt: a crash between the two repeats the event instead of losing it.
        try:
            self._events.publish(receipt)
        except EtlError:
            # Loading goes on while Pub/Sub is out of order; the receipt is the record.
            log.exception("run event not published", extra={"run_id": receipt["run_id"]})
        log.log(
            logging.INFO if receipt["outcome"] == "ok" else logging.WARNING,
            "run %s of source %s ended: %s",
            receipt["run_id"],
            receipt["source_id"],
            receipt["outcome"],
            extra={"fields": run_ended(receipt)},
        )
        self._receipts.write(receipt)

    def _complete(
        self, key: RunKey, receipt: dict[str, Any], outcome: Outcome, reason: str | None
    ) -> dict[str, Any]:
        return {
            **receipt,
            "source_id": key.source_id,
            "run_id": key.run_id,
            "epoch": key.epoch,
            "outcome": outcome,
            "reason": reason,
            "finished": timestamp(self.clock()),
        }


def run_ended(receipt: dict[str, Any]) -> dict[str, Any]:
    """The log line's fields of a run that is over, which the deployment's metrics and alerts count.

    ``reject_share`` is rejected rows over rows read, 0 when none were read.
    """
    read, rejects = receipt.get("rows_read", 0), receipt.get("rejects", 0)
    return {
        "event": "run_ended",
        "source_id": receipt["source_id"],
        "run_id": receipt["run_id"],
        "epoch": receipt["epoch"],
        "outcome": receipt["outcome"],
        "rows_read": read,
        "rows_loaded": receipt.get("rows_loaded", 0),
        "rejects": rejects,
        "reject_share": rejects / read if read else 0.0,
        "row_mismatch": "row_mismatch" in receipt,
        "rejects_kept": receipt.get("rejects_table", {}).get("outcome") == "kept",
    }
