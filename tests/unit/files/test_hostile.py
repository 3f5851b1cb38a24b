"""Files as they really come: each gives its rows, a reject that names file and place, or one clear error."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_runner import jsontypes
from tests.faults.files_world import FilesWorld


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(1_000))}), out)
    return out.getvalue()


WIDE = ",".join(f"c{n}" for n in range(10_000))
GOOD: dict[str, tuple[str, bytes, int]] = {
    "a byte order mark": ("a.csv", b"\xef\xbb\xbfid,name\n1,x\n", 1),
    "CRLF": ("a.csv", b"id,name\r\n1,x\r\n2,y\r\n", 2),
    "no line end at the end": ("a.csv", b"id,name\n1,x", 1),
    "10,000 columns": ("a.csv", f"id,{WIDE}\n1,{WIDE}\n".encode(), 1),
    "line ends in values": ("a.csv", b'id,name\n1,"x\ny"\n2,z\n', 2),
    "an empty file": ("a.csv", b"", 0),
    "a header only": ("a.csv", b"id,name\n", 0),
    "an empty array": ("a.json", b"[]", 0),
    "several gzip members": ("a.csv.gz", gzip.compress(b"id,name\n1,x\n") + gzip.compress(b"2,y\n"), 2),
    "a number beyond 64 bits": ("a.jsonl", b'{"id": 1, "n": 123456789012345678901234}\n', 1),
}
REJECTED: dict[str, tuple[str, bytes, int, int, str]] = {
    "ragged rows": ("a.csv", b"id,name\n1,x\n2\n3,y\n4,z,q\n", 2, 2, "field"),
    "a byte that is not UTF-8": ("a.csv", b"id,name\n1,x\n2,\xff\n", 1, 1, "UTF-8"),
    "text after a closing quote": ("a.csv", b'id,name\n1,"x" y\n2,z\n', 1, 1, "closing quote"),
    "a key twice": ("a.jsonl", b'{"id": 1}\n{"id": 2, "id": 3}\n', 1, 1, "id"),
    "no object": ("a.jsonl", b'{"id": 1}\n[1]\n', 1, 1, "not an object"),
    "a line cut short": ("a.jsonl", b'{"id": 1}\n{"id": \n{"id": 3}\n', 2, 1, ""),
}
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "another encoding": ("a.csv", "id,name\n1,x\n".encode("utf-16"), "set encoding: utf-16"),
    "a quote that is never closed": ("a.csv", b'id,name\n1,"x\n2,y\n3,z\n', "line 2 that is never closed"),
    "truncated gzip": ("a.csv.gz", gzip.compress(b"id,name\n" + b"1,x\n" * 9_000)[:-20], "truncated"),
    "no gzip at all": ("a.csv.gz", b"id,name\n1,x\n", "is named like gzip but does not begin like it"),
    "truncated Parquet": ("a.parquet", parquet()[:-10], "is truncated"),
    "no Parquet at all": ("a.parquet", b"id,name\n1,x\n", "is not a Parquet file"),
    "an array cut short": ("a.json", b'[{"id": 1}, {"id": 2}', "is truncated"),
}


def run(name: str, data: bytes, **document: Any) -> tuple[FilesWorld, dict[str, Any]]:
    world = FilesWorld(file_pattern=f"*.{name.split('.', 1)[1]}", **document)
    world.bucket.put(name, data)
    return world, world.receipt()


@pytest.mark.parametrize("kind", GOOD)
def test_its_rows_arrive(kind: str) -> None:
    name, data, rows = GOOD[kind]
    world, receipt = run(name, data)
    assert (receipt["outcome"], receipt["rejects"], len(world.rows)) == ("ok", 0, rows), receipt.get("reason")
    assert [entry.rows for entry in world.ledger()] == [rows]


@pytest.mark.parametrize("kind", REJECTED)
def test_its_bad_rows_are_rejected_by_file_and_place(kind: str) -> None:
    name, data, rows, rejects, reason = REJECTED[kind]
    world, receipt = run(name, data, on_bad_row="reject")
    assert receipt["outcome"] == "ok", receipt
    assert (len(world.rows), receipt["rejects"]) == (rows, rejects)
    lines = [line for load in world.bigquery.rejects_loaded for line in load.splitlines()]
    assert len(lines) == rejects
    for line in lines:
        reject = jsontypes.loads(line)
        assert reject["file"] == f"gs://inbox/{name}"
        assert reject["line"] is not None
        assert reason in reject["reason"]


@pytest.mark.parametrize("kind", REJECTED)
def test_a_bad_row_that_nobody_allowed_is_one_sentence(kind: str) -> None:
    name, data, _, _, _ = REJECTED[kind]
    world, receipt = run(name, data)
    assert receipt["outcome"] == "failed"
    assert f"gs://inbox/{name}, line" in receipt["reason"]
    assert "Traceback" not in receipt["reason"]
    assert (world.rows, world.ledger()) == ([], [])


VALUES: dict[str, tuple[str, bytes, bytes, int]] = {
    "CSV": ("csv", b"id,name\n1,x\n", b'id,name\n2,"y\ny"\n\ntwo,z\n3,w\n', 5),
    "CSV in which another line is no row": ("csv", b"id,name\n1,x\n", b"id,name\n2\n3,y\ntwo,z\n", 4),
    "JSON Lines": ("jsonl", b'{"id": 1}\n', b'{"id": 2}\n\n{"id": "two"}\n', 3),
    "JSON": ("json", b'[{"id": 1}]', b'[{"id": 2},\n\n{"id": "two"}]', 3),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_does_not_fit_is_named_by_file_and_line(kind: str) -> None:
    extension, first, second, line = VALUES[kind]
    for policy in ("reject", "fail"):
        world = FilesWorld(file_pattern=f"*.{extension}", on_bad_row=policy)
        world.bucket.put(f"1.{extension}", first)
        assert world.receipt()["outcome"] == "ok"
        if policy == "fail":
            # Here nothing but the value may be wrong.
            second = second.replace(b"\n2\n", b"\n2,2\n")
        world.bucket.put(f"2.{extension}", second)
        receipt = world.receipt()
        if policy == "fail":
            assert receipt["outcome"] == "failed"
            assert f"gs://inbox/2.{extension}, line {line}: column 'id' is not" in receipt["reason"]
            continue
        assert receipt["outcome"] == "ok", receipt
        lines = [line for load in world.bigquery.rejects_loaded for line in load.splitlines()]
        found = [jsontypes.loads(line) for line in lines]
        assert [(r["file"], r["line"], r["value"]) for r in found if r["column"] == "id"] == [
            (f"gs://inbox/2.{extension}", line, "two")
        ]


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_cannot_be_read_is_one_sentence(kind: str) -> None:
    name, data, sentence = REFUSED[kind]
    world, receipt = run(name, data, on_bad_row="reject")
    assert receipt["outcome"] == "failed"
    assert f"gs://inbox/{name}" in receipt["reason"]
    assert sentence in receipt["reason"], receipt["reason"]
    assert (world.rows, world.ledger()) == ([], [])


def test_a_line_of_50_megabytes_is_a_row() -> None:
    world, receipt = run("a.jsonl", b'{"id": 1, "name": "%s"}\n{"id": 2}\n' % (b"x" * 50_000_000))
    assert receipt["outcome"] == "ok"
    assert world.column("id") == [1, 2]
    assert max(len(row["name"] or "") for row in world.rows) == 50_000_000
