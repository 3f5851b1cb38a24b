"""The history as a whole: bring it up to date, and say how far it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from etl_runner.commit.close import Clock, utc_now
from etl_runner.commit.jobs import BigQueryJobs
from etl_runner.history.covered import Covered
from etl_runner.history.drain import Drain, Drained, Target
from etl_runner.history.streams import STREAMS, Stream
from etl_runner.state.notes import Notes
from etl_runner.state.objects import ObjectStore
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

NOT_OFTENER_THAN = timedelta(minutes=5)
"""Each drain is a table operation of the day's 1,500 of its table, whatever it loads: 288 at this pace.
https://cloud.google.com/bigquery/quotas#standard_tables"""
_LOOKS = 30


@dataclass(frozen=True)
class Standing:
    """How far the history is: finished runs that it lacks, and when it was last brought up to date."""

    waiting: int
    drained: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class History:
    """The run history of one deployment."""

    def __init__(
        self,
        objects: ObjectStore,
        staging: ObjectStore,
        jobs: Callable[[], BigQueryJobs],
        target: Target,
        clock: Clock = utc_now,
    ) -> None:
        self._objects = objects
        self._staging = staging
        self._jobs = jobs
        self._target = target
        self._clock = clock

    def standing(self) -> Standing:
        """Reads the notes' names and one state a table; asks BigQuery nothing."""
        covered = [self._covered(stream) for stream in STREAMS]
        waiting = sum(
            1
            for note in Notes(self._objects).all()
            if not all(one.has(note.source_id, note.epoch) for one in covered)
        )
        drained = [self._drained(stream) for stream in STREAMS]
        known = [moment for moment in drained if moment is not None]
        return Standing(waiting, min(known) if known else None)

    def drain(
        self, *, now: bool = False, sleep: Callable[[float], None] | None = None
    ) -> tuple[Drained, ...]:
        """Load what finished runs left, one load job a table that has something to load.

        Args:
            now: also where the last drain was less than five minutes ago.
            sleep: waits for the load jobs, 30 looks at most; None: whoever comes next finishes them.

        Raises:
            RetryableError, PermanentError: see :meth:`Drain.drain`.
        """
        if not now and self._was_just_done():
            return ()
        results = []
        for stream in STREAMS:
            drain = Drain(stream, self._objects, self._staging, self._jobs(), self._target, clock=self._clock)
            result = drain.drain()
            looks = 0
            while result.pending and sleep is not None and looks < _LOOKS:
                looks += 1
                sleep(min(looks, 5))
                again = drain.drain()
                result = Drained(
                    result.table, result.runs + again.runs, result.rows + again.rows, again.pending
                )
            results.append(result)
        self._remove_notes()
        return tuple(results)

    def _was_just_done(self) -> bool:
        moments = [self._drained(stream) for stream in STREAMS]
        if any(StateStore(self._objects, stream.source_id).read().slot for stream in STREAMS):
            return False
        newest = max((moment for moment in moments if moment is not None), default=None)
        return newest is not None and self._clock() - datetime.fromisoformat(newest) < NOT_OFTENER_THAN

    def _remove_notes(self) -> None:
        covered = [self._covered(stream) for stream in STREAMS]
        notes = Notes(self._objects)
        for note in list(notes.all()):
            if all(one.has(note.source_id, note.epoch) for one in covered):
                notes.remove(note)

    def _covered(self, stream: Stream) -> Covered:
        return Covered.from_watermark(StateStore(self._objects, stream.source_id).read().watermark)

    def _drained(self, stream: Stream) -> str | None:
        last = StateStore(self._objects, stream.source_id).read().last
        return None if last is None else str(last.receipt["finished"])
