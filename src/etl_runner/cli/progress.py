"""How far a run is, read from what it leaves behind: state, plan, manifests, receipt."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from etl_runner import jsontypes
from etl_runner.execution.manifest import Manifest, manifest_prefix
from etl_runner.planning.plan import PlanHeader, run_prefix
from etl_runner.state.document import State
from etl_runner.state.objects import ObjectInfo, ObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore

Phase = Literal["starting", "planning", "extracting", "committing", "done"]
_READERS = 8


@dataclass(frozen=True)
class Progress:
    """One look at a run. Counts are of finished units."""

    source_id: str
    run_id: str
    phase: Phase = "starting"
    epoch: int | None = None
    engine: str | None = None
    planned: str | None = None
    """When the plan was made, RFC 3339."""
    units: int | None = None
    units_done: int = 0
    rows: int = 0
    estimated_rows: int | None = None
    bytes: int = 0
    rejects: int = 0
    receipt: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def seconds(self, now: datetime) -> float:
        """Seconds since the plan was made."""
        return (now - datetime.fromisoformat(self.planned)).total_seconds() if self.planned else 0.0

    def rate(self, now: datetime) -> float | None:
        """Rows a second since the plan was made; None before the first unit is done."""
        seconds = self.seconds(now)
        return self.rows / seconds if self.rows and seconds > 0 else None

    def remaining(self, now: datetime) -> float | None:
        """Estimated seconds until the last unit is done; None where nothing can be said yet."""
        if not self.units or not self.units_done:
            return None
        return self.seconds(now) * (self.units - self.units_done) / self.units_done


class ProgressReader:
    """Looks at one run again and again, reading each manifest once."""

    def __init__(self, state: ObjectStore, staging: ObjectStore, source_id: str, run_id: str) -> None:
        self._store = StateStore(state, source_id)
        self._receipts = Receipts(state, source_id)
        self._staging = staging
        self._progress = Progress(source_id, run_id)
        self._header: PlanHeader | None = None
        self._manifests: dict[str, Manifest] = {}

    def read(self) -> Progress:
        """The run as it is now.

        Raises:
            RetryableError, PermanentError: the buckets cannot be read.
            CorruptStateError: the state document cannot.
        """
        run_id = self._progress.run_id
        state = self._store.read()
        slot = state.slot if state.slot is not None and state.slot.run_id == run_id else None
        receipt: dict[str, Any] | None = None
        if slot is None:  # over, or not open yet
            over = state.last is not None and state.last.run_id == run_id
            receipt = state.last.receipt if over and state.last else self._receipts.read(run_id)
        epoch = slot.epoch if slot else (receipt or {}).get("epoch", self._progress.epoch)
        if epoch is not None:
            self._look_at_staging(epoch)
        phase: Phase
        if receipt is not None:
            phase = "done"
        elif slot is None:
            phase = "starting"
        elif slot.phase == "committing":
            phase = "committing"
        else:
            phase = "planning" if self._header is None else "extracting"
        self._progress = replace(self._progress, phase=phase, epoch=epoch, receipt=receipt)
        return self._progress

    def _look_at_staging(self, epoch: int) -> None:
        run_id = self._progress.run_id
        if self._header is None:
            stored = self._staging.read(f"{run_prefix(run_id, epoch)}plan.jsonl")
            if stored is None:
                return
            first, _, _ = stored.data.partition(b"\n")
            self._header = PlanHeader.from_json(jsontypes.loads(first))
        header = self._header
        listed = list(self._staging.list(manifest_prefix(run_id, epoch)))
        if not listed and self._manifests:
            return  # the run is over and its staging objects are gone: keep what was seen
        names = _counting(listed, manifest_prefix(run_id, epoch), header.snapshot)
        fresh = [name for name in names if name not in self._manifests]
        with ThreadPoolExecutor(_READERS) as pool:
            for name, stored in zip(fresh, pool.map(self._staging.read, fresh), strict=True):
                if stored is not None:
                    self._manifests[name] = Manifest.from_json(jsontypes.loads(stored.data))
        # Not only what is listed now: staging may be half cleared.
        folders = {name.rpartition("/")[0] for name in names}
        counted = [one for name, one in self._manifests.items() if name.rpartition("/")[0] in folders]
        self._progress = replace(
            self._progress,
            engine=header.engine,
            planned=header.created,
            units=header.units,
            units_done=len(counted),
            rows=sum(manifest.rows for manifest in counted),
            estimated_rows=header.estimated_rows,
            bytes=sum(manifest.bytes for manifest in counted),
            rejects=sum(manifest.rejects for manifest in counted),
        )


def _counting(listed: Iterable[ObjectInfo], prefix: str, snapshot: bool) -> list[str]:
    """The manifests that count: all of them, or those of the newest snapshot where units share one."""
    infos = [info for info in listed if info.name.endswith(".json")]
    if not snapshot or not infos:
        return [info.name for info in infos]
    newest = max(infos, key=lambda info: info.generation)
    folder = newest.name.rpartition("/")[0] + "/"
    return [info.name for info in infos if info.name.startswith(folder)] if folder != prefix else []


def slot_of(state: State) -> dict[str, Any] | None:
    """Who holds a source's slot: ``{"run_id", "epoch", "phase", "until"}``, or None."""
    if state.slot is None:
        return None
    slot = state.slot
    return {"run_id": slot.run_id, "epoch": slot.epoch, "phase": slot.phase, "until": slot.deadline}
