from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner.errors import CorruptStateError, PermanentError
from etl_runner.execution.collect import collect_manifests, collect_verified, verify_footers
from etl_runner.execution.manifest import Shard, manifest_name
from etl_runner.execution.task import run_task
from etl_runner.state.memory import MemoryObjectStore
from tests.unit.execution.worlds import PLAN_NAME, FakeSource, make_plan, stored


def extracted(units: int = 3) -> MemoryObjectStore:
    store = stored(make_plan(units))
    run_task(store, PLAN_NAME, 0, 1, lambda _: FakeSource())
    return store


def test_manifests_come_in_the_order_of_the_units() -> None:
    plan, store = make_plan(30), extracted(30)
    ids = [unit.id for unit in plan.units]
    assert [manifest.unit for manifest in collect_manifests(store, plan.header, ids[::-1])] == ids[::-1]


def test_missing_units_are_named_a_few_of_them() -> None:
    plan, store = make_plan(10), stored(make_plan(10))
    ids = [unit.id for unit in plan.units]
    with pytest.raises(PermanentError) as caught:
        collect_manifests(store, plan.header, ids)
    assert str(caught.value) == (
        "10 of 10 units of run run1 were not extracted: u00000, u00001, u00002, u00003, u00004 and 5 more"
    )


def test_a_run_without_units_has_no_manifests() -> None:
    store = MemoryObjectStore()
    assert collect_verified(store, make_plan(0)) == []
    assert collect_verified(store, make_plan(0, snapshot=True)) == []


def test_a_manifest_of_another_unit_is_refused() -> None:
    plan, store = make_plan(2), extracted(2)
    name = manifest_name("run1", 7, "u00001")
    other = store.read(manifest_name("run1", 7, "u00000"))
    assert other is not None
    store.delete(name)
    store.create(name, other.data)
    with pytest.raises(CorruptStateError, match="u00001"):
        collect_manifests(store, plan.header, ["u00000", "u00001"])


class TestFooters:
    def test_rows_are_added_up(self) -> None:
        plan, store = make_plan(3), extracted()
        shards = [s for m in collect_verified(store, plan) for s in m.shards]
        assert verify_footers(store, shards) == 30

    def test_a_missing_shard(self) -> None:
        plan, store = make_plan(3), extracted()
        shards = [s for m in collect_verified(store, plan) for s in m.shards]
        store.delete(shards[1].name)
        with pytest.raises(PermanentError, match=f"{shards[1].name} is gone"):
            verify_footers(store, shards)

    def test_other_rows_or_another_size_than_the_manifest_says(self) -> None:
        plan, store = make_plan(1), extracted(1)
        shard = collect_verified(store, plan)[0].shards[0]
        with pytest.raises(PermanentError, match="has 10 rows and its manifest says 11"):
            verify_footers(store, [replace(shard, rows=11)])
        with pytest.raises(PermanentError, match=f"has {shard.bytes} bytes"):
            verify_footers(store, [replace(shard, bytes=1)])

    @pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all", b"PAR1\xff\xff\xff\x7fPAR1"])
    def test_what_is_not_parquet(self, data: bytes) -> None:
        store = MemoryObjectStore()
        store.create("x", data)
        with pytest.raises(PermanentError, match="is not a Parquet file"):
            verify_footers(store, [Shard("x", 1, len(data))])

    def test_a_footer_larger_than_the_first_read(self) -> None:
        sink = pa.BufferOutputStream()
        table = pa.table({f"column_{k:05d}": [1, 2, 3] for k in range(1_500)})
        pq.write_table(table, sink)
        data = sink.getvalue().to_pybytes()
        assert int.from_bytes(data[-8:-4], "little") > 64 * 1024
        store = MemoryObjectStore()
        store.create("x", data)
        assert verify_footers(store, [Shard("x", 3, len(data))]) == 3
