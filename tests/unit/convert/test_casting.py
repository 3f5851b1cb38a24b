"""What a plan's units share: made once, right for each schema that a source sends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from etl_runner.convert import casting as module
from etl_runner.convert.cast import Converter
from etl_runner.convert.casting import Casting
from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlannedColumn

COLUMNS = [PlannedColumn("n", "?", BqField("n", "INT64")), PlannedColumn("t", "?", BqField("t", "STRING"))]
ROWS: dict[str, list[Any]] = {"n": [1, 2], "t": ["a", None]}


def batch(kind: pa.DataType, *, turned: bool = False) -> pa.RecordBatch:
    numbers = [str(n) for n in ROWS["n"]] if pa.types.is_string(kind) else ROWS["n"]
    arrays = {"n": pa.array(numbers, kind), "t": pa.array(ROWS["t"], pa.string())}
    return pa.record_batch(dict(reversed(arrays.items())) if turned else arrays)


KINDS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.string()]
BATCHES = [batch(kind, turned=turned) for kind in KINDS for turned in (False, True)]


def test_units_of_one_plan_do_not_make_their_casters_again() -> None:
    shared = Casting(COLUMNS)
    made = shared.casters(batch(pa.int32()).schema)
    for number in range(3):
        converter = Converter.sharing(shared, f"u{number}")
        assert converter.convert(batch(pa.int32())).batch.to_pydict() == ROWS
        assert converter.read == 2
    # Another batch's schema is another object of the same kind.
    assert shared.casters(batch(pa.int32()).schema) is made


def test_each_schema_has_its_own_casters_however_many_there_are() -> None:
    shared = Casting(COLUMNS)
    assert len(BATCHES) > module._KEPT
    for each in (*BATCHES, *BATCHES[::-1]):
        converted = Converter.sharing(shared, "u").convert(each).batch
        assert converted.schema == shared.schema
        assert converted.to_pydict() == ROWS


def test_threads_may_share_them() -> None:
    shared = Casting(COLUMNS)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda each: Converter.sharing(shared, "u").convert(each).batch, BATCHES * 8)
        assert all(each.to_pydict() == ROWS for each in found)


def test_a_schema_that_lacks_a_column_is_refused_every_time() -> None:
    shared = Casting(COLUMNS)
    for _ in range(2):
        with pytest.raises(PermanentError, match="returned no column 't'"):
            shared.casters(pa.schema([pa.field("n", pa.int64())]))
    assert shared.casters(BATCHES[0].schema)
