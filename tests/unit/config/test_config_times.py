from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.times import format_duration, parse_duration, parse_instant, parse_start

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("30m", 1800), ("1h", 3600), ("1d12h", 129_600), ("90s", 90), ("2w", 1_209_600), ("0h", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "1", "-1h", "1h1d", "1.5h", "1 h", "1H", "1h30", "٣h", "999999999w"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_survives_its_text(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_survives_its_text(instant: datetime) -> None:
    assert parse_instant(instant.isoformat()) == instant


@given(st.dates())
def test_a_date_is_its_first_instant_in_utc(day: object) -> None:
    assert parse_instant(str(day)).isoformat() == f"{day}T00:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-31T08:00:00+02:00", "2024-01-31T06:00:00+00:00"),
        ("2024-01-31 08:00:00.123456", "2024-01-31T08:00:00.123456+00:00"),
        ("2024-01-31 08:00:00+00", "2024-01-31T08:00:00+00:00"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_instants_with_offsets(text: str, instant: str) -> None:
    assert parse_instant(text).isoformat() == instant


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "2024", "20240131", "2024-02-30", "2024-W05-1", "2024-01-31T25:00", "yesterday",
        "2024-01-31T08:00:00.1234567", "0000-01-01", "0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00",
    ],
)  # fmt: skip
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a date"):
        parse_instant(text)


@given(st.integers(min_value=0, max_value=10**6))
def test_a_relative_start_is_before_now(hours: int) -> None:
    start = parse_start(f"-{hours}h").at(NOW)
    assert start == NOW - timedelta(hours=hours)


def test_a_relative_start_never_leaves_the_calendar() -> None:
    assert parse_start("-999999w").at(NOW) == datetime.min.replace(tzinfo=UTC)


def test_an_absolute_start_does_not_move() -> None:
    assert parse_start("2024-01-31").at(NOW) == datetime(2024, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("text", ["-", "5d", "-5", "-5x", "--5d"])
def test_what_is_no_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a"):
        parse_start(text)
