"""Which arrivals the next run loads: what is new, in the source's order, as it is in the bucket now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from etl_runner.commit.close import timestamp
from etl_runner.events.arrivals import (
    SOURCE_KEY,
    Arrival,
    Arrivals,
    Attempts,
    SetAside,
    SetAsideKind,
    file_hash,
)
from etl_runner.events.index import IndexEntry
from etl_runner.events.settings import EventSettings
from etl_runner.sources.files.current import current_versions
from etl_runner.sources.files.store import FileStore, FileVersion
from etl_runner.state.document import State
from etl_runner.state.ledger import Ledger

log = logging.getLogger(__name__)

_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class Waiting:
    """The arrivals that are neither committed nor set aside. ``ready`` may be loaded now, as one batch;
    ``due`` is when the others may, None when there are none."""

    ready: tuple[str, ...] = ()
    """The arrivals' names."""
    due: datetime | None = None
    known: frozenset[tuple[str, str]] = frozenset()
    """The ledger: uri and version of every file that was loaded."""
    listed: Mapping[str, Arrival | None] = field(default_factory=dict)
    """What the listing told of the arrivals."""
    most: int = 1
    """Files of one batch. Halved with each failure that no file is known to be to blame for, until the one
    that is stands alone."""


@dataclass(frozen=True)
class Batch:
    """What a run loads: the arrivals, and the objects behind them."""

    arrivals: tuple[Arrival, ...] = ()
    files: tuple[FileVersion, ...] = ()


class Gatherer:
    """Gathers one source's arrivals."""

    def __init__(
        self,
        entry: IndexEntry,
        arrivals: Arrivals,
        ledger: Ledger,
        open_store: Callable[[], FileStore],
        settings: EventSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._entry = entry
        self._arrivals = arrivals
        self._ledger = ledger
        self._open_store = open_store
        self._settings = settings
        self._clock = clock

    @property
    def whole(self) -> bool:
        """Whether every run loads what the bucket has, rather than what is new."""
        return self._entry.load_type == "catalog"

    def tidy(self, state: State) -> set[str]:
        """Delete the arrivals that the ledger of ``state`` has, or that were set aside; the others' hashes.
        What the ledger has it has for ever, so that this may be done by anybody at any time."""
        noted = self._arrivals.hashes()
        return self._tidy(noted, self._known(state)) if noted else set()

    def waiting(self, state: State) -> Waiting:
        """What there is to do, with the ledger of ``state``."""
        listed = self._arrivals.listed()
        if not listed:
            return Waiting()
        known = self._known(state)
        left = self._tidy(set(listed), known)
        attempts = self._arrivals.attempts()
        now = self._clock()
        most = self._settings.batch_files
        if SOURCE_KEY in attempts and left:
            due = self._due(attempts[SOURCE_KEY])
            if due > now:
                return Waiting((), due)
            most = max(1, most if self.whole else min(most, len(left)) >> attempts[SOURCE_KEY].count)
        fresh = left if self.whole else left - attempts.keys()
        if fresh:
            return Waiting(tuple(sorted(fresh)), None, frozenset(known), listed, most)
        if not left:
            return Waiting()
        # A file that failed comes alone, so that it takes nothing with it when it fails again.
        suspect = min(left, key=lambda key: self._due(attempts[key]))
        due = self._due(attempts[suspect])
        return Waiting((suspect,), None, frozenset(known), listed) if due <= now else Waiting((), due)

    def _known(self, state: State) -> set[tuple[str, str]]:
        return set() if self.whole else self._ledger.known(state)

    def _tidy(self, noted: set[str], known: set[tuple[str, str]]) -> set[str]:
        over = noted & self._arrivals.set_aside_hashes()
        over |= noted & {file_hash(uri, version) for uri, version in known}
        self._arrivals.forget(over)
        return noted - over

    def batch(self, waiting: Waiting) -> Batch:
        """The run's batch. Arrivals whose objects are gone or were overwritten are set aside; an overwritten
        object arrives as what it is now, whether or not its own event ever comes. An event for an older
        version than one that is loaded is forgotten.

        Raises:
            RetryableError, PermanentError: the source's bucket cannot be read.
        """
        told = {key: waiting.listed.get(key) for key in waiting.ready}
        arrivals = [arrival for arrival in told.values() if arrival is not None]
        arrivals += self._arrivals.read(key for key, arrival in told.items() if arrival is None)
        if self.whole:
            return Batch(tuple(arrivals))
        arrivals.sort(key=self._order)
        arrivals = arrivals[: waiting.most]
        current = current_versions(self._open_store(), {arrival.name for arrival in arrivals})
        chosen: dict[tuple[str, str], tuple[Arrival, FileVersion]] = {}
        for arrival in arrivals:
            now, taken = current[arrival.name], arrival
            if now is None:
                self._leave_out(arrival, "deleted", "the object was deleted before it could be loaded")
                continue
            if now.version != arrival.version:
                if now.key in waiting.known:
                    log.info(
                        "%s, version %s: %s is loaded already", arrival.uri, arrival.version, now.version
                    )
                    self._arrivals.forget([arrival.hash])
                    continue
                taken = replace(arrival, version=now.version, size=now.size, time=now.modified)
                self._arrivals.note(taken)
                self._leave_out(arrival, "replaced", f"the object has version {now.version} now")
            chosen[taken.key] = (taken, now)
        return Batch(
            tuple(arrival for arrival, _ in chosen.values()), tuple(file for _, file in chosen.values())
        )

    def blame(self, arrival: Arrival, run_id: str, reason: str) -> None:
        """Count a failed run against a file, and set the file aside when it was one too many."""
        now = timestamp(self._clock())
        self._arrivals.note_failure(arrival.hash, run_id, now, reason)
        count = self._arrivals.attempts()[arrival.hash].count
        if count >= self._settings.attempts:
            log.error(
                "%s is set aside after %d attempts: %s",
                arrival.uri,
                count,
                reason,
                extra={"fields": {"event": "file_set_aside", "uri": arrival.uri}},
            )
            self._arrivals.set_aside(SetAside(arrival, "poisonous", reason, count, now))
        else:
            log.warning("%s failed, attempt %d: %s", arrival.uri, count, reason)

    def _leave_out(self, arrival: Arrival, kind: SetAsideKind, reason: str) -> None:
        log.warning("%s, version %s: %s", arrival.uri, arrival.version, reason)
        now = timestamp(self._clock())
        self._arrivals.set_aside(SetAside(arrival, kind, reason, 0, now))

    def _order(self, arrival: Arrival) -> tuple[str, str]:
        if self._entry.order_by == "name":
            return arrival.name, arrival.time
        return arrival.time, arrival.name

    def _due(self, attempts: Attempts) -> datetime:
        pause = timedelta(seconds=self._settings.retry_seconds * 2 ** min(attempts.count - 1, 20))
        return datetime.fromisoformat(attempts.last) + min(pause, _LONGEST_PAUSE)
