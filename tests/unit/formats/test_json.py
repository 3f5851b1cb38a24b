"""JSON Lines and JSON documents: values as Python's json module wrote them, faults with their lines."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl_runner.config.files import FileFormat
from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.formats import format_named
from etl_runner.formats.base import FormatOptions
from tests.unit.formats.files import detected, opened, planned, read, sample

KINDS: tuple[FileFormat, ...] = ("jsonl", "json")
TEXT = st.text(st.characters(codec="utf-8"), max_size=10)


def document(kind: str, records: list[str], indent: str = "") -> bytes:
    """The records, each one JSON text, as a file of the kind."""
    if kind == "jsonl":
        return "".join(record + "\n" for record in records).encode()
    return ("[" + f",{indent}".join(records) + "]").encode()


def converted(kind: FileFormat, data: bytes, fields: list[BqField], block: int = 1 << 20) -> Any:
    """Rows and rejects after conversion, and the bad rows of the format."""
    columns = planned(*fields)
    converter = Converter(columns, unit="u")
    rows: list[Any] = []
    rejects: list[Any] = []
    bad: list[Any] = []
    for part in format_named(kind).read(opened(data), FormatOptions(block_bytes=block), columns):
        result = converter.convert(part.batch)
        rows += result.batch.to_pylist()
        rejects += result.rejects
        bad += part.bad
    return rows, rejects, bad


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "i": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "b": st.none() | st.booleans(),
                "s": st.none() | TEXT,
                "r": st.lists(st.integers(-9, 9), max_size=3),
                "o": st.none()
                | st.fixed_dictionaries(
                    {}, optional={"x": st.integers(0, 9), "y": st.lists(TEXT, max_size=2)}
                ),
            },
        ),
        max_size=20,
    ),
    kind=st.sampled_from(KINDS),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    block=st.integers(1, 200),
)
def test_what_the_json_module_writes_is_read(
    rows: list[dict[str, Any]], kind: FileFormat, ascii_only: bool, indent: int | None, block: int
) -> None:
    indent = indent if kind == "json" else None
    records = [json.dumps(row, ensure_ascii=ascii_only, indent=indent) for row in rows]
    fields = [
        BqField("i", "INT64"),
        BqField("f", "FLOAT64"),
        BqField("b", "BOOL"),
        BqField("s", "STRING"),
        BqField("r", "INT64", mode="REPEATED"),
        BqField("o", "STRUCT", fields=(BqField("x", "INT64"), BqField("y", "STRING", mode="REPEATED"))),
    ]
    found, rejects, bad = converted(kind, document(kind, records, "\n"), fields, block)
    expected = []
    for row in rows:
        inner = row.get("o")
        nested = None if inner is None else {"x": inner.get("x"), "y": inner.get("y", [])}
        expected.append({**{k: row.get(k) for k in "ifbs"}, "r": row.get("r", []), "o": nested})
    assert found == expected
    assert [repr(row["f"]) for row in found] == [repr(row["f"]) for row in expected]
    assert (rejects, bad) == ([], [])


DIGITS = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{whole}{fraction}{exponent}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**40).map(str),
    st.just("") | st.text("0123456789", min_size=1, max_size=40).map(lambda t: "." + t),
    st.just("") | st.integers(-40, 40).map(lambda e: f"e{e}"),
)


@given(
    st.lists(DIGITS, max_size=10),
    st.sampled_from(['{"n": %s}', '{"n": "%s"}', '{"n": "%s", "m": 1}']),
    st.sampled_from(KINDS),
    st.sampled_from(["NUMERIC", "BIGNUMERIC"]),
)
@example(["1234e33"], '{"n": "%s"}', "jsonl", "NUMERIC")
@example(["1234e33"], '{"n": "%s", "m": 1}', "jsonl", "NUMERIC")
@example(["1" + 300 * "0"], '{"n": "%s", "m": 1}', "jsonl", "BIGNUMERIC")
def test_numbers_become_decimals_exactly_or_are_rejected(
    numbers: list[str], row: str, kind: FileFormat, target: str
) -> None:
    data = document(kind, [row % number for number in numbers])
    # A number in another column of the type: not all of them can be read as texts.
    others = [BqField("m", target)] if '"m"' in row else []
    rows, rejects, bad = converted(kind, data, [BqField("n", target), *others])
    whole, scale = (29, 9) if target == "NUMERIC" else (38, 38)

    def fits(number: str) -> bool:
        value = Decimal(number)
        exact = value.as_tuple()
        digits = len(exact.digits) + int(exact.exponent)
        needed = -int(exact.exponent) - (len(exact.digits) - len("".join(map(str, exact.digits)).rstrip("0")))
        return not value or (digits <= whole and needed <= scale)

    assert [row["n"] for row in rows] == [Decimal(number) for number in numbers if fits(number)]
    assert len(rejects) == sum(not fits(number) for number in numbers)
    assert bad == []


@given(st.lists(DIGITS, max_size=10), st.sampled_from(KINDS))
def test_numbers_become_text_and_json_as_written(numbers: list[str], kind: FileFormat) -> None:
    data = document(kind, [f'{{"s": {number}, "j": {{"k": [{number}, "é\\n"]}}}}' for number in numbers])
    rows, bad = read(kind, data, planned(BqField("s", "STRING"), BqField("j", "JSON")))
    assert [row["s"] for row in rows] == numbers
    assert [row["j"] for row in rows] == [f'{{"k":[{number},"é\\n"]}}' for number in numbers]
    assert bad == []


BROKEN = [
    ("null", "is null, not an object"),
    ("[1]", "is an array, not an object"),
    ("17", "is a number, not an object"),
    ('"x"', "is a text, not an object"),
    ('{"a": 1, "a": 2}', "has the key 'a' twice in one object"),
    ('{"a": NaN}', "is not JSON: NaN is no JSON number"),
    ('{"a": "\\ud800"}', "holds half a surrogate pair, which is no text"),
    ('{"a": 1,}', "is not JSON:"),
    ('{"a": 01}', "is not JSON:"),
    ('{"a": "\t"}', "is not JSON: Invalid control character"),
    ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deeply"),
]


@pytest.mark.parametrize(("record", "reason"), BROKEN)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", [BqField("a", "FLOAT64"), BqField("a", "STRING"), BqField("a", "JSON")])
def test_a_bad_object_is_named_by_its_line_and_the_others_are_kept(
    record: str, reason: str, kind: FileFormat, field: BqField
) -> None:
    records = ['{"a": 1}', "\n" + record if kind == "json" else record, '{"a": 3}', '{"b": 1}']
    rows, bad = read(kind, document(kind, records), planned(field))
    assert [None if row["a"] is None else float(row["a"]) for row in rows] == [1.0, 3.0, None]
    assert [(one.line, one.row, one.text) for one in bad] == [(2, 2, record)]
    assert bad[0].reason.startswith(reason)


@pytest.mark.parametrize(
    "line", [b"{", b'{"a": 1', b'{"a": 1}{"a": 2}', b'{"a": 1} null', b"x", b'{"a": "\xff"}']
)
def test_a_bad_line_is_named(line: bytes) -> None:
    data = b'{"a": 1}\r\n\r\n' + line + b'\n  \n{"a": 2}'
    rows, bad = read("jsonl", data, planned(BqField("a", "INT64")))
    assert [str(row["a"]) for row in rows] == ["1", "2"]
    assert [(one.line, one.row) for one in bad] == [(3, 2)]
    assert bad[0].text == line.decode("utf-8", "backslashreplace")


def test_a_few_bad_lines_in_a_large_block_are_found() -> None:
    lines = [f'{{"a": {i}, "s": "text {i}"}}' for i in range(20_000)]
    lines[5_000] = "{}x"
    lines[15_000] = '{"a": "b"}'
    data = document("jsonl", lines)
    rows, rejects, bad = converted("jsonl", data, [BqField("a", "INT64"), BqField("s", "STRING")])
    assert [(one.line, one.row) for one in bad] == [(5_001, 5_001)]
    assert [(one.row, one.value) for one in rejects] == [(15_000, "b")]
    assert [row["a"] for row in rows] == [i for i in range(20_000) if i not in (5_000, 15_000)]


def test_shapes_that_do_not_fit_are_bad_rows_with_their_column() -> None:
    fields = [
        BqField("o", "STRUCT", fields=(BqField("x", "INT64"),)),
        BqField("r", "INT64", mode="REPEATED"),
    ]
    data = b'{"o": {"x": 1}}\n{"o": {"x": 1, "y": 2}}\n{"o": 3}\n{"r": 4}\n{"r": [5]}\n'
    rows, bad = read("jsonl", data, planned(*fields))
    assert [(one.line, one.column, one.reason) for one in bad] == [
        (2, "o", "has the field 'y' in 'o', which the column has not"),
        (3, "o", "has a number in 'o' where an object is expected"),
        (4, "r", "has a number in 'r' where an array is expected"),
    ]
    assert rows == [{"o": {"x": "1"}, "r": None}, {"o": None, "r": ["5"]}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"a": 1},\n{"a"', "is truncated: it ends within an element that begins, on line 2"),
        (b'[{"a": 1}', "is truncated: it ends within its array"),
        (b'[{"a": "x', "is truncated: it ends within an element"),
        (b"[1", "is truncated"),
        (b'[{"a": 1}\n{"a": 2}]', "a comma or the array's end is missing, on line 2"),
        (b'[{"a": 1},]', "an element is missing"),
        (b'[{"a": 1}]\n\n[]', "goes on after the end of its array, on line 3"),
        (b'{"a": 1}, {"a": 2}', "goes on with something that is not an object"),
        (b"a,b\n", "is neither a JSON array nor an object"),
    ],
)
@pytest.mark.parametrize("piece", [1, None])
def test_a_document_that_is_not_one_is_one_error(data: bytes, message: str, piece: int | None) -> None:
    with pytest.raises(PermanentError, match=message):
        read("json", data, planned(BqField("a", "INT64")), piece=piece)


def test_every_truncation_of_an_array_is_an_error() -> None:
    data = b'[{"a": "x,]}\\""}, {"a": [1, {"b": 2}]}]'
    for size in range(1, len(data)):
        with pytest.raises(PermanentError, match="is truncated"):
            read("json", data[:size], planned(BqField("a", "JSON")), piece=3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_rows(kind: FileFormat, data: bytes) -> None:
    assert read(kind, data, planned(BqField("a", "INT64"))) == ([], [])
    assert sample(kind, data).seen == {}


def test_one_object_or_several_are_rows() -> None:
    for data in (b'{"a": 1}', b'\xef\xbb\xbf{"a":\n1}\n'):
        assert read("json", data, planned(BqField("a", "INT64"))) == ([{"a": 1}], [])
    found, _ = read("json", b'{"a": 1}\n{"a": 2} {"a": 3}', planned(BqField("a", "INT64")), piece=2)
    assert [row["a"] for row in found] == [1, 2, 3]


def test_other_encodings_are_read() -> None:
    data = '{"a": "é"}\r\n{"a": "€"}\r\n'.encode("utf-16")
    rows, _ = read("jsonl", data, planned(BqField("a", "STRING")), FormatOptions(encoding="utf-16"), piece=3)
    assert [row["a"] for row in rows] == ["é", "€"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_fifty_megabytes(kind: FileFormat) -> None:
    long = "x" * 50_000_000
    data = document(kind, ['{"a": "1"}', json.dumps({"a": long}), '{"a": "2"}'])
    rows, bad = read(kind, data, planned(BqField("a", "STRING")))
    assert [len(row["a"]) for row in rows] == [1, 50_000_000, 1]
    assert bad == []


def test_an_object_longer_than_the_limit_is_an_error() -> None:
    options = FormatOptions(max_record_bytes=1_000, block_bytes=10)
    data = document("json", ['{"a": "1"}', json.dumps({"a": "x" * 5_000})])
    with pytest.raises(PermanentError, match="more than 1000 bytes"):
        read("json", data, planned(BqField("a", "STRING")), options, piece=100)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_keys(kind: FileFormat) -> None:
    record = json.dumps({f"k{i}": i for i in range(10_000)})
    fields = detected(kind, document(kind, [record, record]))
    assert len(fields) == 10_000
    rows, bad = read(kind, document(kind, [record, record]), planned(*fields))
    assert [list(row.values()) for row in rows] == [list(range(10_000))] * 2
    assert bad == []


def test_detection_keeps_what_each_value_says() -> None:
    records = [
        {"i": 1, "s": "00123", "b": True, "o": {"x": [1, 2]}, "m": 1, "n": [1, None], "day": "2020-01-01"},
        {"i": 2, "s": "x", "b": None, "o": {"y": "a"}, "m": "x", "n": [], "day": "2020-01-02"},
    ]
    data = (
        "\n".join(json.dumps(record) for record in records)[:-1]
        + ', "d": 1.10, "z": 1e3, "big": 99999999999999999999}'
    )
    found = {field.name: field for field in detected("jsonl", data.encode())}
    assert {name: field.type for name, field in found.items()} == {
        "i": "INT64", "s": "STRING", "b": "BOOL", "o": "STRUCT", "m": "STRING", "n": "JSON", "day": "STRING",
        "d": "NUMERIC", "z": "FLOAT64", "big": "NUMERIC",
    }  # fmt: skip
    assert [(f.name, f.type, f.mode) for f in found["o"].fields] == [
        ("x", "INT64", "REPEATED"),
        ("y", "STRING", "NULLABLE"),
    ]


def test_the_quick_way_and_the_slow_way_agree() -> None:
    records = [json.dumps({"i": i, "f": i / 7, "s": f"é{i}", "d": 1.25}) for i in range(50)]
    fields = [BqField("i", "INT64"), BqField("f", "FLOAT64"), BqField("s", "STRING"), BqField("d", "NUMERIC")]
    quick = converted("jsonl", document("jsonl", records), fields)
    slow = converted("jsonl", document("jsonl", ["null", *records]), fields)
    assert quick[0] == slow[0]
    assert pa.array([row["f"] for row in quick[0]]).to_pylist() == [i / 7 for i in range(50)]


@pytest.mark.parametrize("neighbour", ['{"a": 2}', "null"])
def test_what_is_not_planned_is_passed_over_whichever_way_is_taken(neighbour: str) -> None:
    data = document("jsonl", ['{"a": 1, "b": {"c": 1, "c": 2}, "d": NaN, "d": 3}', neighbour])
    rows, bad = read("jsonl", data, planned(BqField("a", "INT64")))
    assert int(rows[0]["a"]) == 1
    assert [one.line for one in bad] == ([2] if neighbour == "null" else [])
    rows, bad = read("jsonl", data, planned(BqField("a", "INT64"), BqField("b", "JSON")))
    assert bad[0].reason == "has the key 'c' twice in one object"


PIECES = st.sampled_from(
    ["{", "}", "[", "]", ":", ",", "null", '"i"', '"o"', '"q"', '"x"', "1", "1.5", "1e2", '"t"', "true", " ",
     "NaN",
     '{"i":1}', '"o":{"x":1}', '"q":[{"x":1}]', '"q":[null]', "\\", '"', "\t", "\n"]
)  # fmt: skip
WHOLE = st.sampled_from(
    ['{"i":1,"f":2.5,"s":"a","d":1.10,"r":[1],"o":{"x":1,"y":["a"]},"q":[{"x":2}]}', "{}", "null",
     '{"o":null,"q":[null,{"x":1}]}', '{"r":[null],"q":null}', '{"i":null,"z":{"k":[1,{}]}}']
)  # fmt: skip
SCRATCHED = st.builds(
    lambda text, at, cut, piece: text[: at % (len(text) + 1)] + piece + text[at % (len(text) + 1) + cut :],
    WHOLE,
    st.integers(0, 200),
    st.integers(0, 5),
    PIECES,
)
ALL = [
    BqField("i", "INT64"),
    BqField("f", "FLOAT64"),
    BqField("s", "STRING"),
    BqField("d", "NUMERIC"),
    BqField("r", "INT64", mode="REPEATED"),
    BqField("o", "STRUCT", fields=(BqField("x", "INT64"), BqField("y", "STRING", mode="REPEATED"))),
    BqField("q", "STRUCT", mode="REPEATED", fields=(BqField("x", "INT64"),)),
]


@given(
    st.lists(WHOLE | SCRATCHED, max_size=5),
    st.lists(st.sampled_from(ALL), min_size=1, max_size=7, unique_by=lambda field: field.name),
)
def test_damage_is_found_the_same_way_alone_and_among_others(lines: list[str], fields: list[BqField]) -> None:
    """A JSON text column sends every object the slow way: rows, rejects and bad rows must be the same."""
    data = document("jsonl", lines)
    either = converted("jsonl", data, fields)
    slowly = converted("jsonl", data, [*fields, BqField("never", "JSON")])
    for row in slowly[0]:
        assert row.pop("never") is None
    assert either[0] == slowly[0]
    assert [(one.row, one.column) for one in either[1]] == [(one.row, one.column) for one in slowly[1]]
    assert either[2] == slowly[2]
