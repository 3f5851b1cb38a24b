"""Opening a run: taking a source's slot, or saying why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from etl_runner.commit.close import Closer, Pending, RunKey, timestamp
from etl_runner.errors import ConfigError, PermanentError, Problem, RetryableError
from etl_runner.state.document import Slot, State
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore

# Planning has to be done by then; the plan sets the deadline of the extraction.
OPENING_LEASE = timedelta(minutes=15)
_ROUNDS = 8
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True)
class Opened:
    """The run holds the slot."""

    key: RunKey
    state: State


@dataclass(frozen=True)
class Skipped:
    """Another run holds the slot; nothing was written."""

    holder: Slot


@dataclass(frozen=True)
class Finished:
    """A run of this id is over already."""

    receipt: dict[str, Any]


class Opener:
    """Opens runs of one source."""

    def __init__(
        self,
        store: StateStore,
        receipts: Receipts,
        closer: Closer,
        roll_forward: Callable[[RunKey], object],
        lease: timedelta = OPENING_LEASE,
    ) -> None:
        """``lease`` is how long a run may stay silent before its plan sets its own deadline."""
        self._lease = lease
        self._store = store
        self._receipts = receipts
        self._closer = closer
        self._roll_forward = roll_forward

    def open_run(self, run_id: str) -> Opened | Skipped | Finished:
        """Take the slot for ``run_id``, join the run of that id, or say who holds the slot.

        Raises:
            ConfigError: the run id is not ``[A-Za-z0-9_-]{1,200}``.
            PermanentError: the source is paused.
            RetryableError: the state stayed contended or the store unavailable.
        """
        if not _RUN_ID.fullmatch(run_id):
            problem = Problem(
                "run_id", "is not usable in a job id", repr(run_id), "1 to 200 of [A-Za-z0-9_-]"
            )
            raise ConfigError("request", (problem,))
        for _ in range(_ROUNDS):
            state = self._store.read()
            self._closer.write_missing_receipt(state)
            joined = self._join_run(state, run_id)
            if joined is not None:
                return joined
            if state.paused:
                raise PermanentError(
                    f"source {self._store.source_id} is paused: {state.paused}; look into it, then "
                    f"`etl-runner resolve {self._store.source_id}`"
                )
            slot = state.slot
            if slot is None:
                opened = self._take_slot(run_id, state)
                if opened is not None:
                    return opened
            elif slot.phase == "committing":
                key = RunKey(self._store.source_id, slot.run_id, slot.epoch)
                if isinstance(self._roll_forward(key), Pending):
                    return Skipped(slot)
            elif slot.expired(self._closer.clock()):
                self._closer.abandon_run(slot)
            else:
                return Skipped(slot)
        raise RetryableError(f"the slot of source {self._store.source_id} stayed contended")

    def _join_run(self, state: State, run_id: str) -> Opened | Finished | None:
        # A run id is never opened twice: a repeated request finds its run or its receipt.
        if state.slot is not None and state.slot.run_id == run_id:
            return Opened(RunKey(self._store.source_id, run_id, state.slot.epoch), state)
        if state.last is not None and state.last.run_id == run_id:
            return Finished(state.last.receipt)
        receipt = self._receipts.read(run_id)
        return None if receipt is None else Finished(receipt)

    def _take_slot(self, run_id: str, seen: State) -> Opened | None:
        deadline = timestamp(self._closer.clock() + self._lease)

        def decide(state: State) -> State | None:
            # A run that came and went meanwhile may still lack its receipt: start over and look.
            if state.slot is not None or state.paused or state.epoch != seen.epoch or state.last != seen.last:
                return None
            epoch = state.epoch + 1
            return replace(state, epoch=epoch, slot=Slot(run_id, epoch, deadline))

        state = self._store.change(decide)
        if state.slot is None or state.slot.run_id != run_id:
            return None
        return Opened(RunKey(self._store.source_id, run_id, state.slot.epoch), state)


def extend_deadline(store: StateStore, key: RunKey, deadline: str) -> bool:
    """Move the deadline of an extracting run later; False when the run does not hold the slot any more."""

    def decide(state: State) -> State | None:
        slot = state.slot
        if slot is None or not slot.belongs_to(key.run_id, key.epoch) or slot.phase != "extracting":
            return None
        return state.with_slot(replace(slot, deadline=deadline)) if slot.deadline < deadline else None

    state = store.change(decide)
    return state.holds(key.run_id, key.epoch)
