"""Cron expressions, time zones, and the scheduler's ticks."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import ConfigError
from local.cron import Cron
from local.scheduler import Schedule, Scheduler


def _at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("expression", "moment", "due"),
    [
        ("* * * * *", "2026-03-01 10:07", True),
        ("*/15 * * * *", "2026-03-01 10:45", True),
        ("*/15 * * * *", "2026-03-01 10:46", False),
        ("5/20 * * * *", "2026-03-01 10:45", True),
        ("0 9-17 * * MON-FRI", "2026-03-02 17:00", True),
        ("0 9-17 * * MON-FRI", "2026-03-01 17:00", False),
        ("0 0 1,15 * *", "2026-03-15 00:00", True),
        ("0 0 * jan,MAR *", "2026-03-15 00:00", True),
        ("0 0 * * 7", "2026-03-01 00:00", True),
        ("0 0 * * 0", "2026-03-01 00:00", True),
        # Both day fields restricted: either is enough.
        ("0 0 13 * FRI", "2026-03-13 00:00", True),
        ("0 0 14 * FRI", "2026-03-13 00:00", True),
        ("0 0 14 * FRI", "2026-03-14 00:00", True),
        ("0 0 14 * FRI", "2026-03-15 00:00", False),
    ],
)
def test_expressions(expression: str, moment: str, due: bool) -> None:
    assert Cron.parse(expression).matches(_at(moment)) is due


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "x * * * *"],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        Cron.parse(expression)


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Cron.parse("61 * 0 * x")
    assert [problem.path for problem in caught.value.problems] == [
        "schedule.minute",
        "schedule.day of month",
        "schedule.day of week",
    ]


@given(st.datetimes(min_value=dt.datetime(2000, 1, 1), max_value=dt.datetime(2100, 1, 1)))
def test_an_expression_of_a_moments_own_fields_matches_it(moment: dt.datetime) -> None:
    text = f"{moment.minute} {moment.hour} {moment.day} {moment.month} {moment.isoweekday()}"
    assert Cron.parse(text).matches(moment)


def test_a_schedule_follows_its_time_zone() -> None:
    schedule = Schedule.parse("orders=30 6 * * *", "Europe/Berlin")
    started: list[str] = []
    scheduler = Scheduler([schedule], started.append)
    scheduler.tick(_at("2026-01-10T05:30+00:00"))  # winter: one hour ahead of UTC
    scheduler.tick(_at("2026-07-10T05:30+00:00"))  # summer: two
    scheduler.tick(_at("2026-07-10T04:30+00:00"))
    scheduler.stop()
    assert started == ["orders", "orders"]


def test_a_start_that_fails_leaves_the_other_schedules_alone() -> None:
    started: list[str] = []

    def start(source_id: str) -> None:
        if source_id == "bad":
            raise RuntimeError("no")
        started.append(source_id)

    scheduler = Scheduler([Schedule.parse("bad=* * * * *"), Schedule.parse("good=* * * * *")], start)
    assert scheduler.tick(_at("2026-01-10T05:30+00:00")) == ["bad", "good"]
    scheduler.stop()
    assert started == ["good"]


def test_the_thread_starts_what_the_next_minute_names() -> None:
    started = threading.Event()
    began = dt.datetime.now(dt.UTC)
    base = _at("2026-01-10T05:29:59.950+00:00")
    scheduler = Scheduler(
        [Schedule.parse("orders=30 5 * * *")],
        lambda _: started.set(),
        now=lambda: base + (dt.datetime.now(dt.UTC) - began),
    )
    assert started.wait(10)
    scheduler.stop()


@pytest.mark.parametrize(
    ("text", "zone"), [("orders", "UTC"), ("=* * * * *", "UTC"), ("a=* * * * *", "Mars/X")]
)
def test_what_is_no_schedule_is_refused(text: str, zone: str) -> None:
    with pytest.raises(ConfigError):
        Schedule.parse(text, zone)
