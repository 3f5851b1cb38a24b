"""How long the holder of a slot waits for more arrivals before it plans.

A file that comes alone does not wait. Within a busy time every batch waits a little, and while a burst is
growing fast it waits on: one commit of all of it instead of many.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from etl_runner.commit.close import Clock
from etl_runner.events.arrivals import Arrivals
from etl_runner.events.budget import Usage
from etl_runner.events.settings import EventSettings

QUIET = 5
"""A table is quiet when its last operation is so many lingers ago."""
BURST = 50
"""Arrivals from which on it is a burst, which is waited for while it grows ..."""
GROWTH = 0.25
"""... by at least this share of itself in one linger ..."""
MOST = 5
"""... for at most so many lingers."""


class Linger:
    """Waits for what belongs into the batch of one source."""

    def __init__(
        self, arrivals: Arrivals, settings: EventSettings, clock: Clock, sleep: Callable[[float], None]
    ) -> None:
        self._arrivals = arrivals
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    def wait(self, least: timedelta, usage: Usage) -> None:
        """Wait: ``least`` for the table's sake, longer for more arrivals.

        Raises:
            RetryableError, PermanentError: the arrivals cannot be listed.
        """
        linger = self._settings.linger_seconds
        busy = usage.latest is not None and self._clock() - usage.latest < timedelta(seconds=QUIET * linger)
        self._sleep(max(least.total_seconds(), linger if busy else 0.0))
        if not linger:
            return
        count = len(self._arrivals.hashes())
        for _ in range(MOST):
            if not BURST <= count < self._settings.batch_files:
                return
            self._sleep(linger)
            before, count = count, len(self._arrivals.hashes())
            if count - before < GROWTH * before:
                return
