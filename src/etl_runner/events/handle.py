"""What the functions file_arrival and sweep do with a request."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from etl_runner.commit.close import RunKey, timestamp, utc_now
from etl_runner.errors import ConfigError, EtlError, PermanentError, RefusedCall, RetryableError
from etl_runner.events.arrivals import Arrival, sources_with_arrivals
from etl_runner.events.index import IndexEntry
from etl_runner.events.index_store import MATCHED_AGE, UNMATCHED_AGE
from etl_runner.events.load import Loaded
from etl_runner.events.object_event import ObjectEvent
from etl_runner.events.receive import Incoming, Received
from etl_runner.events.settings import EventSettings
from etl_runner.events.wiring import EventParts
from etl_runner.gcp.deployment import Deployment

log = logging.getLogger(__name__)

_SWEEPERS = 8


def file_arrival(parts: EventParts, request: Incoming) -> tuple[dict[str, Any], dict[str, str]]:
    """Note what a request says has arrived, and load it if nobody else is at it. The answer, and headers
    that belong to it.

    A caller that waits for seconds only has its arrivals noted; Pub/Sub has them loaded.

    Raises:
        RefusedCall: see :class:`etl_runner.events.receive.Receiver`.
        RetryableError: deliver the event again.
    """
    try:
        received = parts.receiver.receive(request)
    except RefusedCall:
        raise
    except ConfigError as error:
        # Delivered again it would say the same.
        if not parts.receiver.vouched(request):
            raise RefusedCall(f"the call shows nothing of who sends it, and {error}") from error
        log.error(  # noqa: TRY400
            "an event cannot be read and is kept aside (`etl-runner files unreadable`): %s",
            error,
            extra={"fields": {"event": "event_unreadable"}},
        )
        parts.unreadable.keep(request, str(error), timestamp(utc_now()))
        return {"status": "unreadable", "error": str(error)}, {}
    concerned = _note(parts, received)
    deadline = utc_now() + timedelta(seconds=parts.settings.run_seconds)
    sources = [_later_or_now(parts, entry, received.patient, deadline) for entry in concerned]
    return {"status": "noted" if sources else "ignored", "sources": sources}, dict(received.headers)


def sweep(parts: EventParts) -> dict[str, Any]:
    """Take up every source with arrivals, or with a slot whose holder has died; and bring the run history up
    to date.

    Raises:
        RetryableError: a source could not be taken up; the others were.
    """
    from etl_runner.operations import drain_history

    index = parts.index.current(0.0)
    deadline = utc_now() + timedelta(seconds=parts.settings.run_seconds)
    source_ids = parts.index.source_ids()
    arrived = sources_with_arrivals(parts.deployment.state)

    def one(source_id: str) -> dict[str, Any] | None:
        entry = index.entries.get(source_id) if source_id in arrived else None
        return _sweep_one(parts, source_id, entry, deadline)

    with ThreadPoolExecutor(_SWEEPERS) as pool:
        done = list(pool.map(one, source_ids))
    answers = [answer for answer in done if answer is not None]
    failed = [answer["source_id"] for answer in answers if answer["status"] == "failed"]
    history = drain_history(parts.deployment, {})
    if failed:
        raise RetryableError(f"the sweep could not take up {', '.join(failed)}; the log says why")
    return {"status": "swept", "seen": len(source_ids), "sources": answers, "history": history}


def last_look(deployment: Deployment, source_id: str) -> None:
    """After a slot was emptied outside of the event path: delete the arrivals that the ledger has now, and
    have the others loaded. Nothing here makes the run fail that has just ended; the sweep looks too."""
    parts = EventParts(deployment, EventSettings())
    try:
        if not parts.arrivals(source_id).any():
            return
        entry = parts.index.current(MATCHED_AGE).entries.get(source_id)
        if entry is not None and parts.gatherer(entry).tidy(deployment.store(source_id).read()):
            parts.wake(source_id)
    except EtlError as error:
        log.warning("the arrivals of source %s are left to the sweep: %s", source_id, error)


def _note(parts: EventParts, received: Received) -> list[IndexEntry]:
    """Note every event with each source that wants it; the sources that have to be looked at."""
    concerned: dict[str, IndexEntry] = {}
    noted = timestamp(utc_now())
    for event in received.events:
        for entry in _matching(parts, event):
            # One that is there already goes on to the slot all the same: who noted it may have died.
            parts.arrivals(entry.source_id).note(Arrival.of(event, noted))
            concerned[entry.source_id] = entry
    for source_id in received.wake:
        woken = parts.index.current(MATCHED_AGE).entries.get(source_id)
        if woken is not None:
            concerned[source_id] = woken
    return list(concerned.values())


def _matching(parts: EventParts, event: ObjectEvent) -> Iterable[IndexEntry]:
    found = parts.index.current(MATCHED_AGE).match(event)
    return found or parts.index.current(UNMATCHED_AGE).match(event)


def _later_or_now(parts: EventParts, entry: IndexEntry, patient: bool, deadline: datetime) -> dict[str, Any]:
    if not patient and parts.wake(entry.source_id):
        return {"source_id": entry.source_id, "status": "noted"}
    return _load(parts, entry, deadline)


def _load(parts: EventParts, entry: IndexEntry, deadline: datetime) -> dict[str, Any]:
    try:
        loaded = parts.turns.take(entry.source_id, lambda: parts.loader(entry).load(deadline))
    except PermanentError as error:
        # Kept as arrivals, and tried again with the next event and by every sweep.
        log.error("source %s: arrivals cannot be loaded: %s", entry.source_id, error)  # noqa: TRY400
        return {"source_id": entry.source_id, "status": "blocked", "error": str(error)}
    if isinstance(loaded.trouble, RetryableError):
        raise loaded.trouble
    if loaded.status == "time_up":
        parts.wake(entry.source_id)
    return _answer(entry.source_id, loaded)


def _answer(source_id: str, loaded: Loaded) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "source_id": source_id,
        "status": loaded.status,
        "runs": loaded.runs,
        "files": loaded.files,
        "failed_runs": loaded.failed,
    }
    if loaded.until is not None:
        answer["until"] = timestamp(loaded.until)
    return answer


def _sweep_one(
    parts: EventParts, source_id: str, entry: IndexEntry | None, deadline: datetime
) -> dict[str, Any] | None:
    """One source of the sweep, ``entry`` where it has arrivals; None when there was nothing to do."""
    try:
        answer = _free_slot(parts, source_id)
        if entry is not None:
            return _load(parts, entry, deadline)
        return answer
    except EtlError as error:
        log.error("sweep of source %s: %s", source_id, error)  # noqa: TRY400
        return {"source_id": source_id, "status": "failed", "error": str(error)}


def _free_slot(parts: EventParts, source_id: str) -> dict[str, Any] | None:
    deployment = parts.deployment
    slot = deployment.store(source_id).read().slot
    if slot is None:
        return None
    if slot.phase == "committing":
        result = deployment.finalizer(source_id).finalize(RunKey(source_id, slot.run_id, slot.epoch))
        return {"source_id": source_id, "status": "rolled_forward", "result": type(result).__name__.lower()}
    if slot.expired(utc_now()):
        deployment.closer(source_id).abandon_run(slot)
        return {"source_id": source_id, "status": "abandoned", "run_id": slot.run_id}
    return None
