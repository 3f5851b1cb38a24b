"""Finding a run by its id alone: among the states and the receipts of all sources."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from etl_runner.state.document import Slot
from etl_runner.state.objects import ObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore

_READERS = 16


@dataclass(frozen=True)
class FoundRun:
    """A run: its slot while it runs, its receipt once it is over."""

    source_id: str
    run_id: str
    slot: Slot | None
    receipt: dict[str, Any] | None


def find_run(objects: ObjectStore, source_ids: Iterable[str], run_id: str) -> FoundRun | None:
    """The run of that id, or None where no source knows it (yet)."""

    def look(source_id: str) -> FoundRun | None:
        state = StateStore(objects, source_id).read()
        if state.slot is not None and state.slot.run_id == run_id:
            return FoundRun(source_id, run_id, state.slot, None)
        if state.last is not None and state.last.run_id == run_id:
            return FoundRun(source_id, run_id, None, state.last.receipt)
        receipt = Receipts(objects, source_id).read(run_id)
        return None if receipt is None else FoundRun(source_id, run_id, None, receipt)

    with ThreadPoolExecutor(_READERS) as pool:
        return next((found for found in pool.map(look, source_ids) if found is not None), None)
