"""The window rule over whole histories: writers that commit late, runs whose late window changes.

Every row version has to be in exactly one run, for times (ticks stand for microseconds), days and keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_runner.sources.cursors import DAYS, Cursor, late_distance
from etl_runner.sources.postgres import window
from etl_runner.sources.postgres.window import Bounds, End, Watermark, belongs, bounds_of

TICKS = Cursor('t."k"', "key", "int8")
"""Whole numbers as times: one tick is the clock's smallest step."""
WRAP = 1 << 32
MIDNIGHT = datetime(2024, 1, 1)
QUIET = 1_000
"""A tick, or hour, by which everything is committed and every cursor has passed."""


@dataclass
class Transaction:
    """One writer: begins, gets its number, writes rows with cursors, commits."""

    begin: int
    commit: int
    rows: list[Any] = field(default_factory=list)
    subtransaction: int = 0
    """How much later than its own the number on its rows was given (savepoints)."""


@dataclass
class Run:
    """Fixed at ``plan``, its units read at ``read``."""

    plan: int
    read: int
    late: int


@dataclass
class History:
    transactions: list[Transaction]
    runs: list[Run]
    origin: int = 0
    """The transaction number that the server begins with."""


@dataclass
class Moment:
    """What a run sees of the server when it is planned."""

    t0: int
    oldest: int | None
    late: int
    visible: list[Any]
    """Cursors of committed rows."""


EndRule = Callable[[Moment], End | None]
BoundsRule = Callable[[Watermark | None, End, int], Bounds]


def missing(history: History, end_rule: EndRule, bounds_rule: BoundsRule = bounds_of) -> Counter[Any]:
    """How often each row was loaded, for rows that were not loaded exactly once."""
    transactions = history.transactions
    # Numbers are given in the order of beginnings; a subtransaction's comes later than its own.
    order = sorted(range(len(transactions)), key=lambda i: transactions[i].begin)
    number = {index: history.origin + 10 * place + 10 for place, index in enumerate(order)}

    def end_of_numbers(time: int) -> int:
        given_out = (number[i] for i, t in enumerate(transactions) if t.begin <= time)
        return max(given_out, default=history.origin) + 10

    found = Counter({(i, place): 0 for i, t in enumerate(transactions) for place in range(len(t.rows))})
    before: Watermark | None = None
    for run in history.runs:
        # A transaction that commits at the very time counts as still open, and is not visible yet.
        opened = [i for i, t in enumerate(transactions) if t.begin <= run.plan <= t.commit]
        horizon = min((number[i] for i in opened), default=end_of_numbers(run.plan))
        end = end_rule(
            Moment(
                t0=run.plan,
                oldest=min((transactions[i].begin for i in opened), default=None),
                late=run.late,
                visible=[c for t in transactions if t.commit < run.plan for c in t.rows],
            )
        )
        if end is None:
            continue
        bounds = bounds_rule(before, end, horizon)
        snapshot_end = end_of_numbers(run.read)
        for i, transaction in enumerate(transactions):
            if transaction.commit >= max(run.plan, run.read):
                continue
            x = number[i] + transaction.subtransaction
            seen = window.transaction_of(x % WRAP, snapshot_end) if x % WRAP >= 3 else x
            assert seen == x
            for place, cursor in enumerate(transaction.rows):
                found[i, place] += belongs(cursor, x, bounds)
        before = Watermark(bounds.high, bounds.settled, horizon)
    return Counter({row: count for row, count in found.items() if count != 1})


def lost(history: History, end_rule: EndRule, bounds_rule: BoundsRule = bounds_of) -> list[Any]:
    return [row for row, count in missing(history, end_rule, bounds_rule).items() if count == 0]


def doubled(history: History, end_rule: EndRule, bounds_rule: BoundsRule = bounds_of) -> list[Any]:
    return [row for row, count in missing(history, end_rule, bounds_rule).items() if count > 1]


@st.composite
def histories(
    draw: st.DrawFn,
    cursors: Callable[[Transaction, int], st.SearchStrategy[Any]],
    lates: Sequence[int],
    span: int,
) -> History:
    """Writers, and runs with late windows of ``lates``.

    ``cursors`` gives the cursors that a transaction may write, with the smallest late window of all runs.
    """
    times = sorted(draw(st.lists(st.integers(1, span + span // 2), min_size=1, max_size=8)))
    runs = [Run(time, time + draw(st.integers(0, 10)), draw(st.sampled_from(lates))) for time in times]
    runs += [Run(time, time, draw(st.sampled_from(lates))) for time in (QUIET, 2 * QUIET)]
    least = min(run.late for run in runs)
    transactions = []
    for _ in range(draw(st.integers(1, 8))):
        begin = draw(st.integers(1, span))
        length = draw(st.sampled_from((0, 1, 2, 3)) | st.integers(0, span // 2))
        transaction = Transaction(begin, begin + length, subtransaction=draw(st.integers(0, 3)))
        transaction.rows = draw(st.lists(cursors(transaction, least), max_size=4))
        transactions.append(transaction)
    return History(transactions, runs, draw(st.integers(0, 3 * WRAP)))


# Times


def ticks_of(transaction: Transaction, late: int) -> st.SearchStrategy[Decimal]:
    """``now()``, the clock, a time ahead; or one before the begin, committed within the late window."""
    own = st.just(transaction.begin) | st.integers(transaction.begin, transaction.commit + 5)
    past = st.sampled_from((transaction.begin - 1, transaction.commit - late))
    past = past.map(lambda time: max(time, transaction.commit - late))
    return (own | past | st.integers(transaction.commit - late, transaction.commit)).map(Decimal)


def end_of_ticks(moment: Moment) -> End:
    oldest = None if moment.oldest is None else Decimal(moment.oldest)
    return window.end_of_window(TICKS, Decimal(moment.t0), oldest, Decimal(moment.late))


@given(histories(ticks_of, range(7), 40))
@settings(max_examples=500)
def test_every_row_is_in_exactly_one_run(history: History) -> None:
    assert not missing(history, end_of_ticks)


def test_the_row_of_the_oldest_transaction_which_is_older_than_the_late_window() -> None:
    """Written with ``now()``: an end that is not strictly below ``oldest + late`` settles it too early."""
    history = History(
        [Transaction(10, 30, [Decimal(10)])],
        [Run(20, 20, 5), Run(QUIET, QUIET, 5), Run(2 * QUIET, 2 * QUIET, 5)],
    )

    def not_strict(moment: Moment) -> End:
        end = end_of_ticks(moment)
        return End(end.high + 1, end.settled + 1)

    assert not missing(history, end_of_ticks)
    assert lost(history, not_strict)


def test_what_is_settled_is_taken_though_an_older_transaction_is_open() -> None:
    """Its number is not before X, its cursor exactly the settled bound: no later run looks there."""
    history = History(
        [Transaction(10, 30), Transaction(11, 12, [Decimal(9)])],
        [Run(20, 20, 5), Run(QUIET, QUIET, 5), Run(2 * QUIET, 2 * QUIET, 5)],
    )
    assert not missing(history, end_of_ticks)


def without_settled(late_of: Callable[[], int]) -> BoundsRule:
    """The rule with ``high - late`` computed again at each run, in place of a settled bound that is kept."""

    def bounds(before: Watermark | None, end: End, horizon: int) -> Bounds:
        found = bounds_of(before, end, horizon)
        high: Any = found.high
        return Bounds(found.low, high, high - late_of(), found.floor, found.previous_horizon, horizon)

    return bounds


@pytest.mark.parametrize(
    ("lates", "transactions"),
    [
        # An open transaction holds high; a narrower window would settle its row.
        ((2, 0, 0), [Transaction(10, 25, [Decimal(10)])]),
        ((2, 1, 1), [Transaction(10, 25, [Decimal(10)])]),
        # A wider one would unsettle the row that the first run took, which is not behind its X.
        ((0, 2, 2), [Transaction(18, 25), Transaction(18, 18, [Decimal(17)])]),
    ],
    ids=["2-0", "2-1", "0-2"],
)
def test_a_late_window_that_changes_while_high_is_held(
    lates: tuple[int, ...], transactions: list[Transaction]
) -> None:
    runs = [Run(19, 19, lates[0]), Run(19, 19, lates[1]), Run(QUIET, QUIET, lates[2])]
    history = History(transactions, runs)
    following = iter(lates)
    assert not missing(history, end_of_ticks)
    assert missing(history, end_of_ticks, without_settled(lambda: next(following)))


# Days; a tick is an hour


def day_of(hour: int) -> date:
    return (MIDNIGHT + timedelta(hours=hour)).date()


def days_of(transaction: Transaction, late: int) -> st.SearchStrategy[date]:
    """A day from the begin on; or one before it, over for less than the late window at the commit."""
    own = st.just(transaction.begin) | st.integers(transaction.begin, transaction.commit + 60)
    past = st.integers(transaction.commit - late - 1, transaction.commit)
    return own.map(day_of) | past.map(day_of)


def end_of_days(moment: Moment) -> End:
    oldest = None if moment.oldest is None else MIDNIGHT + timedelta(hours=moment.oldest)
    t0 = MIDNIGHT + timedelta(hours=moment.t0)
    return window.end_for_dates(t0, oldest, timedelta(hours=moment.late), plain=False)


def end_of_days_by_distance(moment: Moment) -> End:
    """Settled by a whole number of days before high: what the rule for times would say of days."""
    high = end_of_days(moment).high
    return End(high, DAYS.minus(high, late_distance("date", timedelta(hours=moment.late))))


@given(histories(days_of, (0, 1, 12, 23, 24, 25, 36, 48), 160))
@settings(max_examples=500)
def test_every_row_with_a_day_is_in_exactly_one_run(history: History) -> None:
    assert not missing(history, end_of_days)


def test_a_day_is_not_settled_while_a_transaction_of_it_is_open() -> None:
    """Begun on January 5 at 10:00, committed two days later; the late window is a day."""
    begin = 4 * 24 + 10
    history = History(
        [Transaction(begin, begin + 48, [day_of(begin)])],
        [Run(begin + 30, begin + 30, 24), Run(QUIET, QUIET, 24), Run(2 * QUIET, 2 * QUIET, 24)],
    )
    assert not missing(history, end_of_days)
    assert lost(history, end_of_days_by_distance)


# Keys


@st.composite
def key_histories(draw: st.DrawFn) -> History:
    """Writers that take keys from one sequence, at most 32: fewer than the late window."""
    history = draw(histories(lambda _t, _late: st.just(Decimal(0)), (32, 33, 50), 40))
    key = 0
    for transaction in sorted(history.transactions, key=lambda t: t.begin):
        for place in range(len(transaction.rows)):
            key += 1
            transaction.rows[place] = Decimal(key)
    return history


def end_of_keys(moment: Moment) -> End | None:
    if not moment.visible:
        return None
    return window.end_of_keys(TICKS, max(moment.visible), Decimal(moment.late), plain=False)


@given(key_histories())
@settings(max_examples=300)
def test_every_row_with_a_key_is_in_exactly_one_run(history: History) -> None:
    key_count = sum(len(transaction.rows) for transaction in history.transactions)
    assert key_count <= 32
    assert not missing(history, end_of_keys)


def test_keys_out_of_their_order_need_a_late_window() -> None:
    """Two writers: the one with the smaller key commits last."""
    transactions = [Transaction(1, 9, [Decimal(1)]), Transaction(2, 3, [Decimal(2)])]
    for late, number in ((0, 1), (1, 1), (2, 0), (10_000, 0)):
        history = History(transactions, [Run(5, 5, late), Run(20, 20, late), Run(30, 30, late)])
        assert len(lost(history, end_of_keys)) == number
        assert not doubled(history, end_of_keys)
