"""What is known of a source's files: waiting, set aside, loaded; and how far its table's day is used up."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from typing import Any

from etl_runner.commit.close import utc_now
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.events.arrivals import SOURCE_KEY, Arrivals, Attempts, SetAside
from etl_runner.events.budget import batch_interval, next_batch
from etl_runner.events.index import IndexEntry
from etl_runner.events.wiring import EventParts
from etl_runner.state.ledger import Ledger
from etl_runner.state.store import StateStore


def entry_of_source(parts: EventParts, source_id: str) -> IndexEntry:
    """The index's entry of a source of files.

    Raises:
        PermanentError: it has none: its document is missing or wrong, or it reads a database.
    """
    entry = parts.index.current(0.0).entries.get(source_id)
    if entry is None:
        raise PermanentError(
            f"source {source_id} takes no files: its document is missing or wrong, or it reads a database "
            f"(`etl-runner validate` tells)"
        )
    return entry


def files_report(parts: EventParts, source_id: str, loaded: int) -> dict[str, Any]:
    """The report, with the latest ``loaded`` files of the ledger."""
    entry = entry_of_source(parts, source_id)
    arrivals = parts.arrivals(source_id)
    attempts = arrivals.attempts()
    state = StateStore(parts.deployment.state, source_id).read()
    known: set[tuple[str, str]] = set()
    latest: deque[dict[str, Any]] = deque(maxlen=loaded)
    for one in Ledger(parts.deployment.state, source_id).read(state):
        known.add(one.key)
        latest.append({name: getattr(one, name) for name in one.__dataclass_fields__})
    waiting = [
        {
            "uri": arrival.uri,
            "version": arrival.version,
            "size": arrival.size,
            "noted": arrival.noted,
            "attempts": attempts.get(arrival.hash, Attempts()).count,
            "reason": attempts.get(arrival.hash, Attempts()).reason or None,
        }
        for arrival in sorted(arrivals.all(), key=lambda arrival: arrival.noted)
        if arrival.key not in known
    ]
    source = attempts.get(SOURCE_KEY)
    return {
        "source_id": source_id,
        "waiting": waiting,
        "blocked": None if source is None else {"runs": source.count, "reason": source.reason},
        "set_aside": [_aside(one) for one in _still_set_aside(arrivals, known)],
        "loaded": {"files": len(known), "latest": list(latest)},
        "table": _table(parts, entry.table),
    }


def replay(parts: EventParts, source_id: str, uris: Sequence[str], everything: bool) -> list[str]:
    """Make arrivals again of files that were set aside, and have them loaded; their URIs. Objects that are
    gone, were overwritten or have been loaded since are not among them.

    Raises:
        ConfigError: a URI is none of those that can be replayed.
        PermanentError: the source takes no files.
    """
    entry = entry_of_source(parts, source_id)
    arrivals = parts.arrivals(source_id)
    state = StateStore(parts.deployment.state, source_id).read()
    known = Ledger(parts.deployment.state, source_id).known(state)
    able = [one for one in _still_set_aside(arrivals, known) if one.kind == "poisonous"]
    unknown = sorted(set(uris) - {one.arrival.uri for one in able})
    if unknown:
        allowed = ", ".join(sorted({one.arrival.uri for one in able})[:10]) or "none is set aside"
        raise ConfigError(
            "command line",
            tuple(Problem("URI", "is no file that was set aside", u, allowed) for u in unknown),
        )
    chosen = [one for one in able if everything or one.arrival.uri in uris]
    for one in chosen:
        arrivals.replay(one)
    if chosen:
        arrivals.clear_failures(SOURCE_KEY)
        parts.wake(entry.source_id)
    return [one.arrival.uri for one in chosen]


def _still_set_aside(arrivals: Arrivals, known: Set[tuple[str, str]]) -> list[SetAside]:
    """What is set aside and has not been loaded since, by a run of the schedule or by hand."""
    return [one for one in arrivals.all_set_aside() if one.arrival.key not in known]


def _aside(one: SetAside) -> dict[str, Any]:
    return {
        "uri": one.arrival.uri,
        "version": one.arrival.version,
        "kind": one.kind,
        "reason": one.reason,
        "attempts": one.attempts,
        "at": one.at,
    }


def _table(parts: EventParts, table: str) -> dict[str, Any]:
    usage, allowed = parts.operations.usage(table), parts.settings.table_operations
    moment = next_batch(usage, allowed, utc_now())
    interval = batch_interval(usage.used, allowed)
    return {
        "name": table,
        "operations_in_24_hours": usage.used,
        "allowed": allowed,
        "batch_interval_seconds": None if interval == float("inf") else round(interval, 1),
        "next_batch": None if moment is None else moment.isoformat(timespec="seconds"),
    }
