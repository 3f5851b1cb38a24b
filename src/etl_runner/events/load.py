"""Loading a source's arrivals: take the slot, load what is there in one commit, look again.

The steps and their order are those of the model in ``tests/model/arrivals_model.py``: the ledger is read
after the slot was taken; the commit adds to the ledger and empties the slot in one compare-and-swap; only
then are the arrivals deleted; and whoever emptied the slot lists them once more and tries the slot again.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol, TypeVar

from etl_runner.commit.close import Closer, Done, Failure, Pending, RunKey
from etl_runner.commit.open_run import Opened, Opener
from etl_runner.errors import EtlError, FileError, PermanentError, RetryableError
from etl_runner.events.arrivals import SOURCE_KEY, Arrivals
from etl_runner.events.batch import Batch, Gatherer
from etl_runner.events.budget import TableOperations, Usage, next_batch
from etl_runner.events.index import IndexEntry
from etl_runner.events.linger import Linger
from etl_runner.events.settings import EventSettings
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

T = TypeVar("T")
LoadStatus = Literal["empty", "held", "postponed", "handed_over", "time_up"]
LONGEST_WAIT = timedelta(seconds=60)
"""A batch that may be loaded within this is waited for with the slot in hand; a later one is left to the
sweep, or to an event that comes then."""
_ATTEMPTS = 4


class OutOfTime(Exception):  # noqa: N818 - an order that was followed
    """The call's time is up; what is done of the run stays done."""


@dataclass(frozen=True)
class Planned:
    """What an event run needs to know of its plan: ``small`` enough to be loaded by this call?"""

    units: int
    small: bool


class RunSteps(Protocol):
    """The steps of a run, in this process."""

    def plan(self, key: RunKey, files: tuple[FileVersion, ...] | None) -> Planned:
        """Plan the run for exactly these files; None: for what the bucket has."""

    def extract(self, key: RunKey, deadline: datetime) -> None:
        """Do the plan's units.

        Raises:
            OutOfTime: the deadline came first.
        """

    def finalize(self, key: RunKey, failure: Failure | None) -> Done | Pending:
        """One call of the committing step."""

    def failures(self, key: RunKey) -> list[tuple[str, str, str]]:
        """The files that the run's units blame: uri, version, reason."""

    def start_workflow(self, key: RunKey) -> None:
        """Have the workflow go on with the run."""


@dataclass
class Loaded:
    """What a call did: runs that it committed with their files, runs that failed, how it ended.
    ``until`` is when there is more to do, for ``postponed``."""

    status: LoadStatus = "empty"
    runs: list[str] = field(default_factory=list)
    files: int = 0
    failed: int = 0
    until: datetime | None = None
    trouble: EtlError | None = None
    """Why the last run failed, when no file is to blame."""

    def then(self, more: Loaded) -> Loaded:
        """Both, one after the other."""
        runs, files, failed = [*self.runs, *more.runs], self.files + more.files, self.failed + more.failed
        return Loaded(more.status, runs, files, failed, more.until, more.trouble)


class ArrivalLoader:
    """Loads the arrivals of one source."""

    def __init__(
        self,
        entry: IndexEntry,
        store: StateStore,
        arrivals: Arrivals,
        gatherer: Gatherer,
        opener: Opener,
        closer: Closer,
        steps: RunSteps,
        operations: TableOperations,
        settings: EventSettings,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._entry = entry
        self._store = store
        self._arrivals = arrivals
        self._gatherer = gatherer
        self._opener = opener
        self._closer = closer
        self._steps = steps
        self._operations = operations
        self._settings = settings
        self._sleep = sleep
        self._linger = Linger(arrivals, settings, closer.clock, sleep)

    def load(self, deadline: datetime) -> Loaded:
        """Load until nothing is left that may be loaded now, somebody else holds the slot, or it is late.

        Raises:
            RetryableError, PermanentError: the state or the source cannot be read; arrivals stay.
        """
        result = Loaded()
        while True:
            # A reading look first: most calls of a burst find that somebody holds the slot.
            state = self._store.read()
            if state.slot is not None and state.slot.phase == "extracting":
                if not state.slot.expired(self._closer.clock()):
                    return self._ended(result, "held")
            elif state.slot is None:
                waiting = self._gatherer.waiting(state)
                if not waiting.ready:
                    result.until = waiting.due
                    return self._ended(result, "postponed" if waiting.due else "empty")
            usage = self._operations.usage(self._entry.table)
            wait = self._wait(usage)
            if wait is None or wait > LONGEST_WAIT:
                result.until = None if wait is None else self._closer.clock() + wait
                return self._ended(result, "postponed")
            if self._closer.clock() + wait >= deadline:
                return self._ended(result, "time_up")
            opened = self._opener.open_run(f"ev-{secrets.token_hex(8)}")
            if not isinstance(opened, Opened):
                return self._ended(result, "held")
            if self._run(opened, partial(self._linger.wait, wait, usage), deadline, result):
                return self._ended(result, "handed_over")

    def _run(self, opened: Opened, gather: Callable[[], None], deadline: datetime, result: Loaded) -> bool:
        """One run, from its taken slot to its end; it begins with ``gather``, which waits for more arrivals.
        True: somebody else goes on with it."""
        key = opened.key
        batch = Batch()
        trouble: EtlError | None = None
        step = "arrivals"
        try:
            gather()
            # The ledger as it was when the slot was taken: nobody adds to it while the slot is ours.
            waiting = self._gatherer.waiting(opened.state)
            batch = self._repeat(lambda: self._gatherer.batch(waiting))
            if not batch.arrivals:
                self._leave_empty(key)
                return False
            step = "plan"
            files = None if self._gatherer.whole else batch.files
            planned = self._repeat(lambda: self._steps.plan(key, files))
            if not planned.small:
                log.info("run %s goes to the workflow", key.run_id)
                self._steps.start_workflow(key)
                return True
            step = "extract"
            if planned.units:
                self._steps.extract(key, deadline)
        except OutOfTime:
            log.warning("run %s is out of time and goes to the workflow", key.run_id)
            self._steps.start_workflow(key)
            return True
        except EtlError as error:
            trouble = error
        failure = None if trouble is None else Failure(step, str(trouble))
        done = self._finalize(key, failure, deadline)
        if done is None:
            return True
        if done.outcome == "ok":
            result.runs.append(key.run_id)
            result.files += len(batch.arrivals)
            result.trouble = None
            self._committed(batch)
        else:
            result.failed += 1
            result.trouble = self._failed(key, batch, step, trouble, done)
        return False

    def _committed(self, batch: Batch) -> None:
        hashes = [arrival.hash for arrival in batch.arrivals]
        self._arrivals.forget(hashes)
        for failed in {*hashes, SOURCE_KEY} & self._arrivals.attempts().keys():
            self._arrivals.clear_failures(failed)

    def _failed(
        self, key: RunKey, batch: Batch, step: str, trouble: EtlError | None, done: Done
    ) -> EtlError | None:
        """Count the failure against the files that are to blame, else against the source."""
        receipt = done.receipt or {}
        reason = str(receipt.get("reason") or trouble or "the run failed")
        blamed = self._steps.failures(key)
        if isinstance(trouble, FileError) and trouble.uri:
            blamed.append((trouble.uri, trouble.version, str(trouble)))
        of_batch = {arrival.key: arrival for arrival in batch.arrivals}
        guilty = {of_batch[uri, version]: why for uri, version, why in blamed if (uri, version) in of_batch}
        reading = step == "extract" and isinstance(trouble, PermanentError)
        judged = trouble is None and not receipt.get("jobs")
        if not guilty and len(of_batch) == 1 and (reading or judged):
            # It was alone, and failed before anything but its rows could matter.
            guilty = dict.fromkeys(of_batch.values(), reason)
        for arrival, why in guilty.items():
            self._gatherer.blame(arrival, key.run_id, why)
        if guilty:
            return None
        log.error("run %s of source %s failed: %s", key.run_id, key.source_id, reason)
        self._arrivals.note_failure(SOURCE_KEY, key.run_id, self._closer.clock().isoformat(), reason)
        return trouble or PermanentError(reason)

    def _finalize(self, key: RunKey, failure: Failure | None, deadline: datetime) -> Done | None:
        """Call finalize until the run is over; None when the call's time is: anybody rolls it forward."""
        pause = 0.1
        while True:
            result = self._repeat(lambda: self._steps.finalize(key, failure))
            if isinstance(result, Done):
                return result
            if self._closer.clock() > deadline:
                log.warning("run %s is still committing (%s)", key.run_id, result.what)
                return None
            self._sleep(min(pause, result.retry_after))
            pause *= 1.5

    def _leave_empty(self, key: RunKey) -> None:
        """Nothing to load after all: give the slot back, without a table operation."""
        receipt = {"engine": "none", "notes": ["no arrival was left to load"]}
        self._closer.advance(key, receipt, phase="extracting", watermark=None, ledger_segment=None)

    def _wait(self, usage: Usage) -> timedelta | None:
        """How long the next batch has to wait for the table's sake; None: nobody can say yet."""
        now = self._closer.clock()
        moment = next_batch(usage, self._settings.table_operations, now)
        wait = None if moment is None else max(moment - now, timedelta(0))
        if wait is None or wait > timedelta(seconds=self._settings.linger_seconds):
            log.warning(
                "%d of %d operations on table %s are used: %s",
                usage.used,
                self._settings.table_operations,
                self._entry.table,
                "no batch until the oldest is a day old" if wait is None else f"next batch in {wait}",
                extra={"fields": {"event": "table_budget", "table": self._entry.table, "used": usage.used}},
            )
        return wait

    def _repeat(self, step: Callable[[], T]) -> T:
        """A step, repeated on what may pass, as the workflow does; the last error goes out."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return step()
            except RetryableError as error:
                log.warning("%s: trying again", error)
                self._sleep(0.2 * 2**attempt)
        return step()

    def _ended(self, result: Loaded, status: LoadStatus) -> Loaded:
        result.status = status
        return result
