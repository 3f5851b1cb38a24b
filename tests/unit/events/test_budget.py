"""A table's day."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.commit.counted import CountedJobs, changed_table
from etl_runner.events.budget import TableOperations, Usage, batch_interval, next_batch
from etl_runner.state.memory import MemoryObjectStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.integers(2, 1_500), st.data())
def test_the_more_is_used_the_longer_the_interval(allowed: int, data: Any) -> None:
    used = data.draw(st.integers(0, allowed - 1))
    assert 0 <= batch_interval(used, allowed) < batch_interval(used + 1, allowed)


def test_little_use_costs_no_time_and_none_left_all_of_it() -> None:
    assert batch_interval(0, 1_400) == 0
    assert batch_interval(140, 1_400) < 2
    assert batch_interval(1_400, 1_400) == float("inf")
    assert next_batch(Usage(1_400, NOW), 1_400, NOW) is None
    assert next_batch(Usage(0), 1_400, NOW) == NOW


@pytest.mark.parametrize("every", [7, 60])
def test_a_steady_stream_never_uses_a_day_up_and_never_stands_still(every: int) -> None:
    """Three days of an event every so many seconds, two operations a batch."""
    allowed, cost, now = 1_400, 2, NOW
    operations: deque[datetime] = deque()
    longest = timedelta(0)
    for _ in range(3 * 86_400 // every):
        now += timedelta(seconds=every)
        while operations and operations[0] < now - timedelta(days=1):
            operations.popleft()
        moment = next_batch(Usage(len(operations), operations[-1] if operations else None), allowed, now)
        if moment is not None and moment <= now:
            longest = max(longest, now - operations[-1] if operations else longest)
            operations.extend([now] * cost)
        assert len(operations) <= allowed
    assert longest < timedelta(minutes=20)


def test_operations_count_for_a_day_whoever_they_are_from() -> None:
    moment = NOW
    count = TableOperations(MemoryObjectStore(), lambda: moment)
    count.note("p.d.t", "etl_a_1_run_1")
    count.note("p.d.t", "etl_a_1_run_1")
    count.note("p.d.other", "etl_b_1_run_1")
    moment += timedelta(hours=23)
    count.note("p.d.t", "etl_b_2_run_1")
    assert count.usage("p.d.t") == Usage(2, moment)
    moment += timedelta(hours=2)
    assert count.usage("p.d.t").used == 1


def test_old_notes_are_removed() -> None:
    moment = NOW
    store = MemoryObjectStore()
    count = TableOperations(store, lambda: moment)
    count.note("p.d.t", "job")
    moment += timedelta(days=3)
    assert count.usage("p.d.t") == Usage(0)
    assert list(store.list("tables/")) == []


REFERENCE = {"projectId": "p", "datasetId": "d", "tableId": "t"}


@pytest.mark.parametrize(
    ("configuration", "table"),
    [
        ({"load": {"destinationTable": REFERENCE}}, "p.d.t"),
        ({"query": {"query": "SELECT 1 FROM x", "destinationTable": REFERENCE}}, "p.d.t"),
        ({"query": {"query": "INSERT INTO `p.d.t` (a) SELECT a FROM `p.d.etl_staging_1`"}}, "p.d.t"),
        ({"query": {"query": "MERGE INTO `p.d.t` AS T USING (SELECT 1) AS S ON FALSE"}}, "p.d.t"),
        ({"query": {"query": "TRUNCATE TABLE `p.d.t`"}}, "p.d.t"),
        ({"query": {"query": "SELECT 1"}}, None),
        ({"load": {"destinationTable": {**REFERENCE, "tableId": "etl_staging_sales_1_r"}}}, None),
    ],
)
def test_which_table_a_job_changes(configuration: dict[str, Any], table: str | None) -> None:
    assert changed_table(configuration) == table


def test_a_job_is_counted_before_it_is_submitted() -> None:
    calls: list[str] = []

    class Jobs:
        def insert(self, job_id: str, location: str, configuration: dict[str, Any]) -> None:
            calls.append(f"insert {job_id}")
            raise RuntimeError("refused")

    jobs: Any = Jobs()
    with pytest.raises(RuntimeError):
        CountedJobs(jobs, lambda table, job: calls.append(f"note {table} {job}")).insert(
            "j", "EU", {"load": {"destinationTable": REFERENCE}}
        )
    assert calls == ["note p.d.t j", "insert j"]
