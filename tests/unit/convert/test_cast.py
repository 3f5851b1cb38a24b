from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from etl_runner.convert.arrow_schema import arrow_schema
from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.convert.rejects import Reject
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlannedColumn


def column(name: str, kind: str, source_type: str = "text", **parts: object) -> PlannedColumn:
    return PlannedColumn(name, source_type, BqField(name, kind, **parts))  # type: ignore[arg-type]


def test_rows_are_numbered_through_the_unit() -> None:
    converter = Converter([column("n", "INT64")], unit="u00003")
    rejects: list[Reject] = []
    for values in (["1", "x"], [], ["3", "4"], ["y"]):
        batch = pa.record_batch({"n": pa.array(values, pa.string())})
        rejects += converter.convert(batch).rejects
    assert [(r.unit, r.row, r.value) for r in rejects] == [("u00003", 2, "x"), ("u00003", 5, "y")]
    assert converter.read == 5


def test_null_in_a_required_column_is_rejected() -> None:
    converter = Converter([column("n", "INT64", mode="REQUIRED"), column("t", "STRING")], unit="u")
    converted = converter.convert(pa.record_batch({"n": pa.array([1, None]), "t": ["a", "b"]}))
    assert converted.batch.to_pylist() == [{"n": 1, "t": "a"}]
    (reject,) = converted.rejects
    assert (reject.reason, reject.value, reject.record) == (
        "is NULL and the column is REQUIRED",
        None,
        '{"n":null,"t":"b"}',
    )
    assert converted.batch.schema.field("n").nullable is False


def test_the_first_column_that_does_not_fit_is_named() -> None:
    converter = Converter([column("a", "INT64"), column("b", "DATE")], unit="u")
    converted = converter.convert(pa.record_batch({"b": ["2020-13-01", "x"], "a": ["1", "one"]}))
    assert [(r.row, r.column, r.value) for r in converted.rejects] == [
        (1, "b", "2020-13-01"),
        (2, "a", "one"),
    ]


def test_values_that_no_type_holds_come_beside_the_row() -> None:
    converter = Converter([column("d", "DATE"), column("tags", "STRING", mode="REPEATED")], unit="u")
    batch = pa.record_batch(
        {
            "d": pa.array([dt.date(2020, 1, 1), None, None, None]),
            "tags": pa.array([["a"], ["b"], None, ["d"]]),
            "__etl_raw": pa.array([None, '{"d":"infinity"}', '{"tags":"{x,NULL}"}', '{"d":null}']),
        }
    )
    converted = converter.convert(batch)
    assert converted.batch.to_pylist() == [
        {"d": dt.date(2020, 1, 1), "tags": ["a"]},
        {"d": None, "tags": ["d"]},
    ]
    assert [(r.row, r.column, r.reason, r.value) for r in converted.rejects] == [
        (2, "d", "is a value that BigQuery's DATE cannot hold", "infinity"),
        (
            3,
            "tags",
            "is an array that BigQuery's array of STRING cannot hold (one dimension, no NULL in it, "
            "values of the type); a destination column of type JSON takes any",
            "{x,NULL}",
        ),
    ]
    assert converted.rejects[0].record == '{"d":"infinity","tags":["b"]}'


def test_columns_go_by_name_and_further_ones_are_left_out() -> None:
    converter = Converter([column("b", "STRING"), column("a", "INT64")], unit="u")
    converted = converter.convert(pa.record_batch({"a": [1], "z": [2], "b": ["x"]}))
    assert converted.batch.to_pydict() == {"b": ["x"], "a": [1]}
    assert converted.batch.schema.names == ["b", "a"]


def test_a_missing_column_is_named() -> None:
    converter = Converter([PlannedColumn("Price €", "text", BqField("price", "NUMERIC"))], unit="u")
    with pytest.raises(PermanentError, match=r"no column 'price' \(source column 'Price €'\)"):
        converter.convert(pa.record_batch({"other": [1]}))


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (pa.list_(pa.int64()), BqField("c", "INT64")),
        (pa.int64(), BqField("c", "INT64", "REPEATED")),
        (pa.int64(), BqField("c", "STRUCT", fields=(BqField("a", "INT64"),))),
        (pa.int64(), BqField("c", "TIMESTAMP")),
        (pa.date32(), BqField("c", "INT64")),
        (pa.binary(), BqField("c", "NUMERIC")),
        (pa.time64("us"), BqField("c", "DATE")),
    ],
)
def test_casts_that_do_not_exist_are_refused_by_name(source: pa.DataType, field: BqField) -> None:
    converter = Converter([PlannedColumn("c", "?", field)], unit="u")
    with pytest.raises(PermanentError, match=r"column 'c' arrives as .* and cannot become"):
        converter.convert(pa.record_batch({"c": pa.array([], source)}))


def test_wrapped_layouts_are_unwrapped() -> None:
    for array in (
        pa.array(["1.50", "2"]).dictionary_encode(),
        pa.array(["1.50", "2"], pa.large_string()),
        pa.array(["1.50", "2"], pa.string_view()),
        pa.ExtensionArray.from_storage(
            pa.opaque(pa.string(), "numeric", "PostgreSQL"), pa.array(["1.50", "2"], pa.string())
        ),
    ):
        converter = Converter([column("n", "NUMERIC", precision=5, scale=2)], unit="u")
        converted = converter.convert(pa.record_batch({"n": array}))
        assert [str(value) for value in converted.batch.column(0).to_pylist()] == ["1.50", "2.00"]


def test_nested_values_become_json_text() -> None:
    kind = pa.list_(pa.struct({"price": pa.decimal128(10, 2), "name": pa.string(), "at": pa.date32()}))
    values = [[{"price": "1.10", "name": 'ä"', "at": None}], None, []]
    items = [
        None
        if value is None
        else [
            {**item, "price": pa.scalar(item["price"]).cast(pa.decimal128(10, 2)).as_py()} for item in value
        ]
        for value in values
    ]
    converter = Converter([column("j", "STRING")], unit="u")
    converted = converter.convert(pa.record_batch({"j": pa.array(items, kind)}))
    assert converted.batch.column(0).to_pylist() == ['[{"price":1.10,"name":"ä\\"","at":null}]', None, "[]"]


def test_json_text_holds_no_nan() -> None:
    converter = Converter([column("j", "JSON")], unit="u")
    batch = pa.record_batch({"j": pa.array([[1.5], [float("nan")]], pa.list_(pa.float64()))})
    converted = converter.convert(batch)
    assert converted.batch.column(0).to_pylist() == ["[1.5]"]
    assert converted.rejects[0].reason == "cannot be written as JSON"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((14, -3, 3_723_004_000_000), "1-2 -3 1:2:3.004000"),
        ((-14, 0, -1_000_000_000), "-1-2 0 -0:0:1"),
        ((0, 0, 0), "0-0 0 0:0:0"),
    ],
)
def test_intervals_are_spelt_as_bigquery_spells_them(parts: tuple[int, int, int], text: str) -> None:
    array = pa.array([parts, None], pa.month_day_nano_interval())
    converted = Converter([column("i", "INTERVAL")], unit="u").convert(pa.record_batch({"i": array}))
    assert converted.batch.column(0).to_pylist() == [text, None]


def test_an_interval_finer_than_a_microsecond_is_rejected() -> None:
    array = pa.array([(0, 0, 1)], pa.month_day_nano_interval())
    converted = Converter([column("i", "INTERVAL")], unit="u").convert(pa.record_batch({"i": array}))
    assert converted.rejects[0].reason == "is an interval finer than a microsecond"


def test_a_reject_goes_round_trip() -> None:
    reject = Reject("u00001", 7, "näme", "is not a date", "\N{GRINNING FACE}\n", '{"a":null}')
    line = reject.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert Reject.from_line(line) == reject


def test_an_unknown_metadata_column_is_refused() -> None:
    with pytest.raises(PermanentError, match="_etl_nonsense"):
        Converter([], unit="u", metadata=["_etl_nonsense"])


def test_the_schema_is_known_before_the_first_batch() -> None:
    fields = [
        BqField("a", "INT64", "REQUIRED"),
        BqField("n", "NUMERIC"),
        BqField("p", "NUMERIC", precision=7),
        BqField("w", "BIGNUMERIC"),
        BqField("s", "BIGNUMERIC", precision=40, scale=2),
        BqField("t", "BIGNUMERIC", precision=20, scale=2),
        BqField("r", "DATE", "REPEATED"),
        BqField("o", "STRUCT", fields=(BqField("x", "TIME"), BqField("y", "DATETIME", "REQUIRED"))),
        BqField("g", "GEOGRAPHY"),
        BqField("z", "TIMESTAMP"),
    ]
    assert arrow_schema(fields) == pa.schema(
        [
            pa.field("a", pa.int64(), nullable=False),
            pa.field("n", pa.decimal128(38, 9)),
            pa.field("p", pa.decimal128(7, 0)),
            pa.field("w", pa.decimal256(76, 38)),
            pa.field("s", pa.decimal256(40, 2)),
            pa.field("t", pa.decimal128(20, 2)),
            pa.field("r", pa.list_(pa.field("element", pa.date32(), nullable=False)), nullable=False),
            pa.field(
                "o",
                pa.struct(
                    [pa.field("x", pa.time64("us")), pa.field("y", pa.timestamp("us", "UTC"), nullable=False)]
                ),
            ),
            pa.field("g", pa.string()),
            pa.field("z", pa.timestamp("us", "UTC")),
        ]
    )
    converter = Converter(
        [PlannedColumn(f.name, "?", f) for f in fields], unit="u", metadata=["_etl_run_id"], run_id="r"
    )
    assert converter.schema == arrow_schema([*fields, BqField("_etl_run_id", "STRING")])


def test_a_type_that_bigquery_does_not_have_is_refused() -> None:
    with pytest.raises(PermanentError, match="'c' has the type MONEY"):
        arrow_schema([BqField("c", "MONEY")])


def test_a_struct_lacking_a_required_field_is_refused_at_once_and_null_in_it_by_row() -> None:
    target = BqField("c", "STRUCT", fields=(BqField("a", "INT64", "REQUIRED"),))
    converter = Converter([PlannedColumn("c", "?", target)], unit="u")
    batch = pa.record_batch({"c": pa.array([{"a": 1}, {"a": None}, None], pa.struct({"a": pa.int64()}))})
    converted = converter.convert(batch)
    assert converted.batch.column(0).to_pylist() == [{"a": 1}, None]
    assert converted.rejects[0].reason == "has NULL in its required field 'a'"
    with pytest.raises(PermanentError, match="'c' lacks its required field 'a'"):
        Converter([PlannedColumn("c", "?", target)], unit="u").convert(
            pa.record_batch({"c": pa.array([{}], pa.struct([]))})
        )


def test_a_field_that_only_the_source_has_is_not_lost_without_a_word() -> None:
    target = BqField("c", "STRUCT", fields=(BqField("a", "INT64"),))
    batch = pa.record_batch({"c": pa.array([{"a": 1, "b": 2}])})
    with pytest.raises(PermanentError, match="'c' has a field 'b' that the destination's RECORD lacks"):
        Converter([PlannedColumn("c", "?", target)], unit="u").convert(batch)


def test_text_is_json_only_when_it_parses() -> None:
    texts = [
        '{"a": 1.10}',
        "[1, 2]",
        "7",
        "9" * 5_000,
        "{a: 1}",
        "NaN",
        "[Infinity]",
        "",
        "[" * 100_000,
        None,
    ]
    converter = Converter([column("j", "JSON", "character varying(100)")], unit="u", json_numbers="string")
    converted = converter.convert(pa.record_batch({"j": pa.array(texts, pa.string())}))
    assert converted.batch.column(0).to_pylist() == [*texts[:3], f'"{texts[3]}"', None]
    assert {reject.reason for reject in converted.rejects} == {"is not JSON"}
