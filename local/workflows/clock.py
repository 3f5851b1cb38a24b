"""Time, as executions see it; tests put their own in its place."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where executions get the time from, and how they wait."""

    def now(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float, cancelled: threading.Event) -> None:
        """Wait; return early when ``cancelled`` is set."""


class SystemClock:
    """The machine's clock.

    ``sleep_factor`` shortens every wait (not the clock itself): with 0.1 a definition that asks for ten
    seconds between two polls waits one, which suits a stand-in whose jobs take seconds, not minutes.
    """

    def __init__(self, sleep_factor: float = 1.0) -> None:
        self._factor = sleep_factor

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float, cancelled: threading.Event) -> None:
        """Wait ``seconds`` times the factor; return early when ``cancelled`` is set."""
        cancelled.wait(seconds * self._factor)
