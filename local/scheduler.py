"""Cloud Scheduler: starts workflow executions by cron expression and time zone."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from etl_runner.errors import ConfigError, Problem
from local.cron import Cron

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """When a source is loaded."""

    source_id: str
    cron: Cron
    time_zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, time_zone: str = "UTC") -> Schedule:
        """Read ``source=cron expression``.

        Raises:
            ConfigError: what of it cannot be read.
        """
        source_id, equals, expression = text.partition("=")
        if not equals or not source_id:
            raise ConfigError("schedule", (Problem("", "is not SOURCE=CRON", found=text),))
        try:
            zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            problem = Problem("time_zone", "is not a name of the tz database", found=time_zone)
            raise ConfigError("schedule", (problem,)) from error
        return cls(source_id, Cron.parse(expression), zone)


class Scheduler:
    """Calls ``start(source_id)`` in every minute that a schedule names, from a thread of its own."""

    def __init__(
        self,
        schedules: Sequence[Schedule],
        start: Callable[[str], object],
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._schedules = schedules
        self._start = start
        self._now = now
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; a call that is being made ends first. Safe to repeat."""
        self._stopping.set()
        self._thread.join()

    def tick(self, minute: dt.datetime) -> list[str]:
        """Start what is due in this minute (aware of its time zone); the sources."""
        due = [s.source_id for s in self._schedules if s.cron.matches(minute.astimezone(s.time_zone))]
        for source_id in due:
            try:
                self._start(source_id)
            except Exception:  # noqa: BLE001 - one source must not stop the others
                _log.exception("the scheduled start of %s failed", source_id)
        return due

    def _run(self) -> None:
        minute = self._minute()
        while True:
            following = minute + dt.timedelta(minutes=1)
            if self._stopping.wait(max(0.0, (following - self._now()).total_seconds())):
                return
            # After a pause of the machine the missed minutes are not made up for.
            minute = max(following, self._minute())
            self.tick(minute)

    def _minute(self) -> dt.datetime:
        return self._now().replace(second=0, microsecond=0)
