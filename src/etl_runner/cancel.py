"""Cancelling a run: close it while it extracts; roll it forward once it commits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from etl_runner.commit.close import Done, Failure, Pending, RunKey
from etl_runner.state.store import StateStore

Was = Literal["extracting", "committing", "over"]


class Finalizes(Protocol):
    """:class:`etl_runner.commit.finalize.Finalizer`."""

    def finalize(self, key: RunKey, failure: Failure | None = None) -> Done | Pending: ...


class Engines(Protocol):
    """What extracts: :class:`etl_runner.gcp.engines.AllEngines`."""

    def stop(self, run_id: str, epoch: int) -> tuple[str, ...]:
        """Stop what runs for that run; what was told to stop."""


@dataclass(frozen=True)
class Cancelled:
    """``was``: what the run was doing. ``outcome``: how it ended; None while its commit goes on."""

    was: Was
    outcome: str | None
    receipt: dict[str, Any] | None
    stopped: tuple[str, ...] = ()


def cancel_run(
    store: StateStore,
    finalizer: Finalizes,
    engines: Engines,
    stop_workflow: Callable[[], tuple[str, ...]],
    key: RunKey,
    reason: str,
) -> Cancelled:
    """Cancel a run that holds, or held, the slot.

    The slot is emptied first: from then on nothing of the run can be committed, whatever still runs. A run
    that is committing is rolled forward instead, since its rows may be in the table already.

    Raises:
        RetryableError, PermanentError: a service is unavailable, or refuses; ask again.
    """
    slot = store.read().slot
    if slot is None or not slot.belongs_to(key.run_id, key.epoch):
        outcome, receipt = _ended(finalizer.finalize(key))
        # An earlier attempt may have died before it stopped anything.
        stopped = _stop(stop_workflow, engines, key) if outcome == "cancelled" else ()
        return Cancelled("over", outcome, receipt, stopped)
    was: Was = slot.phase
    result = finalizer.finalize(key, Failure("cancel", reason, cancelled=True))
    outcome, receipt = _ended(result)
    if outcome != "cancelled":
        # It was committing, or has begun to since we looked.
        return Cancelled("committing", outcome, receipt)
    return Cancelled(was, outcome, receipt, _stop(stop_workflow, engines, key))


def _stop(stop_workflow: Callable[[], tuple[str, ...]], engines: Engines, key: RunKey) -> tuple[str, ...]:
    # The workflow first: it would take a stopped job for one that failed.
    return (*stop_workflow(), *engines.stop(key.run_id, key.epoch))


def _ended(result: Done | Pending) -> tuple[str | None, dict[str, Any] | None]:
    return (result.outcome, result.receipt) if isinstance(result, Done) else (None, None)
