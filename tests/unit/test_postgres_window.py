"""The window rule, transaction numbers around a wrap, and cursors (DESIGN section 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_runner.errors import PermanentError
from etl_runner.sources.postgres import window
from etl_runner.sources.postgres.cursors import Cursor, late_distance
from etl_runner.sources.postgres.window import Bounds, belongs

KEY = Cursor('t."k"', "key", "int8")
INSTANT = Cursor('t."at"', "timestamptz", "timestamptz")
DAY = Cursor('t."day"', "date", "date")
WRAP = 1 << 32


@dataclass
class Transaction:
    """One writer: begins, gets its number, writes rows with cursors, commits. Times are whole numbers."""

    begin: int
    commit: int
    rows: list[int] = field(default_factory=list)
    subtransaction: int = 0
    """How much later than its own the number on its rows was given (savepoints)."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Transaction], list[tuple[int, int, int]]]:
    """A late window, transactions that keep its promise, and runs: (plan time, read time, late window)."""
    late = draw(st.integers(0, 6))
    transactions = []
    for _ in range(draw(st.integers(1, 8))):
        begin = draw(st.integers(1, 40))
        length = draw(st.integers(0, 25))
        commit = begin + length
        # The cursor is read from the clock while the transaction runs, or written ahead of it.
        cursors = st.integers(max(begin, commit - late), commit + 5)
        transactions.append(
            Transaction(begin, commit, draw(st.lists(cursors, max_size=4)), draw(st.integers(0, 3)))
        )
    times = sorted(draw(st.lists(st.integers(1, 70), min_size=1, max_size=8)))
    runs = [(time, time + draw(st.integers(0, 10)), late) for time in times] + [
        (200, 200, late),
        (300, 300, late),
    ]
    return late, transactions, runs


@given(histories(), st.integers(0, 3 * WRAP))
@settings(max_examples=400)
def test_every_row_is_in_exactly_one_run(
    history: tuple[int, list[Transaction], list[tuple[int, int, int]]], origin: int
) -> None:
    _, transactions, runs = history
    # Numbers are given in the order of beginnings; a subtransaction's comes later than its own.
    order = sorted(range(len(transactions)), key=lambda i: transactions[i].begin)
    number = {index: origin + 10 * place + 10 for place, index in enumerate(order)}
    found: dict[tuple[int, int], int] = {}
    low: int | None = None
    previous: tuple[int, int] | None = None
    for plan_time, read_time, run_late in runs:
        # An instant is a whole number of steps: a transaction at the same time counts as still open.
        opened = [i for i, t in enumerate(transactions) if t.begin <= plan_time <= t.commit]
        oldest = min((transactions[i].begin for i in opened), default=None)
        begun = [i for i, t in enumerate(transactions) if t.begin <= plan_time]
        end = max((number[i] for i in begun), default=origin) + 10
        horizon = min((number[i] for i in opened), default=end)
        low_value = None if low is None else Decimal(low)
        high: Any = window.end_of_window(
            KEY, low_value, Decimal(plan_time), None if oldest is None else Decimal(oldest), Decimal(run_late)
        )
        bounds = Bounds(
            low=low_value,
            high=high,
            late=Decimal(run_late),
            previous_late=None if previous is None else Decimal(previous[1]),
            previous_horizon=None if previous is None else previous[0],
            horizon=horizon,
        )
        reading_end = max(
            (number[i] for i, t in enumerate(transactions) if t.begin <= read_time), default=origin
        )
        for i, transaction in enumerate(transactions):
            visible = transaction.commit < plan_time or transaction.commit < read_time
            if not visible:
                continue
            x = number[i] + transaction.subtransaction
            seen = window.transaction_of((x % WRAP), reading_end + 10) if x % WRAP >= 3 else x
            assert seen == x
            for place, cursor in enumerate(transaction.rows):
                if belongs(Decimal(cursor), x, KEY, bounds):
                    found[i, place] = found.get((i, place), 0) + 1
        previous = (horizon, run_late)
        low = int(high)
    expected = {(i, place): 1 for i, t in enumerate(transactions) for place in range(len(t.rows))}
    assert found == expected


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


def test_the_end_of_a_window() -> None:
    hour = timedelta(hours=1)
    assert window.end_of_window(INSTANT, None, instant(12), None, hour) == instant(12)
    assert window.end_of_window(INSTANT, None, instant(12), instant(11, 30), hour) == instant(12)
    assert window.end_of_window(INSTANT, None, instant(12), instant(9), hour) == instant(10)
    assert window.end_of_window(INSTANT, instant(11), instant(12), instant(9), hour) == instant(11)
    nothing = timedelta(0)
    assert window.end_of_window(INSTANT, None, instant(12), None, nothing) == instant(11, 59) + timedelta(
        seconds=59, microseconds=999_999
    )
    assert window.end_of_window(INSTANT, None, instant(12), instant(9), nothing) < instant(9)
    assert window.end_of_plain_window(INSTANT, None, instant(12), instant(9), hour) < instant(8)


def test_the_end_of_a_window_of_days() -> None:
    day = timedelta(days=1)
    noon = datetime(2024, 5, 6, 12)
    assert window.end_for_dates(None, noon, None, timedelta(hours=1), plain=False) == date(2024, 5, 5)
    assert window.end_for_dates(None, noon, None, day, plain=False) == date(2024, 5, 6)
    assert window.end_for_dates(None, noon, noon - 2 * day, timedelta(hours=1), plain=False) == date(
        2024, 5, 3
    )
    assert window.end_for_dates(date(2024, 5, 6), noon, None, timedelta(0), plain=False) == date(2024, 5, 6)
    midnight = datetime(2024, 5, 6)
    assert window.end_for_dates(None, midnight, None, timedelta(0), plain=False) == date(2024, 5, 4)
    assert window.end_for_dates(None, noon, None, day, plain=True) == date(2024, 5, 5)
    assert late_distance("date", timedelta(hours=1)) == day
    assert late_distance("date", timedelta(hours=25)) == 2 * day


def test_the_condition_says_the_rule() -> None:
    bounds = Bounds(
        low=instant(10),
        high=instant(12, 0, 1),
        late=timedelta(hours=1),
        previous_late=timedelta(minutes=30),
        previous_horizon=700,
        horizon=900,
    )
    text = window.condition(INSTANT, bounds)
    assert "t.\"at\" <= '2024-05-06 12:00:00.000001+00'::timestamptz" in text
    assert "t.\"at\" > '2024-05-06 09:30:00.000000+00'::timestamptz" in text
    assert ">= 700" in text
    assert "t.\"at\" <= '2024-05-06 11:00:00.000001+00'::timestamptz" in text
    assert "< 900" in text


def test_a_first_run_and_a_plain_window_ask_for_no_transactions_behind_low() -> None:
    first = window.condition(KEY, Bounds(low=None, high=Decimal(9), late=Decimal(0), horizon=5))
    assert first == "(t.\"k\" <= '9'::int8)"
    plain = window.condition(KEY, Bounds(low=Decimal(3), high=Decimal(9), late=Decimal(2)))
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
