"""Fields that come up inside records: the destination's RECORD gains them, older rows have NULL there."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.files.conftest import Shelf

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("shelf", ["gcs"], indirect=True)]

FIRST: dict[str, Any] = {"id": 1, "box": {"a": 1, "in": {"x": 1}}, "parts": [{"n": 1}]}
SECOND: dict[str, Any] = {
    "id": 2,
    "box": {"a": 2, "in": {"x": 2, "y": "new"}, "b": [True, False]},
    "parts": [{"n": 2, "size": {"w": 1.5}}, {"n": 3, "size": None}],
    "whole": "too",
}


def _file(kind: str, row: dict[str, Any]) -> bytes:
    if kind == "jsonl":
        return json.dumps(row).encode() + b"\n"
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row]), out)
    return out.getvalue()


# An upsert goes over a staging table and a query, the others by one load job.
@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("jsonl", {"load_type": "transactional"}),
        ("parquet", {"load_type": "catalog", "file_selection": "all"}),
        ("parquet", {"load_type": "upsert", "primary_key_column": "id"}),
    ],
    ids=["append", "replace", "merge"],
)
def test_a_record_gains_fields(shelf: Shelf, kind: str, document: dict[str, Any]) -> None:
    lab = shelf.lab
    shelf.document(file_pattern=f"*.{kind}", metadata_columns=False, **document)
    shelf.put(f"1.{kind}", _file(kind, FIRST))
    lab.steps_ok("first")
    shelf.put(f"2.{kind}", _file(kind, SECOND))
    key = shelf.open("second")
    assert lab.plan(key).header.destination.added == ("whole", "box.in.y", "box.b", "parts.size")
    lab.extract(key)
    done = lab.finalize(key)
    assert done.outcome == "ok", done.receipt
    found = lab.query("SELECT TO_JSON_STRING(box), TO_JSON_STRING(parts), whole FROM {table} ORDER BY id")
    rows = [(json.loads(box), json.loads(parts), whole) for box, parts, whole in found]
    # No array and an empty one are the same to BigQuery; the stand-in prints the difference.
    rows[0][0]["b"] = rows[0][0]["b"] or []
    assert rows == [
        ({"a": 1, "in": {"x": 1, "y": None}, "b": []}, [{"n": 1, "size": None}], None),
        (SECOND["box"], SECOND["parts"], SECOND["whole"]),
    ]
    # The next run finds nothing to add.
    shelf.put(f"3.{kind}", _file(kind, {**SECOND, "id": 3}))
    key = shelf.open("third")
    assert lab.plan(key).header.destination.added == ()
    lab.extract(key)
    assert lab.finalize(key).outcome == "ok"
    assert lab.query("SELECT COUNT(*) FROM {table}") == [(3,)]
