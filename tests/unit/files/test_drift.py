"""Files whose columns change: what each policy makes of them, from the listing to the commit."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.files_world import TABLE, FilesWorld

POLICIES = ("evolve", "ignore", "fail")
TWO: dict[str, dict[str, bytes]] = {
    # The file before; one with a further column; one that lacks a column.
    "csv": {"first": b"id,n\n1,5\n", "more": b"id,new,n\n2,x,6\n", "less": b"id\n2\n"},
    "jsonl": {
        "first": b'{"id": 1, "n": 5}\n',
        "more": b'{"id": 2, "new": "x", "n": 6}\n',
        "less": b'{"id": 2}\n',
    },
}


def parquet(**columns: list[Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


TWO["parquet"] = {
    "first": parquet(id=[1], n=[5]),
    "more": parquet(id=[2], new=["x"], n=[6]),
    "less": parquet(id=[2]),
}


def world_of(kind: str, first: bytes, **document: Any) -> FilesWorld:
    world = FilesWorld(file_pattern=f"*.{kind}", **document)
    world.bucket.put(f"1.{kind}", first)
    assert world.receipt()["outcome"] == "ok"
    return world


def columns(world: FilesWorld) -> list[str]:
    names = [field["name"] for field in world.bigquery.schemas[TABLE]["fields"]]
    return [name for name in names if not name.startswith("_etl")]


def values(world: FilesWorld, *names: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.get(name) for name in names) for row in world.rows), key=repr)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", TWO)
def test_a_new_column(kind: str, policy: str) -> None:
    world = world_of(kind, TWO[kind]["first"], schema_drift=policy)
    world.bucket.put(f"2.{kind}", TWO[kind]["more"])
    receipt = world.receipt()
    if policy == "fail":
        assert receipt["outcome"] == "failed"
        assert f"{TABLE} lacks columns of the source: new (schema_drift: fail)" in receipt["reason"]
        assert (values(world, "id"), len(world.ledger())) == ([(1,)], 1)
        return
    assert receipt["outcome"] == "ok", receipt
    if policy == "evolve":
        assert set(columns(world)) == {"id", "n", "new"}
        assert values(world, "id", "n", "new") == [(1, 5, None), (2, 6, "x")]
    else:
        assert columns(world) == ["id", "n"]
        assert values(world, "id", "n") == [(1, 5), (2, 6)]
        assert any("new: left out" in note for note in receipt["notes"])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", TWO)
def test_a_column_that_is_gone_is_null(kind: str, policy: str) -> None:
    world = world_of(kind, TWO[kind]["first"], schema_drift=policy)
    world.bucket.put(f"2.{kind}", TWO[kind]["less"])
    assert world.receipt()["outcome"] == "ok"
    assert columns(world) == ["id", "n"]
    assert values(world, "id", "n") == [(1, 5), (2, None)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("kind", "second", "line"),
    [
        ("csv", b"id,n\n2,7\n3,1.5\n4,text\n", 3),
        ("jsonl", b'{"id": 2, "n": 7}\n{"id": 3, "n": 1.5}\n{"id": 4, "n": "text"}\n', 2),
        ("parquet", parquet(id=[2, 3, 4], n=["7", "1.5", "text"]), None),
    ],
)
def test_a_wider_or_another_type_changes_no_column_and_loses_no_value(
    kind: str, second: bytes, line: int | None, policy: str
) -> None:
    """The destination's type stands, whatever the policy: what fits arrives, the rest is named."""
    world = world_of(kind, TWO[kind]["first"], schema_drift=policy)
    world.bucket.put(f"2.{kind}", second)
    receipt = world.receipt()
    assert receipt["outcome"] == "failed"
    place = f"line {line}" if line else "row 2"
    assert f"gs://inbox/2.{kind}, {place}: column 'n' is not a whole number" in receipt["reason"]
    assert values(world, "id") == [(1,)]

    world = world_of(kind, TWO[kind]["first"], schema_drift=policy, on_bad_row="reject")
    world.bucket.put(f"2.{kind}", second)
    receipt = world.receipt()
    assert (receipt["outcome"], receipt["rejects"]) == ("ok", 2)
    assert columns(world) == ["id", "n"]
    assert values(world, "id", "n") == [(1, 5), (2, 7)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("jsonl", b'{"id": 1, "box": {"a": 1}}\n', b'{"id": 2, "box": {"a": 1, "b": 2}}\n'),
        ("parquet", parquet(id=[1], box=[{"a": 1}]), parquet(id=[2], box=[{"a": 1, "b": 2}])),
    ],
)
def test_a_new_nested_field(kind: str, first: bytes, second: bytes, policy: str) -> None:
    world = world_of(kind, first, schema_drift=policy)
    world.bucket.put(f"2.{kind}", second)
    receipt = world.receipt()
    if policy == "evolve":
        assert receipt["outcome"] == "ok", receipt
        (box,) = (field for field in world.bigquery.schemas[TABLE]["fields"] if field["name"] == "box")
        assert [field["name"] for field in box["fields"]] == ["a", "b"]
        assert ({"a": 1, "b": 2},) in values(world, "box")
        return
    assert receipt["outcome"] == "failed"
    assert f"{TABLE} lacks nested fields of the source: box.b" in receipt["reason"]
    assert "units" not in receipt or not receipt["units"]
    assert values(world, "id") == [(1,)]
