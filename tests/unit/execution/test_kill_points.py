"""Die at every call to the store, before and after its effect, or lose the response; then start again.

The calls are recorded, not listed by hand: a call that is added later is covered.
"""

from __future__ import annotations

import pytest

from etl_runner.errors import EtlError, RetryableError
from etl_runner.execution.collect import collect_verified
from etl_runner.execution.manifest import manifest_prefix
from etl_runner.execution.task import TaskOptions, run_task
from etl_runner.planning.plan import Plan
from tests.unit.execution.worlds import (
    PLAN_NAME,
    FakeSource,
    FaultyStore,
    Killed,
    batch_of,
    make_plan,
    names,
    rows_of,
    stored,
)

UNITS, ROWS = 3, 10
OPTIONS = TaskOptions(attempts=2, backoff_seconds=0.001)


def plans() -> dict[str, Plan]:
    rejecting = make_plan(UNITS, rows=ROWS, on_bad_row="reject", max_rejects=100)
    return {
        "units": make_plan(UNITS, rows=ROWS),
        "rejects": rejecting,
        "snapshot": make_plan(UNITS, rows=ROWS, snapshot=True),
    }


def source_for(kind: str) -> FakeSource:
    if kind != "rejects":
        return FakeSource()

    def with_bad_row(unit):  # type: ignore[no-untyped-def]
        low, high = unit.spec["low"], unit.spec["high"]
        amounts = ["not a number" if number == low else f"{number}.25" for number in range(low, high)]
        return [batch_of(range(low, high), amounts)]

    return FakeSource(batches=with_bad_row)


def run(store: FaultyStore, kind: str) -> None:
    # One slot, so that the calls come in the same order every time.
    run_task(store, PLAN_NAME, 0, 1, lambda _: source_for(kind), slots=1, options=OPTIONS)


def calls_of(kind: str) -> list[str]:
    store = FaultyStore()
    stored(plans()[kind], store)
    run(store, kind)
    return store.calls


def points() -> list[tuple[str, int, str, type[BaseException]]]:
    return [
        (kind, at, how, error)
        for kind in plans()
        for at in range(len(calls_of(kind)))
        for how, error in (
            ("before", Killed),
            ("after", Killed),
            ("before", RetryableError),
            ("after", RetryableError),
        )
    ]


def expected_ids(kind: str) -> list[int]:
    left_out = {k * ROWS for k in range(UNITS)} if kind == "rejects" else set()
    return [number for number in range(UNITS * ROWS) if number not in left_out]


def test_there_are_calls_to_die_at() -> None:
    for kind in plans():
        calls = calls_of(kind)
        assert sum("units/" in call and call.startswith("create") for call in calls) == UNITS
        assert sum("shards/" in call for call in calls) == UNITS
    assert sum("rejects/" in call for call in calls_of("rejects")) == UNITS
    assert any("snapshot.json" in call and call.startswith("create") for call in calls_of("snapshot"))


@pytest.mark.parametrize(("kind", "at", "how", "error"), points())
def test_each_row_once_after_death_at_any_call(
    kind: str, at: int, how: str, error: type[BaseException]
) -> None:
    plan = plans()[kind]
    store = FaultyStore(at, how, error)
    stored(plan, store)
    try:
        run(store, kind)
    except (Killed, EtlError):
        store.revive()
        run(store, kind)
    store.revive()

    manifests = collect_verified(store, plan)

    assert sorted(row["id"] for row in rows_of(store, manifests)) == expected_ids(kind)
    assert sum(manifest.rejects for manifest in manifests) == (UNITS if kind == "rejects" else 0)
    if kind != "snapshot":
        assert len(names(store, manifest_prefix("run1", 7))) == UNITS
    for manifest in manifests:
        if manifest.rejects_object:
            assert manifest.rejects_object in names(store)
