"""A rejected row is kept as text and gives the same values of the same types again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.recorded import RAW, recorded, restore, type_name, type_of
from tests.unit.convert.test_cast import column

SCALARS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text()),
    (pa.binary(), st.binary()),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.decimal128(20, 5), st.integers(-(10**20) + 1, 10**20 - 1).map(lambda n: Decimal(n).scaleb(-5))),
    (pa.decimal256(60, 0), st.integers(-(10**60) + 1, 10**60 - 1).map(Decimal)),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.timestamp("us", tz="UTC"), st.datetimes()),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas()),
]


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    kind, values = draw(st.sampled_from(SCALARS))
    nullable = st.none() | values
    shape = draw(st.sampled_from(["scalar", "list", "struct", "map"]))
    if shape == "list":
        kind, nullable = pa.list_(kind), st.none() | st.lists(nullable, max_size=3)
    elif shape == "struct":
        kind = pa.struct([("a", kind), ("b", pa.list_(kind))])
        nullable = st.none() | st.fixed_dictionaries({"a": nullable, "b": st.lists(nullable, max_size=2)})
    elif shape == "map":
        kind = pa.map_(pa.string(), kind)
        nullable = st.none() | st.lists(st.tuples(st.text(max_size=3), nullable), max_size=3)
    return pa.array(draw(st.lists(nullable, max_size=5)), kind)


@given(columns())
def test_values_come_back_as_they_were(array: pa.Array) -> None:
    kept = []
    for row in range(len(array)):
        value, named = recorded(array[row])
        kept.append(json.loads(json.dumps(value)))
        assert type_of(json.loads(json.dumps(named))) == array.type
    assert restore(kept, array.type).equals(array)


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("ns", tz="+02:00"),
        pa.time32("s"),
        pa.duration("ms"),
        pa.null(),
        pa.float16(),
        pa.date64(),
    ],
)
def test_types_come_back_by_name(kind: pa.DataType) -> None:
    assert type_of(type_name(kind)) == kind


@pytest.mark.parametrize("word", ["nonsense", "timestamp[parsec]", "time128[us]"])
def test_a_type_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        type_of(word)


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        ("12x", pa.int64()),
        ("yes", pa.bool_()),
        ("###", pa.binary()),
        (["1"], pa.int64()),
        ("1", pa.list_(pa.int64())),
        ("2026-02-30", pa.date32()),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(kept: Any, kind: pa.DataType) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        restore([kept], kind)


def test_a_reject_keeps_the_whole_row_with_its_types() -> None:
    batch = pa.record_batch(
        {
            "id": pa.array([7], pa.int64()),
            "u": pa.array([b"\0" * 15 + b"\1"], pa.binary(16)),
            "tags": pa.array([["a", None]], pa.list_(pa.string())),
            "text": pa.Array.from_buffers(
                pa.string(), 1, [None, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff!")]
            ),
            "day": pa.array([None], pa.date32()),
            "__etl_raw": pa.array(['{"day": "infinity"}']),
        }
    )
    wanted = [
        column("id", "INT64"),
        column("u", "STRING", source_type="uuid"),
        column("tags", "STRING", mode="REPEATED"),
        column("text", "STRING"),
        column("day", "DATE"),
    ]
    (reject,) = Converter(wanted, unit="u").convert(batch).rejects
    assert json.loads(reject.record) == {
        "id": "7",
        "u": "00000000-0000-0000-0000-000000000001",
        "tags": ["a", None],
        "text": "/yE=",
        "day": "infinity",
    }
    assert json.loads(reject.types or "") == {
        "id": "int64",
        "u": "string",
        "tags": {"list": "string"},
        "text": "binary",
        "day": RAW,
    }
