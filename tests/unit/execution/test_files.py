"""Units of several files: each file's rows, rejects and places are its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl_runner import jsontypes
from etl_runner.errors import CorruptStateError, FileError, PermanentError
from etl_runner.execution.failures import Failure
from etl_runner.execution.manifest import FileRows, Manifest
from etl_runner.execution.unit import execute_unit, parse_manifest
from etl_runner.formats.base import BadRow
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.sources.base import Rows
from etl_runner.state.memory import MemoryObjectStore
from tests.unit.execution.worlds import batch_of, make_plan

A, B, C = "gs://b/a.csv", "gs://b/b.csv", "gs://b/c.csv"


class Files:
    """A reader of what it is given."""

    def __init__(self, *rows: Rows) -> None:
        self._rows = rows

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        yield from self._rows


def header_of(**changes: Any) -> PlanHeader:
    return replace(
        make_plan().header,
        on_bad_row="reject",
        max_rejects=10,
        metadata=("_etl_run_id", "_etl_source_file"),
        **changes,
    )


def unit_of(*uris: str, **part: int) -> WorkUnit:
    files = [{"uri": uri, "version": f"v-{uri[-5]}", **part} for uri in uris]
    return WorkUnit("u00000", "file", {"files": files}, "")


def bad(row: int, line: int) -> BadRow:
    return BadRow("a.csv", row, line, "has 1 field where the file has 3 columns", "x")


def rejects_in(store: MemoryObjectStore, manifest: Manifest) -> list[dict[str, Any]]:
    assert manifest.rejects_object is not None
    stored = store.read(manifest.rejects_object)
    assert stored is not None
    return [jsontypes.loads(line) for line in stored.data.splitlines()]


def test_every_file_has_its_account_and_its_rows_its_name(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    # Rows 1, 3, 4, 6 of a.csv are rows; the third of them (the file's row 4) cannot be converted.
    rows = (
        Rows(batch_of([1, 2], ["1.00", "2.00"]), (bad(2, 3), bad(5, 6)), A),
        Rows(batch_of([3, 4], ["much", "4.00"]), (), A, lambda places: [5 + place for place in places]),
        Rows(batch_of([5]), (), B),
    )
    header = header_of()
    manifest = execute_unit(Files(*rows), unit_of(A, B, C), header, store, workdir=tmp_path)
    assert manifest.files == (
        FileRows(A, "v-a", 3, 3),
        FileRows(B, "v-b", 1, 0),
        FileRows(C, "v-c", 0, 0),
    )
    assert (manifest.read, manifest.rows, manifest.rejects) == (7, 4, 3)
    places = [(r["file"], r["row"], r["line"]) for r in rejects_in(store, manifest)]
    assert places == [(A, 2, 3), (A, 5, 6), (A, 4, 5)]
    stored = store.read(manifest.shards[0].name)
    assert stored is not None
    path = tmp_path / "shard.parquet"
    path.write_bytes(stored.data)
    table = pq.read_table(path)
    named = dict(
        zip(table.column("id").to_pylist(), table.column("_etl_source_file").to_pylist(), strict=True)
    )
    assert named == {1: A, 2: A, 4: A, 5: B}


def test_rows_of_a_part_are_counted_from_its_first_byte(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    rows = Rows(batch_of([1, 2], ["1.00", "much"]), (), A)
    manifest = execute_unit(Files(rows), unit_of(A, start=512), header_of(), store, workdir=tmp_path)
    (reject,) = rejects_in(store, manifest)
    assert (reject["row"], reject["from_byte"]) == (2, 512)


@pytest.mark.parametrize(
    "rows",
    [
        Rows(batch_of([1]), (bad(1, 2),), B),
        Rows(batch_of([1], ["much"]), (), B),
        Rows(batch_of([1]).drop_columns(["name"]), (), B),
    ],
    ids=["a row that is none", "a value that does not fit", "a column that is missing"],
)
def test_what_one_file_causes_names_it(rows: Rows, tmp_path: Path) -> None:
    header = replace(header_of(), on_bad_row="fail")
    with pytest.raises(FileError, match=r"b\.csv") as caught:
        execute_unit(Files(rows), unit_of(A, B), header, MemoryObjectStore(), workdir=tmp_path)
    assert (caught.value.uri, caught.value.version) == (B, "v-b")
    failure = Failure.of("u00000", caught.value)
    assert (failure.uri, failure.version, failure.final) == (B, "v-b", True)


def test_rows_of_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="not a file of this unit"):
        execute_unit(
            Files(Rows(batch_of([1]), (), C)), unit_of(A), header_of(), MemoryObjectStore(), workdir=tmp_path
        )


def test_a_manifest_whose_files_do_not_add_up_is_refused(tmp_path: Path) -> None:
    rows = Rows(batch_of([1, 2]), (), A)
    manifest = execute_unit(Files(rows), unit_of(A), header_of(), MemoryObjectStore(), workdir=tmp_path)
    parse_manifest("m", "u00000", jsontypes.dumps(manifest.to_json()))
    wrong = replace(manifest, files=(replace(manifest.files[0], rows=1),))
    with pytest.raises(CorruptStateError, match="does not add up"):
        parse_manifest("m", "u00000", jsontypes.dumps(wrong.to_json()))
