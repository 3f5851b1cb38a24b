"""The state document: a source's single mutable object, ``sources/<id>/state.json``.

Everything that a run may change about a source is in here and is changed by compare-and-swap only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from etl_runner import jsontypes
from etl_runner.errors import CorruptStateError

STATE_VERSION = 1

Phase = Literal["extracting", "committing"]
Outcome = Literal["ok", "failed", "abandoned", "cancelled"]


@dataclass(frozen=True)
class Slot:
    """A source's permission to run, held by one run.

    ``n`` numbers the run's BigQuery jobs: only the job numbered ``n`` may be submitted. ``step`` is the
    commit step which that job executes. ``deadline`` (RFC 3339, UTC) counts in ``extracting`` only.
    """

    run_id: str
    epoch: int
    deadline: str
    phase: Phase = "extracting"
    step: int = 0
    n: int = 1

    def belongs_to(self, run_id: str, epoch: int) -> bool:
        """Whether this is the slot of that run's taking of it."""
        return self.run_id == run_id and self.epoch == epoch

    def expired(self, now: datetime) -> bool:
        """Whether the deadline has passed."""
        return datetime.fromisoformat(self.deadline) <= now


@dataclass(frozen=True)
class Last:
    """How the latest run that left the slot ended; carries its receipt, which a crash may have kept
    from being written."""

    run_id: str
    epoch: int
    outcome: Outcome
    receipt: dict[str, Any]


@dataclass(frozen=True)
class State:
    """``{version, watermark, ledger, epoch, slot, last, paused}``.

    ``watermark`` is the source type's own (a cursor value in full precision and, for PostgreSQL, the xid
    horizon of the run that committed it). ``ledger`` lists segments, oldest first. ``paused`` says why no
    run may start.
    """

    watermark: dict[str, Any] | None = None
    ledger: tuple[str, ...] = ()
    epoch: int = 0
    slot: Slot | None = None
    last: Last | None = None
    paused: str | None = None

    def holds(self, run_id: str, epoch: int) -> bool:
        """Whether that run holds the slot."""
        return self.slot is not None and self.slot.belongs_to(run_id, epoch)

    def with_slot(self, slot: Slot | None) -> State:
        return replace(self, slot=slot)

    def to_json(self) -> bytes:
        return jsontypes.dumps({"version": STATE_VERSION, **vars(self)})

    @classmethod
    def from_json(cls, data: bytes, name: str) -> State:
        """Read the document.

        Raises:
            CorruptStateError: it is not one, or of a version that this code does not know.
        """
        try:
            value = jsontypes.loads(data)
            version = value.pop("version")
            if version != STATE_VERSION:
                raise CorruptStateError(
                    f"{name} has state version {version}, this release knows {STATE_VERSION}: "
                    "deploy the release that wrote it"
                )
            return cls(
                **{
                    **value,
                    "ledger": tuple(value["ledger"]),
                    "slot": Slot(**value["slot"]) if value["slot"] else None,
                    "last": Last(**value["last"]) if value["last"] else None,
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptStateError(
                f"{name} is not a state document ({error}): restore an earlier generation of the object"
            ) from error
