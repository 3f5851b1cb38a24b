"""Durations, instants and starting points as people write them in documents.

A duration is whole numbers with units, largest first: ``1h``, ``30m``, ``1d12h``, ``0``. An instant is an
ISO 8601 date or date-time with at most microseconds; without an offset it is UTC. A starting point is an
instant, or a duration before the run with a minus sign: ``-5d``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit, _ in _UNITS))
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)

DURATION_ALLOWED = "whole numbers with units w, d, h, m, s, such as 1h, 30m or 1d12h, or 0"
INSTANT_ALLOWED = "a date (2024-01-31) or a date-time (2024-01-31T08:00:00Z), years 0001 to 9999"
START_ALLOWED = f"{INSTANT_ALLOWED}, or a time before the run, such as -5d or -12h"


def parse_duration(text: str) -> timedelta:
    """The length of ``1h``, ``1d12h`` or ``0``.

    Raises:
        ValueError: not a duration. The message does not repeat the text.
    """
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError("is not a duration")
    seconds = sum(int(n) * size for n, (_, size) in zip(match.groups(), _UNITS, strict=True) if n)
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError("is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that :func:`parse_duration` reads as ``duration`` (whole seconds, not negative)."""
    rest = duration.days * 86_400 + duration.seconds
    if rest < 0 or duration.microseconds:
        raise ValueError("a duration is whole seconds, zero or more")
    parts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0"


def parse_instant(text: str) -> datetime:
    """The instant of an ISO 8601 date or date-time, in UTC; without an offset it is taken as UTC.

    Raises:
        ValueError: not such a text, or outside the years 0001 to 9999 once in UTC (BigQuery's range of
            TIMESTAMP). The message does not repeat the text.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("is not a date or date-time")
    day, time, offset = match.groups()
    try:
        parsed = datetime.fromisoformat(f"{day}T{time or '00:00'}{offset or 'Z'}")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a date or date-time that exists") from None


@dataclass(frozen=True)
class Start:
    """A starting point: exactly one of ``instant`` (UTC) and ``before`` (a length of time) is set."""

    instant: datetime | None = None
    before: timedelta | None = None

    def at(self, now: datetime) -> datetime:
        """The instant, seen from ``now`` (aware); never before the year 0001."""
        if self.instant is not None:
            return self.instant
        try:
            return now.astimezone(UTC) - (self.before or timedelta(0))
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)


def parse_start(text: str) -> Start:
    """A date, a date-time, or a time before the run (``-5d``).

    Raises:
        ValueError: none of these. The message does not repeat the text.
    """
    if text.startswith("-"):
        try:
            return Start(before=parse_duration(text[1:]))
        except ValueError:
            raise ValueError("is not a time before the run") from None
    return Start(instant=parse_instant(text))
