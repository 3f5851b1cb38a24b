"""Which engine, how many tasks, how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import PermanentError
from etl_runner.planning.engine import Sizing, choose_engine, time_limit
from etl_runner.planning.plan import Workers
from etl_runner.planning.workers import Fleet
from etl_runner.sources.base import PlanRequest

SIZING = Sizing(
    units=10,
    rows=500_000,
    snapshot=False,
    wanted="auto",
    threshold=1_000_000,
    max_tasks=10,
    slots=2,
    connections=8,
    fleet=lambda: "Dataflow is not part of this deployment",
)
FLEET = Fleet("n2-standard", 10, 2, "image:1")
LARGE = replace(SIZING, units=640, rows=32_000_000, connections=None, fleet=lambda: FLEET)


def test_nothing_to_extract_starts_nothing() -> None:
    choice = choose_engine(replace(SIZING, units=0))
    assert (choice.engine, choice.tasks) == ("none", 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "about 500,000 rows, below the threshold 1,000,000"),
        ({"rows": 1_000_000}, "not fewer than the threshold 1,000,000; but Dataflow is not part of this"),
        ({"wanted": "cloud_run"}, "the source document says so"),
        ({"rows": None}, "an unknown number of rows"),
    ],
)
def test_the_choice_says_why(changes: dict[str, object], reason: str) -> None:
    choice = choose_engine(replace(SIZING, **changes))  # type: ignore[arg-type]
    assert choice.engine == "cloud_run"
    assert reason in choice.reason


def test_dataflow_that_was_asked_for_and_lacks_something_is_refused() -> None:
    wanted = replace(SIZING, wanted="dataflow")
    with pytest.raises(PermanentError, match="engine: dataflow is not possible: Dataflow is not part of"):
        choose_engine(wanted)


def test_one_snapshot_is_read_by_one_task() -> None:
    assert choose_engine(replace(SIZING, units=1_000, snapshot=True)).tasks == 1


@pytest.mark.parametrize(
    ("changes", "count", "machine", "processes", "threads", "reason"),
    [
        ({}, 10, "n2-standard-4", 4, 2, "10 x n2-standard-4, 80 readers for 640 units (8 each)"),
        ({"units": 100}, 1, "n2-standard-4", 4, 2, "8 readers for 100 units (12 each)"),
        ({"units": 20}, 1, "n2-standard-2", 2, 2, "4 readers for 20 units"),
        ({"units": 9_000}, 10, "n2-standard-4", 4, 2, "(112 each), the deployment's most workers"),
        ({"connections": 20}, 2, "n2-standard-4", 4, 2, "as max_connections is 20"),
        ({"connections": 5}, 1, "n2-standard-2", 2, 2, "as max_connections is 5"),
        ({"connections": 3}, 1, "n2-standard-2", 1, 3, "3 readers for 640 units"),
        ({"connections": 1}, 1, "n2-standard-2", 1, 1, "as max_connections is 1"),
    ],
)
def test_dataflow_is_sized_by_units_and_connections_and_says_why(
    changes: dict[str, object], count: int, machine: str, processes: int, threads: int, reason: str
) -> None:
    choice = choose_engine(replace(LARGE, **changes))  # type: ignore[arg-type]
    assert choice.engine == "dataflow"
    assert choice.workers == Workers(count, machine, processes, threads, "image:1")
    assert (choice.tasks, choice.slots) == (count * processes, threads)
    assert reason in choice.reason


def test_the_threshold_decides_and_the_document_overrides_it() -> None:
    assert choose_engine(replace(LARGE, rows=999_999)).engine == "cloud_run"
    assert choose_engine(replace(LARGE, rows=1_000_000)).engine == "dataflow"
    assert choose_engine(replace(LARGE, rows=1, wanted="dataflow")).engine == "dataflow"
    assert choose_engine(replace(LARGE, wanted="cloud_run")).engine == "cloud_run"


def test_what_is_read_in_one_snapshot_stays_with_one_task() -> None:
    choice = choose_engine(replace(LARGE, snapshot=True))
    assert (choice.engine, choice.tasks) == ("cloud_run", 1)
    assert "one snapshot" in choice.reason
    assert choose_engine(replace(LARGE, snapshot=True, wanted="dataflow")).engine == "dataflow"


def test_nobody_asks_for_dataflow_below_the_threshold() -> None:
    def asked() -> str:
        raise AssertionError("a request for nothing")

    assert choose_engine(replace(SIZING, fleet=asked)).engine == "cloud_run"


@given(
    st.builds(
        Sizing,
        units=st.integers(1, 9_000),
        rows=st.none() | st.integers(0, 10**12),
        snapshot=st.booleans(),
        wanted=st.sampled_from(["auto", "cloud_run", "dataflow"]),
        threshold=st.just(1_000_000),
        max_tasks=st.integers(1, 100),
        slots=st.integers(1, 8),
        connections=st.none() | st.integers(1, 100),
        fleet=st.builds(
            lambda workers, slots: lambda: Fleet("n2-standard", workers, slots, "i"),
            st.integers(1, 2_000),
            st.integers(1, 8),
        ),
    )
)
def test_no_choice_exceeds_the_source_or_the_deployment(sizing: Sizing) -> None:
    choice = choose_engine(sizing)
    fleet = sizing.fleet()
    assert isinstance(fleet, Fleet)
    assert min(choice.tasks, choice.slots) >= 1
    if choice.workers is None:
        assert choice.tasks <= sizing.max_tasks
        assert choice.slots <= min(sizing.slots, sizing.units)
    else:
        assert choice.workers.count <= min(fleet.max_workers, 1_000)
    if sizing.connections is not None:
        assert choice.tasks * choice.slots <= sizing.connections


@given(st.integers(1, 10**10), st.integers(1, 1_000), st.integers(1, 200_000))
def test_units_are_enough_for_every_reader_and_none_is_huge(rows: int, readers: int, unit_rows: int) -> None:
    most = PlanRequest((), None, unit_rows, readers=readers).most_units(rows)
    assert most <= 9_000
    assert most >= min(9_000, 16 * readers)
    assert rows / most <= max(1_000_000, rows / 9_000)
    assert PlanRequest((), None, unit_rows).most_units(rows) == 9_000


@given(st.none() | st.integers(0, 10**12), st.integers(0, 100))
def test_time_limits_are_bounded(rows: int | None, tasks: int) -> None:
    assert timedelta(minutes=15) <= time_limit(rows, tasks) <= timedelta(hours=24)
