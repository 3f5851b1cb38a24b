"""PostgreSQL's dates and times in binary: bounds of what BigQuery holds, and the text of what it does not.

Days and microseconds count from 2000-01-01; the smallest and the largest number are the infinities
(src/include/datatype/timestamp.h). Years are of the Gregorian calendar, before its time too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from etl_runner.convert.checks import DAY_MICROS, FIRST_DAY, FIRST_MICRO, LAST_DAY, LAST_MICRO

EPOCH_DAYS = 10_957
"""2000-01-01, in days from 1970-01-01."""
EPOCH_MICROS = EPOCH_DAYS * DAY_MICROS
_ERA_DAYS, _ERA_YEARS = 146_097, 400


@dataclass(frozen=True)
class Bound:
    """A type: how it is sent, the first and the last number that fit, what makes them Arrow's numbers."""

    wire: str
    arrow: pa.DataType
    first: int
    last: int
    shift: int
    text: Callable[[int], str]
    """The value of a number as sent, as the server writes it (DateStyle ISO, time zone UTC)."""


def date_text(days: int) -> str:
    """``2020-01-31``, ``0044-03-15 BC``, ``10000-01-01``, ``infinity``."""
    if days in (2**31 - 1, -(2**31)):
        return "infinity" if days > 0 else "-infinity"
    day, era = _day(days)
    return day + era


def time_text(micros: int) -> str:
    """``12:34:56.789``, ``24:00:00``."""
    seconds, fraction = divmod(micros, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour:02}:{minute:02}:{second:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


def timestamp_text(micros: int, zone: str = "") -> str:
    """``2020-01-31 12:34:56.789``, with ``zone`` behind the time."""
    if micros in (2**63 - 1, -(2**63)):
        return "infinity" if micros > 0 else "-infinity"
    days, time = divmod(micros, DAY_MICROS)
    day, era = _day(days)
    return f"{day} {time_text(time)}{zone}{era}"


def _day(days: int) -> tuple[str, str]:
    """Year, month and day; and `` BC`` for years before the first one."""
    # Years that begin in March end with the leap day. Howard Hinnant, "chrono-Compatible Low-Level Date
    # Algorithms", civil_from_days; 719,468 days lie between 0000-03-01 and 1970-01-01.
    era, day_of_era = divmod(days + EPOCH_DAYS + 719_468, _ERA_DAYS)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // (_ERA_DAYS - 1)
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * _ERA_YEARS + (month <= 2)
    before = year <= 0
    return f"{1 - year if before else year:04}-{month:02}-{day:02}", " BC" if before else ""


def _moments(arrow: pa.DataType, text: Callable[[int], str]) -> Bound:
    return Bound(">i8", arrow, FIRST_MICRO - EPOCH_MICROS, LAST_MICRO - EPOCH_MICROS, EPOCH_MICROS, text)


BOUNDS: dict[int, Bound] = {
    1082: Bound(">i4", pa.date32(), FIRST_DAY - EPOCH_DAYS, LAST_DAY - EPOCH_DAYS, EPOCH_DAYS, date_text),
    1083: Bound(">i8", pa.time64("us"), 0, DAY_MICROS - 1, 0, time_text),
    1114: _moments(pa.timestamp("us"), timestamp_text),
    1184: _moments(pa.timestamp("us", tz="UTC"), lambda micros: timestamp_text(micros, "+00")),
}
"""By oid: date, time, timestamp, timestamptz."""
