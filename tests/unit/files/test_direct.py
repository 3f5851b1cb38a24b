"""When BigQuery loads files itself, and the one reason why it does not."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner.commit.open_run import Opened
from etl_runner.planning.plan import Plan
from etl_runner.planning.write_plan import plan_name
from etl_runner.sources.files.direct import changed_file
from tests.faults.files_world import TABLE, FilesProcess, FilesWorld
from tests.faults.world import Cut
from tests.unit.files.memory import MemoryBucket

DIRECT: dict[str, Any] = {
    "file_pattern": "**/*.parquet",
    "exact_generation": False,
    "metadata_columns": False,
}
AS_THEY_ARE: dict[str, tuple[pa.DataType, str]] = {
    "a": (pa.int64(), "INT64"),
    "b": (pa.int16(), "INT64"),
    "c": (pa.uint32(), "INT64"),
    "d": (pa.float64(), "FLOAT64"),
    "e": (pa.float32(), "FLOAT64"),
    "f": (pa.string(), "STRING"),
    "g": (pa.binary(), "BYTES"),
    "h": (pa.bool_(), "BOOL"),
    "i": (pa.date32(), "DATE"),
    "j": (pa.timestamp("us", tz="UTC"), "TIMESTAMP"),
    "k": (pa.timestamp("ms", tz="Europe/Berlin"), "TIMESTAMP"),
    "l": (pa.time64("us"), "TIME"),
    "m": (pa.decimal128(38, 9), "NUMERIC"),
    "n": (pa.decimal256(50, 20), "BIGNUMERIC"),
}


def parquet(**columns: pa.DataType) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({name: pa.nulls(2, kind) for name, kind in columns.items()}), out)
    return out.getvalue()


def world_of(data: bytes, **document: Any) -> FilesWorld:
    world = FilesWorld(**{**DIRECT, **document})
    world.bucket.put("a.parquet", data)
    return world


def plan_of(world: FilesWorld) -> Plan:
    process = FilesProcess(world, Cut().around)
    opened = process.opener.open_run("r")
    assert isinstance(opened, Opened)
    process.plans.write_plan(opened.key)
    stored = world.staging.read(plan_name("r", opened.key.epoch))
    assert stored is not None
    return Plan.from_jsonl(stored.data)


def test_types_that_are_the_same_are_loaded_as_they_are() -> None:
    plan = plan_of(world_of(parquet(**{name: kind for name, (kind, _) in AS_THEY_ARE.items()})))
    assert (plan.header.engine, plan.units) == ("bigquery", ())
    assert {item.destination.name: item.destination.type for item in plan.header.columns} == {
        name: kind for name, (_, kind) in AS_THEY_ARE.items()
    }
    (file,) = (plan.header.direct or {})["files"]
    assert (file["uri"], file["version"], file["rows"]) == ("gs://inbox/a.parquet", "1", 2)


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("us"),
        pa.timestamp("ns", tz="UTC"),
        pa.uint64(),
        pa.float16(),
        pa.time64("ns"),
        pa.decimal128(38, 10),
        pa.list_(pa.int64()),
        pa.struct([("x", pa.int64())]),
        pa.map_(pa.string(), pa.int64()),
    ],
    ids=str,
)
def test_other_types_go_through_the_conversion(kind: pa.DataType) -> None:
    data = parquet(same=pa.int64(), other=kind)
    if kind == pa.decimal128(38, 10):
        world = world_of(data)
        # The destination that exists holds fewer digits.
        fields = [{"name": "same", "type": "INTEGER"}, {"name": "other", "type": "NUMERIC"}]
        world.bigquery.schemas[TABLE] = {"fields": fields}
    else:
        world = world_of(data)
    header = plan_of(world).header
    assert header.engine == "cloud_run"
    assert any("BigQuery does not do it alone: values of other have to be" in note for note in header.notes)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"metadata_columns": True}, "files have no metadata columns"),
        ({"on_bad_row": "reject"}, "on_bad_row: reject puts single rows aside"),
        ({"column_mapping": {"id": "number"}}, "columns have other names in the destination: id"),
        ({"selected_columns": ["id"]}, "columns of the files are left out: name"),
        ({"credentials": True}, "the connection has credentials of its own"),
    ],
)
def test_what_a_load_job_cannot_do_is_told(document: dict[str, Any], reason: str) -> None:
    document = {**document, "engine": "bigquery", "exact_generation": True}
    if document.pop("credentials", False):
        key = {"secret_manager": "projects/p/secrets/key/versions/latest"}
        document["connection_params"] = {"source_type": "gcs", "bucket": "inbox", "credentials": key}
    world = world_of(parquet(id=pa.int64(), name=pa.string()), **document)
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    assert f"engine: bigquery is not possible: {reason}" in receipt["reason"]


def test_a_name_that_bigquery_takes_for_a_pattern_is_not_loaded_by_it() -> None:
    world = world_of(parquet(id=pa.int64()))
    world.bucket.put("b*.parquet", parquet(id=pa.int64()))
    header = plan_of(world).header
    assert header.engine == "cloud_run"
    assert any("'b*.parquet' for a pattern" in note for note in header.notes)


def test_columns_that_share_a_name_are_told_apart_by_the_runner_only() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["id", "id"]), out)
    assert plan_of(world_of(out.getvalue())).header.engine == "cloud_run"


def test_by_default_files_are_read_at_their_version() -> None:
    header = plan_of(world_of(parquet(id=pa.int64()), exact_generation=True)).header
    assert header.engine == "cloud_run"
    assert not any("BigQuery does not do it alone" in note for note in header.notes)


@pytest.mark.parametrize("count", [3, 50])
def test_a_file_that_changed_is_found(count: int) -> None:
    bucket = MemoryBucket()
    planned = [bucket.put(f"in/{number:03}.parquet", b"x") for number in range(count)]
    bucket.put("in/other", b"y")
    files = [(file.name, file.version) for file in planned]
    assert changed_file(bucket, files) is None
    again = bucket.put("in/001.parquet", b"x")
    assert changed_file(bucket, files) == (
        f"in/001.parquet was replaced: version 2 was planned, {again.version} is there"
    )
    bucket.delete("in/000.parquet")
    assert changed_file(bucket, files) == "in/000.parquet is gone"
