"""A detected type holds what was seen, and files that disagree are named."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.rejects import text_of
from etl_runner.formats.base import FormatOptions, Limits, Sample
from etl_runner.formats.detect import Seen, merge, natural, texts_seen
from etl_runner.planning.plan import PlannedColumn
from tests.unit.formats.files import sample


def kind_of(*values: str | None) -> str:
    return natural("c", texts_seen(pa.array(values, pa.string())))[0].type


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-5", "0"], "INT64"),
        (["9223372036854775807", "-9223372036854775808"], "INT64"),
        (["9223372036854775808"], "NUMERIC"),
        (["1" * 30], "BIGNUMERIC"),
        (["1" * 39], "STRING"),
        (["00123"], "STRING"),
        (["+5"], "STRING"),
        (["-0"], "STRING"),
        (["1 "], "STRING"),
        (["1,000"], "STRING"),
        (["0x1F"], "STRING"),
        (["1_000"], "STRING"),
        (["1.10", "2"], "NUMERIC"),
        (["01.10"], "STRING"),
        ([".5"], "STRING"),
        (["0.1234567891"], "BIGNUMERIC"),
        (["1e5", "2.5E-3"], "FLOAT64"),
        (["1e5", "17"], "FLOAT64"),
        (["1e5", "12345678901234567"], "STRING"),
        (["NaN"], "STRING"),
        (["true", "FALSE"], "BOOL"),
        (["yes"], "STRING"),
        (["t"], "STRING"),
        (["true", "1"], "STRING"),
        (["2020-02-29", "0001-01-01"], "DATE"),
        (["2021-02-29"], "STRING"),
        (["0000-01-01"], "STRING"),
        (["01/02/2020"], "STRING"),
        (["2020-1-2"], "STRING"),
        (["2020-01-02 03:04:05.123456", "2020-01-02T03:04:05"], "DATETIME"),
        (["2020-01-02 03:04:05.1234567"], "STRING"),
        (["2020-01-02", "2020-01-02 03:04:05"], "DATETIME"),
        (["2020-01-02T03:04:05Z", "2020-01-02 03:04:05+02:00"], "TIMESTAMP"),
        (["2020-01-02T03:04:05Z", "2020-01-02 03:04:05"], "STRING"),
        (["23:59:59", "00:00:00.5"], "TIME"),
        (["24:00:00"], "STRING"),
        (["2020"], "INT64"),
        ([None, "1"], "INT64"),
        ([None], "STRING"),
        ([], "STRING"),
        (["x", "1"], "STRING"),
    ],
)  # fmt: skip
def test_the_type_loses_nothing(values: list[str | None], kind: str) -> None:
    assert kind_of(*values) == kind


TOKENS = st.one_of(
    st.text("0123456789.-+eE:T Z/truefals", max_size=20),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.datetimes().map(str),
    st.dates().map(str),
    st.times().map(str),
    st.booleans().map(str),
)


@given(st.lists(TOKENS, min_size=1, max_size=4))
@example(["1.5", "1e3"])
def test_what_was_seen_converts_to_what_was_chosen(values: list[str]) -> None:
    """No value of a complete sample is rejected, and whole numbers and days keep their very text."""
    chosen, _ = natural("c", texts_seen(pa.array(values)))
    converter = Converter([PlannedColumn("c", "text", chosen)], unit="u")
    result = converter.convert(pa.record_batch({"c": pa.array(values)}))
    assert result.rejects == ()
    if chosen.type in ("INT64", "DATE", "STRING"):
        assert [text_of(value) for value in result.batch.column(0).to_pylist()] == values


def csv_sample(name: str, content: str) -> Sample:
    return sample("csv", content.encode(), name=name)


def test_files_that_agree_or_widen_are_no_conflict() -> None:
    found = merge(
        [csv_sample("a.csv", "n,d\n1,2020-01-01\n"), csv_sample("b.csv", "n,d\n1.5,2020-01-01 10:00:00\n")]
    )
    assert [(c.name, c.natural.type) for c in found.columns] == [("n", "NUMERIC"), ("d", "DATETIME")]
    assert found.conflicts == ()
    assert found.complete


def test_a_conflict_names_the_files() -> None:
    found = merge(
        [csv_sample("a.csv", "x\n1\n"), csv_sample("b.csv", "x\nyes\n"), csv_sample("c.csv", "x\n2\n")]
    )
    assert found.columns[0].natural.type == "STRING"
    assert found.conflicts == ("column 'x' is INT64 in a.csv, c.csv, STRING in b.csv: STRING holds them all",)


def test_columns_that_some_files_lack_are_noted_in_the_order_of_appearance() -> None:
    found = merge([csv_sample("a.csv", "x\n1\n"), csv_sample("b.csv", "y,x\n2,1\n"), csv_sample("c.csv", "")])
    assert [column.name for column in found.columns] == ["x", "y"]
    assert found.notes == ("column 'y' is not in a.csv",)


def test_a_column_without_values_takes_the_other_files_type() -> None:
    found = merge([csv_sample("a.csv", "x,y\n,1\n"), csv_sample("b.csv", "x,y\n5,1\n")])
    assert found.columns[0].natural.type == "INT64"
    assert found.conflicts == ()


def test_declared_types_merge_like_seen_ones() -> None:
    def file(name: str, kind: pa.DataType) -> Sample:
        out = io.BytesIO()
        pq.write_table(pa.table({"x": pa.array([], kind)}), out)
        return sample("parquet", out.getvalue(), name=name)

    def merged(*kinds: pa.DataType) -> tuple[str, int]:
        found = merge([file(f"{i}.parquet", kind) for i, kind in enumerate(kinds)])
        return found.columns[0].natural.type, len(found.conflicts)

    assert merged(pa.int32(), pa.int64()) == ("INT64", 0)
    assert merged(pa.int64(), pa.float64()) == ("FLOAT64", 0)
    assert merged(pa.int64(), pa.decimal128(10, 2)) == ("NUMERIC", 0)
    assert merged(pa.decimal128(10, 2), pa.decimal128(38, 20)) == ("BIGNUMERIC", 0)
    assert merged(pa.string(), pa.int64()) == ("STRING", 1)
    assert merged(pa.timestamp("us"), pa.timestamp("us", "UTC")) == ("STRING", 1)
    assert merged(pa.struct([("a", pa.int64())]), pa.struct([("b", pa.string())])) == ("STRUCT", 1)


def test_a_sample_can_be_widened() -> None:
    data = ("x\n" + "1\n" * 50 + "00123\n").encode()
    small = Limits(rows=10)
    first = sample("csv", data, limits=small)
    assert (first.rows, first.complete, merge([first]).columns[0].natural.type) == (10, False, "INT64")
    second = sample("csv", data, limits=small.widen())
    assert (second.rows, second.complete, merge([second]).columns[0].natural.type) == (51, True, "STRING")
    lines = b'{"a": 1}\n' * 20
    assert not sample("jsonl", lines, limits=small).complete
    assert not sample("json", lines, limits=small).complete
    assert not sample("json", lines, limits=Limits(bytes=30)).complete
    assert not sample("jsonl", lines, FormatOptions(), Limits(rows=5)).complete
    assert sample("json", lines).complete


def test_adding_what_was_seen_has_a_neutral_element() -> None:
    seen = texts_seen(pa.array(["1", None, "x"]))
    assert Seen() + seen == seen == seen + Seen()
