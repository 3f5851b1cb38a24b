"""Parquet files written by Arrow's own writer come back with the same values, a row group at a time."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import random
import uuid
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.formats import format_named
from etl_runner.formats.base import BATCH_BYTES, FormatOptions, Part
from etl_runner.formats.detect import merge
from etl_runner.planning.plan import PlannedColumn
from tests.unit.formats.files import opened, read, sample


def written(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def columns_of(data: bytes) -> list[PlannedColumn]:
    return [PlannedColumn(c.name, c.type, c.natural) for c in merge([sample("parquet", data)]).columns]


# Numbers of more digits than the default context keeps are not to be rounded.
EXACT = Context(prec=38)
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))
TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any], str, str]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1), "INT64", "NULLABLE"),
    (pa.uint64(), st.integers(0, 2**64 - 1), "NUMERIC", "NULLABLE"),
    (pa.int8(), st.integers(-128, 127), "INT64", "NULLABLE"),
    (pa.float64(), st.floats(allow_nan=False), "FLOAT64", "NULLABLE"),
    (pa.bool_(), st.booleans(), "BOOL", "NULLABLE"),
    (pa.string(), st.text(st.characters(codec="utf-8"), max_size=8), "STRING", "NULLABLE"),
    (pa.large_string(), st.text(st.characters(codec="utf-8"), max_size=8), "STRING", "NULLABLE"),
    (pa.binary(), st.binary(max_size=8), "BYTES", "NULLABLE"),
    (pa.decimal128(38, 9), st.integers(-(10**38) + 1, 10**38 - 1).map(lambda i: Decimal(i).scaleb(-9, EXACT)),
     "NUMERIC", "NULLABLE"),
    (pa.decimal256(76, 38), st.integers(-(10**20), 10**20).map(lambda i: Decimal(i).scaleb(-38)),
     "BIGNUMERIC", "NULLABLE"),
    (pa.date32(), st.dates(), "DATE", "NULLABLE"),
    (pa.time64("us"), st.times(), "TIME", "NULLABLE"),
    (pa.timestamp("us", "UTC"), MOMENTS.map(lambda m: m.replace(tzinfo=dt.UTC)), "TIMESTAMP", "NULLABLE"),
    (pa.list_(pa.int32()), st.lists(st.integers(-5, 5), max_size=3), "INT64", "REPEATED"),
    (pa.struct([("x", pa.int64()), ("y", pa.list_(pa.string()))]),
     st.fixed_dictionaries({"x": st.integers(0, 9), "y": st.lists(st.text("ab", max_size=2), max_size=2)}),
     "STRUCT", "NULLABLE"),
]  # fmt: skip


@given(st.data())
def test_values_of_every_type_arrive_as_written(data: st.DataObject) -> None:
    kind, values, target, mode = data.draw(st.sampled_from(TYPES))
    column = data.draw(st.lists(st.none() | values, max_size=12))
    file = written(pa.table({"c": pa.array(column, kind)}), row_group_size=data.draw(st.integers(1, 5)))
    (planned,) = columns_of(file)
    assert (planned.destination.type, planned.destination.mode) == (target, mode)
    converter = Converter([planned], unit="u")
    found: list[Any] = []
    rejects: list[Any] = []
    for block in format_named("parquet").read(opened(file), FormatOptions(), [planned]):
        result = converter.convert(block.batch)
        found += result.batch.column(0).to_pylist()
        rejects += result.rejects
    assert rejects == []
    empty: list[Any] = []
    assert found == [empty if value is None and mode == "REPEATED" else value for value in column]


def test_what_bigquery_has_not_is_converted_or_rejected() -> None:
    table = pa.table(
        {
            "u": pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
            "ns": pa.array([1_000, 1_001], pa.timestamp("ns", "UTC")),
            "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "ll": pa.array([[[1], []], None], pa.list_(pa.list_(pa.int64()))),
        }
    )
    columns = columns_of(written(table))
    assert [c.destination.type for c in columns] == ["STRING", "TIMESTAMP", "JSON", "JSON"]
    converter = Converter(columns, unit="u")
    (block,) = format_named("parquet").read(opened(written(table)), FormatOptions(), columns)
    result = converter.convert(block.batch)
    (row,) = result.batch.to_pylist()
    assert row["u"] == str(uuid.UUID(int=1))
    assert row["ns"] == dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)
    assert row["ll"] == "[[1],[]]"
    assert [(one.row, one.column) for one in result.rejects] == [(2, "ns")]


def test_only_planned_columns_are_read_and_renamed() -> None:
    table = pa.table({"a": [1, 2], "a.b": [3, 4], "c": [{"x": 1, "y": 2}] * 2, "d": ["p", "q"]})
    columns = [
        PlannedColumn("d", "string", BqField("D", "STRING")),
        PlannedColumn("a.b", "int64", BqField("a_b", "INT64")),
        PlannedColumn("a", "int64", BqField("a", "INT64")),
    ]
    rows, _ = read("parquet", written(table), columns)
    assert rows == [{"D": "p", "a_b": 3, "a": 1}, {"D": "q", "a_b": 4, "a": 2}]


def test_repeated_names_are_told_apart() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "b", "a"])
    columns = columns_of(written(table))
    assert [column.source for column in columns] == ["a", "b", "a_2"]
    assert read("parquet", written(table), columns)[0] == [{"a": 1, "b": 2, "a_2": 3}]


def test_a_missing_column_is_an_error_unless_allowed() -> None:
    data = written(pa.table({"a": [1]}))
    columns = [PlannedColumn("z", "string", BqField("z", "INT64", mode="REPEATED"))]
    with pytest.raises(PermanentError, match="lacks the column 'z'; it has: a"):
        read("parquet", data, columns)
    assert read("parquet", data, columns, FormatOptions(missing_columns="null"))[0] == [{"z": None}]


def test_parts_share_the_row_groups() -> None:
    data = written(pa.table({"a": list(range(1_000))}), row_group_size=70)
    columns = columns_of(data)
    for cuts in ([0, len(data)], [0, 10, 500, 2_000, len(data)], [*range(0, len(data), 97), len(data)]):
        found = []
        for start, end in pairwise(cuts):
            rows, _ = read("parquet", data, columns, part=Part(start, end))
            found += [row["a"] for row in rows]
        assert found == list(range(1_000))


def test_batches_are_bounded() -> None:
    noise = random.Random(1).randbytes(4_000_000).hex()
    table = pa.table({"t": [noise[i * 4_000 : (i + 1) * 4_000] for i in range(2_000)] * 6})
    data = written(table, row_group_size=12_000)
    sizes = [
        block.batch.nbytes
        for block in format_named("parquet").read(opened(data), FormatOptions(), columns_of(data))
    ]
    assert len(sizes) > 1
    assert max(sizes) <= BATCH_BYTES


def test_every_truncation_is_one_error() -> None:
    data = written(pa.table({"a": list(range(100))}))
    columns = columns_of(data)
    for size in range(len(data)):
        with pytest.raises(
            PermanentError, match=r"file 'x.dat' is (empty|truncated|not a Parquet file|damaged)"
        ):
            read("parquet", data[:size], columns)


def test_a_damaged_file_is_one_error() -> None:
    data = bytearray(written(pa.table({"a": list(range(10_000))}), write_page_checksum=True))
    columns = columns_of(bytes(data))
    for place in range(100, 400):
        data[place] ^= 0x55
    with pytest.raises(PermanentError, match="is damaged: row group 0 cannot be read"):
        read("parquet", bytes(data), columns)


def test_other_files_are_refused_with_what_they_are() -> None:
    whole = written(pa.table({"a": [1]}))
    with pytest.raises(PermanentError, match="is a gzip file: Parquet is compressed inside"):
        read("parquet", gzip.compress(whole), [])
    with pytest.raises(PermanentError, match="is not a Parquet file"):
        sample("parquet", b"a,b\n1,2\n3,4\n5,6\n")
    with pytest.raises(PermanentError, match="has column 'd' of type duration"):
        sample("parquet", written(pa.table({"d": pa.array([1], pa.duration("us"))})))


def test_ten_thousand_columns() -> None:
    data = written(pa.table({f"c{i}": [i] for i in range(10_000)}))
    columns = columns_of(data)
    assert read("parquet", data, [columns[0], columns[-1]])[0] == [{"c0": 0, "c9999": 9_999}]


def test_a_file_without_rows_has_columns() -> None:
    data = written(pa.table({"a": pa.array([], pa.int64())}))
    assert [c.destination for c in columns_of(data)] == [BqField("a", "INT64")]
    assert read("parquet", data, columns_of(data)) == ([], [])
