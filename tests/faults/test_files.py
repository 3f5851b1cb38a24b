"""Files, exactly once: a run killed at every remote call, then repeated, leaves rows and ledger exact."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.state.store import StateStore
from tests.faults.files_world import SOURCE, FilesWorld, cut_at_every_call

KINDS: dict[str, dict[str, Any]] = {
    "new files": {},
    "all files": {"load_type": "catalog", "file_selection": "all"},
}


def world_of(kind: str) -> FilesWorld:
    """One file committed, two new ones; one of those has no rows."""
    world = FilesWorld(**KINDS[kind])
    world.bucket.put("a.csv", b"id,name\n1,x\n2,y\n")
    assert world.run().outcome == "ok"
    world.bucket.put("d/b.csv", b"id,name\n3,z\n")
    world.bucket.put("empty.csv", b"id,name\n")
    return world


def check(world: FilesWorld) -> None:
    assert world.column("id") == [1, 2, 3]
    state = StateStore(world.state, SOURCE).read()
    assert (state.slot, state.paused) == (None, None)
    entries = {entry.uri: (entry.rows, entry.outcome) for entry in world.ledger()}
    assert entries == {
        "gs://inbox/a.csv": (2, "loaded"),
        "gs://inbox/d/b.csv": (1, "loaded"),
        "gs://inbox/empty.csv": (0, "loaded"),
    }


@pytest.mark.parametrize("how", ["before", "after", "lost"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_cut_at_any_call_and_repeated_is_exact(kind: str, how: str) -> None:
    assert cut_at_every_call(lambda: world_of(kind), how, check) > 20


def test_a_run_without_new_files_makes_no_table_operation() -> None:
    world = FilesWorld()
    world.bucket.put("a.csv", b"id\n1\n")
    world.run()
    before = list(world.bigquery.submitted)
    receipt = world.receipt()
    assert (receipt["outcome"], receipt["engine"], receipt["jobs"]) == ("ok", "none", [])
    assert world.bigquery.submitted == before
    assert len(world.ledger()) == 1
