"""CSV files written by Python's csv module come back as they were; bad rows are named by their lines."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.files import FileFormatOptions
from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.formats.base import FormatOptions, Limits
from etl_runner.formats.csv import Csv
from etl_runner.planning.plan import PlannedColumn
from tests.unit.formats.files import detected, opened, read, sample, text

AWKWARD = st.text(st.sampled_from("a0 ,;\t|\"'\\\n\ré😀\0\u2028"), max_size=8)
TABLES = st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(AWKWARD, min_size=n, max_size=n), max_size=12))


def written(rows: list[list[Any]], encoding: str = "utf-8", **dialect: Any) -> bytes:
    """The rows as Python's csv module writes them."""
    out = io.StringIO()
    csv.writer(out, **{"lineterminator": "\n", **dialect}).writerows(rows)
    return out.getvalue().encode(encoding)


@given(
    rows=TABLES,
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    everything=st.booleans(),
    escape=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]),
    block=st.integers(1, 80),
    piece=st.integers(1, 50),
)
def test_what_the_csv_module_writes_is_read(
    rows: list[list[str]],
    delimiter: str,
    quote: str,
    end: str,
    everything: bool,
    escape: bool,
    encoding: str,
    block: int,
    piece: int,
) -> None:
    width = len(rows[0]) if rows else 2
    names = [f"n{i}" for i in range(width)]
    if not everything and len(end) == 1:
        # The csv module quotes only the line end that it writes itself.
        other = "\r" if end == "\n" else "\n"
        rows = [[value.replace(other, "_") for value in row] for row in rows]
    dialect: dict[str, Any] = {"escapechar": "\\", "doublequote": False} if escape else {}
    data = written(
        [names, *rows],
        encoding,
        delimiter=delimiter,
        quotechar=quote,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL,
        **dialect,
    )
    options = FormatOptions(
        delimiter=delimiter,
        quote=quote,
        escape="\\" if escape else None,
        encoding=encoding,
        null_markers=(),
        block_bytes=block,
    )
    found, bad = read("csv", data, text(*names), options, piece=piece)
    assert [list(row.values()) for row in found] == rows
    assert bad == []


@given(rows=st.lists(st.lists(st.sampled_from(["", "NULL", "\\N", "x", " "]), min_size=2, max_size=2)))
def test_only_unquoted_markers_are_null(rows: list[list[str]]) -> None:
    options = FormatOptions(null_markers=("", "\\N"))
    plain = written([["a", "b"], *rows])
    found, _ = read("csv", plain, text("a", "b"), options)
    expected = [[None if value in ("", "\\N") else value for value in row] for row in rows]
    assert [list(row.values()) for row in found] == expected
    quoted = written([["a", "b"], *rows], quoting=csv.QUOTE_ALL)
    found, _ = read("csv", quoted, text("a", "b"), options)
    assert [list(row.values()) for row in found] == rows


GOOD = st.lists(AWKWARD, min_size=2, max_size=2)
BAD = st.sampled_from(
    [
        (b"only one\n", "has 1 field where the file has 2 columns"),
        (b'"a\nb",2,3\n', "has 3 fields where the file has 2 columns"),
        (b'1,"x"y\n', "has text between a closing quote and the end of its field"),
        (b"1,\xff\xfe\n", "is not UTF-8 text"),
    ]
)


@given(st.lists(st.one_of(GOOD, BAD), max_size=25), st.integers(1, 400))
def test_bad_rows_are_named_and_the_others_kept(records: list[Any], block: int) -> None:
    data, line = b"a,b\n", 2
    good, bad = [], []
    for number, record in enumerate(records, 1):
        if isinstance(record, tuple):
            raw, reason = record
            bad.append((number, line, reason, raw.rstrip(b"\n").decode("utf-8", "backslashreplace")))
        else:
            raw = written([record], quoting=csv.QUOTE_ALL)
            good.append(record)
        data += raw
        line += len(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")) - 1
    rows, found = read("csv", data, text("a", "b"), FormatOptions(null_markers=(), block_bytes=block))
    assert [list(row.values()) for row in rows] == good
    assert [(one.row, one.line, one.reason, one.text) for one in found] == bad


def test_a_few_bad_rows_in_a_large_block_are_found() -> None:
    rows = [[str(i), f"text {i}"] for i in range(20_000)]
    lines = written([["a", "b"], *rows]).splitlines(keepends=True)
    lines[5_000] = b"x\n"
    lines[15_000] = b"1,\xff\n"
    found, bad = read("csv", b"".join(lines), text("a", "b"))
    assert [(one.line, one.row) for one in bad] == [(5_001, 5_000), (15_001, 15_000)]
    assert len(found) == 19_998
    assert found[4_999] == {"a": "5000", "b": "text 5000"}


def test_a_quote_within_an_unquoted_field_is_a_character() -> None:
    rows, bad = read("csv", b'a,b\n5" pipe,"x, y"\n1,2" x 4"\n', text("a", "b"))
    assert [list(row.values()) for row in rows] == [['5" pipe', "x, y"], ["1", '2" x 4"']]
    assert bad == []


def test_quotes_mean_nothing_without_a_quote_character() -> None:
    rows, bad = read("csv", b'a,b\n"x,y"\n', text("a", "b"), FormatOptions(quote=None))
    assert (rows, bad) == ([{"a": '"x', "b": 'y"'}], [])


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_quote_that_is_never_closed_is_one_error_with_its_line(block: int) -> None:
    with pytest.raises(PermanentError, match=r"'x.dat' opens a quote on line 3 that is never closed"):
        read("csv", b'a,b\n1,2\n3,"4\n5,6\n7,8\n', text("a", "b"), FormatOptions(block_bytes=block))


def test_a_quote_that_swallows_the_file_is_an_error_before_memory_ends() -> None:
    data = b'a,b\n1,"2\n' + b"3,4\n" * 1_000
    with pytest.raises(PermanentError, match="more than 500 bytes that begins on line 2"):
        read("csv", data, text("a", "b"), FormatOptions(block_bytes=10, max_record_bytes=500), piece=100)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_columns_and_no_rows(data: bytes) -> None:
    assert sample("csv", data).seen == {}
    assert read("csv", data, text("a")) == ([], [])


@pytest.mark.parametrize("data", [b"a,b", b"a,b\n", b"\xef\xbb\xbfa,b\r\n", b'"a","b"\r'])
def test_a_header_alone_has_columns_and_no_rows(data: bytes) -> None:
    assert [(f.name, f.type) for f in detected("csv", data)] == [("a", "STRING"), ("b", "STRING")]
    assert read("csv", data, text("a", "b")) == ([], [])


def test_repeated_and_empty_names_are_told_apart() -> None:
    data = b"a,a,,a_2,a\n1,2,3,4,5\n"
    names = list(sample("csv", data).seen)
    assert names == ["a", "a_3", "column_3", "a_2", "a_4"]
    rows, _ = read("csv", data, text(*names))
    assert list(rows[0].values()) == ["1", "2", "3", "4", "5"]


def test_columns_are_chosen_by_name_and_renamed() -> None:
    columns = [PlannedColumn(name, "text", BqField(name.upper(), "STRING")) for name in ("c", "a")]
    assert read("csv", b"a,b,c\n1,2,3\n", columns)[0] == [{"C": "3", "A": "1"}]


def test_a_missing_column_is_an_error_unless_allowed() -> None:
    with pytest.raises(PermanentError, match="lacks the column 'z'; it has: a, b"):
        read("csv", b"a,b\n1,2\n", text("a", "z"))
    rows, _ = read("csv", b"a,b\n1,2\n", text("z", "a"), FormatOptions(missing_columns="null"))
    assert rows == [{"z": None, "a": "1"}]
    assert read("csv", b"a\n1\n2\n", text("z"), FormatOptions(missing_columns="null"))[0] == [{"z": None}] * 2


def test_lines_before_the_header_are_left_out_and_counted() -> None:
    options = FormatOptions(skip_lines=2)
    rows, bad = read("csv", b'"made, by\r\nx\r\n\r\na,b\r\n1,2\r\n3\r\n', text("a", "b"), options)
    assert rows == [{"a": "1", "b": "2"}]
    assert [(one.line, one.row) for one in bad] == [(6, 2)]
    assert read("csv", b"x\n", [], FormatOptions(skip_lines=5)) == ([], [])


def test_a_file_without_a_header_numbers_its_columns() -> None:
    options = FormatOptions(has_header=False)
    assert list(sample("csv", b"1,2\n3,4\n", options).seen) == ["column_1", "column_2"]
    rows, _ = read("csv", b"1,2\n3,4\n", text("column_2"), options)
    assert rows == [{"column_2": "2"}, {"column_2": "4"}]


def test_empty_lines_are_rows_only_in_a_single_column() -> None:
    assert read("csv", b"a,b\n1,2\n\n3,4\n\n", text("a"))[0] == [{"a": "1"}, {"a": "3"}]
    assert read("csv", b"a\n1\n\n3\n", text("a"))[0] == [{"a": "1"}, {"a": None}, {"a": "3"}]
    options = FormatOptions(has_header=False)
    assert read("csv", b"\n1\n", text("column_1"), options)[0] == [{"column_1": None}, {"column_1": "1"}]


def test_ten_thousand_columns() -> None:
    names = [f"c{i}" for i in range(10_000)]
    data = written([names, *([f"{r}.{i}" for i in range(10_000)] for r in range(3))])
    found = sample("csv", data, limits=Limits(rows=2))
    assert list(found.seen) == names
    assert not found.complete
    rows, bad = read("csv", data + b"1,2\n", text("c0", "c9999"))
    assert [list(row.values()) for row in rows] == [[f"{r}.0", f"{r}.9999"] for r in range(3)]
    assert bad[0].reason == "has 2 fields where the file has 10000 columns"


def test_a_line_of_fifty_megabytes() -> None:
    long = "x" * 25_000_000 + '"\n' + "y" * 25_000_000
    data = written([["a", "b"], ["1", "2"], ["3", long], ["4", "5"]])
    rows, bad = read("csv", data, text("a", "b"))
    assert [row["a"] for row in rows] == ["1", "3", "4"]
    assert rows[1]["b"] == long
    assert bad == []


def test_a_wrong_encoding_is_said_with_its_place() -> None:
    with pytest.raises(PermanentError, match="begins with the byte order mark of utf-16: set encoding"):
        read("csv", "a,b\n1,2\n".encode("utf-16"), text("a"))
    with pytest.raises(PermanentError, match="is not cp1252 text at byte 6"):
        read("csv", b"a,b\n1,\x81\n", text("a"), FormatOptions(encoding="cp1252"), piece=3)
    with pytest.raises(PermanentError, match="is not utf-16 text at byte"):
        read("csv", "a,b\n1,2\n".encode("utf-16")[:-1], text("a"), FormatOptions(encoding="utf-16"))
    with pytest.raises(PermanentError, match="has a header on line 1 that is not UTF-8 text"):
        read("csv", b"a,\xe9\n1,2\n", text("a"))
    rows, _ = read("csv", b"a,\xe9\n1,\xfc\n", text("é"), FormatOptions(encoding="latin-1"))
    assert rows == [{"é": "ü"}]


def test_a_delimiter_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(PermanentError, match="delimiter '§': only ASCII"):
        read("csv", b"a\n", text("a"), FormatOptions(delimiter="§"))


def test_values_reach_their_types_exactly_or_are_rejected() -> None:
    columns = [
        PlannedColumn("id", "text", BqField("id", "INT64")),
        PlannedColumn("zip", "text", BqField("zip", "STRING")),
        PlannedColumn("price", "text", BqField("price", "NUMERIC")),
    ]
    data = (
        b"id,zip,price\n1,00123,1.10\n9223372036854775808,x,1\n0x1F,x,1\n3,,12345678901234567890.123456789\n"
    )
    converter = Converter(columns, unit="u")
    rows: list[Any] = []
    rejects: list[Any] = []
    for block in Csv().read(opened(data), FormatOptions(), columns):
        converted = converter.convert(block.batch)
        rows += converted.batch.to_pylist()
        rejects += converted.rejects
    assert [(row["id"], row["zip"], str(row["price"])) for row in rows] == [
        (1, "00123", "1.100000000"),
        (3, None, "12345678901234567890.123456789"),
    ]
    assert [(one.row, one.value) for one in rejects] == [(2, "9223372036854775808"), (3, "0x1F")]


def test_options_of_a_source_document() -> None:
    assert FormatOptions.of(FileFormatOptions()) == FormatOptions()
    given_options = FileFormatOptions(
        delimiter="\\t", quote="none", escape="none", encoding="latin-1", null_markers=(), skip_lines=3
    )
    assert FormatOptions.of(given_options) == FormatOptions(
        delimiter="\t", quote=None, encoding="latin-1", null_markers=(), skip_lines=3
    )
    assert FormatOptions.of(FileFormatOptions(escape='"')).escape is None
    assert FormatOptions.of(FileFormatOptions(escape="\\")).escape == "\\"
