"""A row of a text file knows its line, so that a value that does not fit can be found in the file."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.files import FileFormat
from etl_runner.convert.fields import BqField
from etl_runner.formats import format_named
from etl_runner.formats.base import FormatOptions, Part
from etl_runner.planning.plan import PlannedColumn
from tests.unit.formats.files import opened, planned, text

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
CELL = st.sampled_from(["", "a", '"b, c"', '"two\nlines"', '"three\r\n\nlines"', '"a ""quote"""', "é😀"])
PLAIN = st.sampled_from(["a", "", "é"])


def found(
    kind: FileFormat,
    data: bytes,
    columns: list[PlannedColumn],
    options: FormatOptions,
    part: Part | None = None,
) -> tuple[list[tuple[int, str | None]], list[int | None]]:
    """Line and first value of every row, and the lines of the bad rows."""
    rows: list[tuple[int, str | None]] = []
    bad: list[int | None] = []
    for block in format_named(kind).read(opened(data), options, columns, part):
        bad += [row.line for row in block.bad]
        values = block.batch.column(0).to_pylist()
        if values:
            assert block.lines is not None
            rows += zip(block.lines(range(len(values))), values, strict=True)
            assert block.lines([len(values) - 1]) == [rows[-1][0]]
    return rows, bad


@given(
    records=st.lists(
        st.one_of(st.tuples(st.just("row"), CELL), st.tuples(st.just("plain"), PLAIN), st.just(("bad", "x"))),
        max_size=30,
    ),
    blank=st.sets(st.integers(0, 30)),
    end=ENDS,
    block=st.sampled_from([8, 60, 1 << 20]),
    last=st.booleans(),
)
def test_csv(records: list[tuple[str, str]], blank: set[int], end: str, block: int, last: bool) -> None:
    lines, wanted, broken = ["n,v"], [], []
    at = 2
    for number, (kind, cell) in enumerate(records):
        if number in blank:
            lines.append("")
            at += 1
        if kind == "bad":
            broken.append(at)
            lines.append(f"{number},x,x,x")
        else:
            wanted.append((at, str(number)))
            lines.append(f"{number},{cell}")
            at += cell.replace("\r\n", "\n").count("\n")
        at += 1
    data = (end.join(lines) + (end if last else "")).encode()
    assert found("csv", data, text("n", "v"), FormatOptions(block_bytes=block)) == (wanted, broken)


def test_csv_of_one_column_where_an_empty_line_is_a_row() -> None:
    rows, bad = found("csv", b'n\n1\n\n"2\n2"\n3', text("n"), FormatOptions())
    assert (rows, bad) == ([(2, "1"), (3, None), (4, "2\n2"), (6, "3")], [])


@given(
    records=st.lists(
        st.sampled_from(["{}", '{"n": 1e2}', '{"n": 7, "m": NaN}', '{"n": ', "[1]"]), max_size=30
    ),
    blank=st.sets(st.integers(0, 30)),
    block=st.sampled_from([8, 60, 1 << 20]),
    read_as=st.sampled_from(["STRING", "NUMERIC", "JSON"]),
    start=st.booleans(),
)
def test_json_lines(records: list[str], blank: set[int], block: int, read_as: str, start: bool) -> None:
    lines: list[str] = []
    wanted: list[int] = []
    broken: list[int] = []
    for number, record in enumerate(records):
        if number in blank:
            lines.append("")
        good = record.endswith("}")
        lines.append(
            record[:-1] + (", " if len(record) > 2 else "") + f'"id": {number}}}' if good else record
        )
        (wanted if good else broken).append(len(lines))
    columns = planned(BqField("id", "STRING"), BqField("n", read_as))
    data = "".join(f"{line}\n" for line in lines).encode()
    options = FormatOptions(block_bytes=block)
    rows, bad = found("jsonl", data, columns, options)
    assert ([line for line, _ in rows], bad) == (wanted, broken)
    if start and len(lines) > 1:
        # Of a part lines count from its first one.
        first = len(lines[0]) + 1
        rows, bad = found("jsonl", data[first - 1 :], columns, options, Part(first, len(data)))
        assert [line for line, _ in rows] == [line - 1 for line in wanted if line > 1]


@given(
    records=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([1, None, "x", {"a": [1]}])), max_size=20)
)
def test_json_documents(records: list[tuple[int, object]]) -> None:
    pieces, wanted, line = ["["], [], 1
    for number, (gap, value) in enumerate(records):
        body = json.dumps({"id": str(number), "v": value}, indent=1)
        pieces.append("\n" * gap + body + (",\n" if number < len(records) - 1 else ""))
        wanted.append((line + gap, str(number)))
        line += gap + body.count("\n") + 1
    columns = planned(BqField("id", "STRING"), BqField("v", "JSON"))
    rows, bad = found("json", ("".join(pieces) + "]").encode(), columns, FormatOptions(block_bytes=50))
    assert (rows, bad) == (wanted, [])
