"""The ends of windows, the rule as SQL, transaction numbers around a wrap, and cursors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import PermanentError
from etl_runner.sources.cursors import Cursor, late_distance
from etl_runner.sources.postgres import window
from etl_runner.sources.postgres.window import Bounds, End, Watermark, bounds_of

KEY = Cursor('t."k"', "key", "int8")
INSTANT = Cursor('t."at"', "timestamptz", "timestamptz")
DAY = Cursor('t."day"', "date", "date")
WRAP = 1 << 32


@given(st.integers(3, WRAP - 1), st.integers(0, 5 * WRAP), st.integers(1, WRAP))
def test_a_transaction_less_than_a_wrap_ago_is_told_exactly(bits: int, base: int, distance: int) -> None:
    end = base + WRAP + distance
    x = end - distance
    if x % WRAP < 3:
        return
    assert window.transaction_of(x % WRAP, end) == x
    assert window.transaction_of(bits, end) < end
    assert window.transaction_of(bits, end) >= end - WRAP
    assert window.transaction_of(bits, end) % WRAP == bits


@pytest.mark.parametrize("bits", [0, 1, 2])
def test_permanent_numbers_are_older_than_everything(bits: int) -> None:
    assert window.transaction_of(bits, 7 * WRAP + bits + 1) == 0


def test_around_a_wrap() -> None:
    end = 2 * WRAP + 5
    assert window.transaction_of(4, end) == 2 * WRAP + 4
    assert window.transaction_of(WRAP - 1, end) == 2 * WRAP - 1
    # The number that is given out next cannot be on a row yet: its bits are those of a row a wrap ago.
    assert window.transaction_of(5, end) == WRAP + 5
    assert window.transaction_of(6, end) == WRAP + 6


def test_numbers_too_far_apart_or_going_backwards_are_refused() -> None:
    window.check_distance(None, 5)
    window.check_distance(100, 100)
    window.check_distance(100, WRAP // 2)
    with pytest.raises(PermanentError, match="too many to tell"):
        window.check_distance(100, 100 + WRAP)
    with pytest.raises(PermanentError, match="lies behind"):
        window.check_distance(100, 99)


def instant(hour: int, minute: int = 0, microsecond: int = 0) -> datetime:
    return datetime(2024, 5, 6, hour, minute, 0, microsecond, tzinfo=UTC)


def test_the_end_of_a_window_is_strictly_below_the_clock_and_the_oldest_transaction() -> None:
    hour, tick = timedelta(hours=1), timedelta(microseconds=1)

    def end(oldest: datetime | None, late: timedelta) -> tuple[datetime, datetime]:
        found = window.end_of_window(INSTANT, instant(12), oldest, late)
        return found.high, found.settled

    assert end(None, hour) == (instant(12) - tick, instant(11) - tick)
    assert end(instant(11, 30), hour) == (instant(12) - tick, instant(11) - tick)
    assert end(instant(9), hour) == (instant(10) - tick, instant(9) - tick)
    assert end(None, timedelta(0)) == (instant(12) - tick, instant(12) - tick)
    assert end(instant(9), timedelta(0)) == (instant(9) - tick, instant(9) - tick)
    plain = window.end_of_plain_window(INSTANT, instant(12), instant(9), hour)
    assert (plain.high, plain.settled) == (instant(8) - tick, instant(8) - tick)


def test_the_end_of_a_window_of_days() -> None:
    day, hour = timedelta(days=1), timedelta(hours=1)
    noon, midnight = datetime(2024, 5, 6, 12), datetime(2024, 5, 6)

    def end(t0: datetime, oldest: datetime | None, late: timedelta) -> tuple[str, str]:
        found = window.end_for_dates(t0, oldest, late, plain=False)
        return found.high.isoformat()[5:], found.settled.isoformat()[5:]

    assert end(noon, None, hour) == ("05-05", "05-05")
    assert end(midnight + hour, None, hour) == ("05-05", "05-04")
    assert end(noon, None, day) == ("05-06", "05-04")
    # A day whose transaction is still open is not settled, however wide the late window.
    assert end(noon, noon - day, day) == ("05-06", "05-04")
    assert end(noon, noon - 2 * day, hour) == ("05-03", "05-03")
    assert end(midnight, None, timedelta(0)) == ("05-04", "05-04")
    plain = window.end_for_dates(noon, None, day, plain=True)
    assert (plain.high, plain.settled) == (date(2024, 5, 5), date(2024, 5, 5))
    assert late_distance("date", timedelta(hours=1)) == day
    assert late_distance("date", timedelta(hours=25)) == 2 * day


def test_the_end_of_a_window_of_keys() -> None:
    end = window.end_of_keys(KEY, Decimal(50), Decimal(8), plain=False)
    assert (end.high, end.settled) == (Decimal(50), Decimal(42))
    end = window.end_of_keys(KEY, Decimal(50), Decimal(8), plain=True)
    assert (end.high, end.settled) == (Decimal(42), Decimal(42))
    # Longer than Python's default precision of 28 digits.
    huge = Decimal("123456789012345678901234567890123456.5")
    exact = window.end_of_keys(KEY, huge, Decimal(10_000), plain=False).settled
    assert str(exact) == "123456789012345678901234567890113456.5"
    assert KEY.plus(exact, Decimal(10_000)) == huge


def test_neither_bound_moves_back() -> None:
    before = Watermark(high=Decimal(20), settled=Decimal(15), horizon=7)
    bounds = bounds_of(before, End(Decimal(18), Decimal(9)), 8)
    assert bounds == Bounds(Decimal(20), Decimal(20), Decimal(15), Decimal(15), 7, 8)
    bounds = bounds_of(before, End(Decimal(30), Decimal(25)), 8)
    assert bounds == Bounds(Decimal(20), Decimal(30), Decimal(25), Decimal(15), 7, 8)


def test_nothing_is_left_for_later_where_it_could_not_be_found() -> None:
    end = End(Decimal(30), Decimal(25))
    assert bounds_of(None, end, None).settled == Decimal(30)
    plain = bounds_of(Watermark(Decimal(20), Decimal(15), 7), end, None)
    assert (plain.settled, plain.looks_back, plain.leaves_for_later) == (Decimal(30), False, False)


def test_the_condition_says_the_rule() -> None:
    bounds = Bounds(
        low=instant(10),
        high=instant(12, 0, 1),
        settled=instant(11, 0, 2),
        floor=instant(9, 30),
        previous_horizon=700,
        horizon=900,
    )
    text = window.condition(INSTANT, bounds)
    x = window.transaction_sql("t")
    assert text.split(" AND ") == [
        "(t.\"at\" <= '2024-05-06 12:00:00.000001+00'::timestamptz)",
        "(t.\"at\" > '2024-05-06 09:30:00.000000+00'::timestamptz)",
        f"(t.\"at\" > '2024-05-06 10:00:00.000000+00'::timestamptz OR {x} >= 700)",
        f"(t.\"at\" <= '2024-05-06 11:00:00.000002+00'::timestamptz OR {x} < 900)",
    ]


def test_a_first_run_and_a_plain_window_ask_for_no_transactions_behind_low() -> None:
    first = window.condition(KEY, Bounds(low=None, high=Decimal(9), settled=Decimal(9), horizon=5))
    assert first == "(t.\"k\" <= '9'::int8)"
    plain = window.condition(KEY, Bounds(low=Decimal(3), high=Decimal(9), settled=Decimal(9)))
    assert plain == "(t.\"k\" <= '9'::int8) AND (t.\"k\" > '3'::int8)"


@given(st.datetimes(timezones=st.just(UTC)), st.dates(), st.decimals(allow_nan=False, allow_infinity=False))
def test_cursor_values_survive_their_text(moment: datetime, day: date, number: Decimal) -> None:
    assert INSTANT.parse(INSTANT.text(moment)) == moment
    assert DAY.parse(DAY.text(day)) == day
    assert KEY.parse(KEY.text(number)) == number


def test_arithmetic_stops_at_the_ends_of_time() -> None:
    assert INSTANT.minus(datetime.min.replace(tzinfo=UTC), timedelta(days=1)) == datetime.min.replace(
        tzinfo=UTC
    )
    assert DAY.plus(date.max, timedelta(days=1)) == date.max
