"""Parts of a file have each line once, wherever the cuts fall."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.formats import format_named
from etl_runner.formats.base import FormatOptions, Part
from etl_runner.formats.csv import Csv
from etl_runner.formats.ranges import can_split, split
from tests.unit.formats.files import opened, planned, read, text

UNQUOTED = FormatOptions(quote=None, block_bytes=50)


def read_part(kind: Any, data: bytes, part: Part, columns: Any, options: FormatOptions, piece: int) -> Any:
    """The part read as a worker reads it: the stream begins one byte early."""
    return read(kind, data[max(part.start - 1, 0) :], columns, options, piece=piece, part=part)


def cut(size: int, at: list[int], names: tuple[str, ...] | None, first: int) -> list[Part]:
    inner = sorted({place % size for place in at if place % size > first})
    cuts = [0, *inner, size]
    return [Part(a, b, names) for a, b in pairwise(cuts)]


@given(
    lines=st.lists(st.text("a,é \"'", max_size=12), max_size=20),
    at=st.lists(st.integers(0, 500), max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
    piece=st.integers(1, 30),
    encoding=st.sampled_from(["utf-8", "latin-1"]),
)
def test_parts_of_csv_have_each_line_once(
    lines: list[str], at: list[int], end: str, ended: bool, piece: int, encoding: str
) -> None:
    options = FormatOptions(quote=None, encoding=encoding, null_markers=(), block_bytes=20, has_header=True)
    data = end.join(["x,y", *lines]).encode(encoding) + (end.encode() if ended else b"")
    names = Csv().names(opened(data), options)
    whole, bad = read("csv", data, text("x", "y"), options)
    rows: list[Any] = []
    faults = []
    for part in cut(len(data), at, names, first=4):
        some, wrong = read_part("csv", data, part, text("x", "y"), options, piece)
        rows += some
        faults += [(one.reason, one.text) for one in wrong]
    assert rows == whole
    assert faults == [(one.reason, one.text) for one in bad]


@given(
    values=st.lists(st.text(st.characters(codec="utf-8"), max_size=10), max_size=20),
    at=st.lists(st.integers(0, 900), max_size=6),
    piece=st.integers(1, 30),
)
def test_parts_of_json_lines_have_each_line_once(values: list[str], at: list[int], piece: int) -> None:
    data = "\n".join(json.dumps({"s": value}, ensure_ascii=False) for value in values).encode() or b"\n"
    found: list[Any] = []
    for part in cut(len(data), at, None, first=0):
        rows, bad = read_part("jsonl", data, part, planned(BqField("s", "STRING")), FormatOptions(), piece)
        found += rows
        assert bad == []
    assert [row["s"] for row in found] == values


@given(st.integers(1, 10_000), st.integers(1, 12_000), st.integers(0, 500))
def test_parts_tile_the_file(size: int, target: int, first: int) -> None:
    parts = split(size, target, first=first)
    assert parts[0].start == 0
    assert parts[-1].end == size
    assert all(a.end == b.start for a, b in pairwise(parts))
    assert all(part.start < part.end for part in parts)
    assert parts[0].end > min(first, size - 1)


def test_lines_of_a_part_are_counted_from_its_first_byte() -> None:
    data = b"a,b\n1,2\n3,4\n5\n"
    _, bad = read_part("csv", data, Part(5, len(data), ("a", "b")), text("a", "b"), UNQUOTED, 3)
    (one,) = bad
    assert (one.line, one.row, one.place) == (2, 2, "line 2 after byte 5")
    assert one.reject("u00001").place == "x.dat, line 2 after byte 5"


def test_only_what_is_provably_safe_is_split() -> None:
    assert can_split("x.jsonl", "jsonl", FormatOptions())
    assert can_split("x.csv", "csv", FormatOptions(quote=None, encoding="cp1252"))
    assert not can_split("x.csv", "csv", FormatOptions())
    assert not can_split("x.csv", "csv", FormatOptions(quote=None, escape="\\"))
    assert not can_split("x.csv.gz", "csv", FormatOptions(quote=None))
    assert not can_split("x.jsonl", "jsonl", FormatOptions(compression="zstd"))
    assert not can_split("x.jsonl", "jsonl", FormatOptions(encoding="utf-16"))
    assert not can_split("x.jsonl", "jsonl", FormatOptions(encoding="iso2022_jp"))


def test_a_file_that_shrank_is_an_error() -> None:
    with pytest.raises(PermanentError, match="ends at byte 8, before byte 100 where it was cut"):
        read("csv", b"a,b\n1,2\n", text("a"), UNQUOTED, part=Part(0, 100))


def test_a_part_that_is_not_the_first_needs_the_names() -> None:
    with pytest.raises(PermanentError, match="needs the column names"):
        read("csv", b"1,2\n", text("a"), UNQUOTED, part=Part(10, 14))


def test_a_document_has_no_parts() -> None:
    with pytest.raises(PermanentError, match="cannot be read in parts"):
        read("json", b"[]", [], part=Part(0, 2))


def test_all_formats_are_there() -> None:
    assert [type(format_named(kind)).__name__ for kind in ("csv", "parquet", "json", "jsonl")] == [
        "Csv",
        "Parquet",
        "Json",
        "JsonLines",
    ]
