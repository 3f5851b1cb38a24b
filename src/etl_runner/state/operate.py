"""What a person may change about a source: take it out of its pause, or set where it stands.

Both are one compare-and-swap of the state, refused while a run holds the slot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from etl_runner.errors import PermanentError
from etl_runner.state.document import State
from etl_runner.state.store import StateStore


def resolve(store: StateStore) -> str | None:
    """Let a paused source run again. Returns why it was paused; None when it was not.

    Raises:
        RetryableError: the state stayed contended or the store unavailable.
    """
    reason: str | None = None

    def decide(state: State) -> State | None:
        nonlocal reason
        if state.paused is None:
            return None
        reason = state.paused
        return replace(state, paused=None)

    store.change(decide)
    return reason


def reset(store: StateStore, value: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Set a source's watermark to ``value`` (as the source writes it; loaded rows lie at or before it), or
    to the beginning. The destination's rows stay as they are. Returns the watermark before and after.

    Raises:
        PermanentError: a run holds the slot.
        RetryableError: the state stayed contended or the store unavailable.
    """
    # A bare value names no server and no transactions: the next run looks for nothing late behind it.
    after = None if value is None else {"value": value}
    before: dict[str, Any] | None = None

    def decide(state: State) -> State | None:
        nonlocal before
        if state.slot is not None:
            raise PermanentError(
                f"source {store.source_id}: run {state.slot.run_id} holds the slot until "
                f"{state.slot.deadline}; reset it when that has ended"
            )
        if state.watermark == after:
            return None
        before = state.watermark
        return replace(state, watermark=after)

    store.change(decide)
    return before, after
