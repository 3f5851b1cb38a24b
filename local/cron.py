"""Cron expressions as Cloud Scheduler reads them: minute, hour, day of month, month, day of week.

https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from etl_runner.errors import ConfigError, Problem

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True)
class Cron:
    """A parsed expression."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both day fields are restricted: one of them is enough, as in every cron."""

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read five fields.

        Raises:
            ConfigError: every field that cannot be read.
        """
        parts = text.split()
        if len(parts) != len(_FIELDS):
            problem = Problem("schedule", "has not five fields", found=text)
            raise ConfigError("cron expression", (problem,))
        problems: list[Problem] = []
        values: list[frozenset[int]] = []
        for part, (name, low, high, names) in zip(parts, _FIELDS, strict=True):
            try:
                values.append(_field(part, low, high, names))
            except ValueError:
                allowed = f"*, {low} to {high}, lists, ranges, steps"
                problems.append(Problem(f"schedule.{name}", "cannot be read", found=part, allowed=allowed))
        if problems:
            raise ConfigError("cron expression", tuple(problems))
        minutes, hours, days, months, weekdays = values
        either = not parts[2].startswith("*") and not parts[4].startswith("*")
        return cls(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either)

    def matches(self, moment: dt.datetime) -> bool:
        """Whether the minute of ``moment``, in the schedule's time zone, is one of the schedule's."""
        day = moment.day in self.days
        weekday = moment.isoweekday() % 7 in self.weekdays
        return (
            moment.minute in self.minutes
            and moment.hour in self.hours
            and moment.month in self.months
            and (day or weekday if self.either_day else day and weekday)
        )


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if span == "*":
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, names)
            last = _number(end, names) if dash else (high if slash else first)
        stride = int(step) if slash else 1
        if not (low <= first <= last <= high and stride > 0):
            raise ValueError(part)
        found.update(range(first, last + 1, stride))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    number = names.get(text.upper())
    if number is not None:
        return number
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)
