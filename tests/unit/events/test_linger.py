"""How long a batch is waited for: not at all when a file comes alone, on and on while a burst grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from etl_runner.events.arrivals import Arrival, Arrivals
from etl_runner.events.budget import Usage
from etl_runner.events.linger import MOST, Linger
from etl_runner.events.settings import EventSettings
from etl_runner.state.memory import MemoryObjectStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO, JUST_NOW = Usage(1, NOW - timedelta(minutes=5)), Usage(1, NOW - timedelta(seconds=3))


class Stream:
    """Arrivals that come while somebody waits: so many in each wait."""

    def __init__(self, *numbers: int) -> None:
        self.arrivals = Arrivals(MemoryObjectStore(), "sales")
        self.coming = list(numbers)
        self.slept: list[float] = []
        self.noted = 0
        self.sleep(0)
        self.slept.clear()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        for _ in range(self.coming.pop(0) if self.coming else 0):
            self.noted += 1
            name = f"{self.noted}.csv"
            self.arrivals.note(Arrival(f"gs://b/{name}", name, "1", 1, "", "gcs", "", ""))

    def wait(self, usage: Usage, least: float = 0.0) -> list[float]:
        """Seconds of each wait."""
        linger = Linger(self.arrivals, EventSettings(linger_seconds=2), lambda: NOW, self.sleep)
        linger.wait(timedelta(seconds=least), usage)
        return self.slept


@pytest.mark.parametrize("usage", [Usage(0), LONG_AGO])
def test_a_file_that_comes_alone_does_not_wait(usage: Usage) -> None:
    assert sum(Stream(1).wait(usage)) == 0


def test_a_busy_table_waits_once() -> None:
    assert Stream(1, 5).wait(JUST_NOW) == [2]


def test_the_tables_pace_is_kept() -> None:
    assert Stream(1).wait(LONG_AGO, least=30) == [30]


def test_a_burst_is_waited_for_while_it_grows() -> None:
    assert Stream(60, 0, 60, 60, 10).wait(LONG_AGO) == [0, 2, 2, 2]


def test_but_not_for_ever() -> None:
    assert len(Stream(60, *(1_000 * 2**n for n in range(10))).wait(JUST_NOW)) <= 1 + MOST
