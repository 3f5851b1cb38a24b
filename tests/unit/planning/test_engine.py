"""Which engine, how many tasks, how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.planning.engine import Sizing, choose_engine, time_limit

SIZING = Sizing(
    units=10,
    rows=500_000,
    snapshot=False,
    wanted="auto",
    threshold=1_000_000,
    max_tasks=10,
    slots=2,
    connections=8,
)


def test_nothing_to_extract_starts_nothing() -> None:
    choice = choose_engine(replace(SIZING, units=0))
    assert (choice.engine, choice.tasks) == ("none", 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "about 500,000 rows, below the threshold 1,000,000"),
        ({"rows": 1_000_000}, "about 1,000,000 rows are not fewer than the threshold 1,000,000; Dataflow"),
        ({"wanted": "dataflow"}, "the source document asks for Dataflow; Dataflow is not part"),
        ({"wanted": "cloud_run"}, "the source document says so"),
        ({"rows": None}, "an unknown number of rows"),
    ],
)
def test_the_choice_says_why(changes: dict[str, object], reason: str) -> None:
    choice = choose_engine(replace(SIZING, **changes))  # type: ignore[arg-type]
    assert choice.engine == "cloud_run"
    assert reason in choice.reason


def test_one_snapshot_is_read_by_one_task() -> None:
    assert choose_engine(replace(SIZING, units=1_000, snapshot=True)).tasks == 1


@given(
    st.builds(
        Sizing,
        units=st.integers(1, 9_000),
        rows=st.none() | st.integers(0, 10**12),
        snapshot=st.booleans(),
        wanted=st.just("auto"),
        threshold=st.just(1_000_000),
        max_tasks=st.integers(1, 100),
        slots=st.integers(1, 8),
        connections=st.none() | st.integers(1, 100),
    )
)
def test_no_choice_exceeds_the_source_or_the_deployment(sizing: Sizing) -> None:
    choice = choose_engine(sizing)
    assert 1 <= choice.tasks <= sizing.max_tasks
    assert 1 <= choice.slots <= min(sizing.slots, sizing.units)
    if sizing.connections is not None:
        assert choice.tasks * choice.slots <= sizing.connections


@given(st.none() | st.integers(0, 10**12), st.integers(0, 100))
def test_time_limits_are_bounded(rows: int | None, tasks: int) -> None:
    assert timedelta(minutes=15) <= time_limit(rows, tasks) <= timedelta(hours=24)
