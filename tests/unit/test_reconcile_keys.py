"""What differs between an upsert and its source, key by key."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from etl_runner.reconcile.keys import MOST_WINDOWS, Key, judge, windows

Rows = dict[Key, list[tuple[Decimal | None, tuple[object, ...]]]]


@given(st.lists(st.integers(0, 10**6), max_size=200))
def test_few_windows_hold_every_cursor_and_end_at_cursors(numbers: list[int]) -> None:
    cursors = [Decimal(number) for number in numbers]
    found = windows(cursors)
    assert len(found) <= MOST_WINDOWS
    assert all(any(low <= cursor <= high for low, high in found) for cursor in cursors)
    assert {end for window in found for end in window} <= set(cursors)
    assert all(before[1] < after[0] for before, after in pairwise(found))


def _rows(**found: tuple[int | None, str] | list[tuple[int | None, str]]) -> Rows:
    return {
        (key,): [
            (None if at is None else Decimal(at), (told,))
            for at, told in (rows if isinstance(rows, list) else [rows])
        ]
        for key, rows in found.items()
    }


def test_each_kind_of_difference_is_told() -> None:
    ours = _rows(
        same=(1, "x"),
        missing=(2, "x"),
        different=(3, "x"),
        doubled=(4, "x"),
        later=(11, "new"),
        later_missing=(11, "new"),
        never=(None, "x"),
        often=[(1, "old"), (5, "one"), (5, "two")],
    )
    theirs = _rows(
        same=(None, "x"),
        different=(None, "y"),
        doubled=[(None, "x"), (None, "x")],
        later=(None, "old"),
        gone=(None, "x"),
        often=(None, "two"),
    )
    found = judge(ours, theirs, Decimal(10))
    assert [(item.verdict, item.key, item.at) for item in found] == [
        ("different", ("different",), Decimal(3)),
        ("doubled", ("doubled",), Decimal(4)),
        ("gone", ("gone",), None),
        ("missing", ("missing",), Decimal(2)),
    ]
