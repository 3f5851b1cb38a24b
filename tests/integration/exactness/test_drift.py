"""A table whose columns change at the source, run by run; new columns are in test_types_end_to_end.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from etl_runner.errors import PermanentError
from tests.integration.exactness.lab import Lab

pytestmark = pytest.mark.stack


def test_columns_that_go_or_change_their_types(lab: Lab) -> None:
    lab.database.execute(
        "CREATE TABLE orders (id int, version int, n int, gone text, price numeric(5,2));"
        " INSERT INTO orders VALUES (1, 1, 7, 'x', 1.25)"
    )
    document: dict[str, Any] = {
        "source_table_name": "orders",
        "load_type": "catalog",
        "metadata_columns": False,
    }
    lab.put(**document, schema_drift="fail")
    lab.step_by_step("first")
    schema = lab.bigquery.get_table(lab.path).schema

    # A column that is gone is NULL; a wider type arrives as far as the destination's type holds its values.
    lab.database.execute(
        "ALTER TABLE orders DROP COLUMN gone, ALTER n TYPE bigint, ALTER price TYPE numeric(30,9);"
        " INSERT INTO orders VALUES (2, 1, 9223372036854775807, 12345678901234567890.123456789)"
    )
    lab.step_by_step("wider")
    columns = "id, n, gone, price"
    wanted = [(1, 7, None, Decimal("1.25")), (2, 2**63 - 1, None, Decimal("12345678901234567890.123456789"))]
    assert lab.loaded(columns) == wanted

    # A value beyond it is named, or rejected; the destination's type stands.
    lab.database.execute(
        "ALTER TABLE orders ALTER n TYPE numeric; INSERT INTO orders VALUES (3, 1, 1.5, 1), (4, 1, 8, 1)"
    )
    key, _ = lab.open_and_plan("beyond")
    with pytest.raises(PermanentError, match="row 3: column 'n' is a value that BigQuery's INT64 cannot"):
        lab.extract(key)
    assert lab.finalize(key).outcome == "failed"
    assert lab.loaded(columns) == wanted
    lab.put(**document, schema_drift="fail", on_bad_row="reject")
    done = lab.step_by_step("rejected")
    assert done.receipt is not None
    assert (done.receipt["rows_loaded"], done.receipt["rejects"]) == (3, 1)

    # Another kind of value is refused when planned.
    lab.database.execute("ALTER TABLE orders ALTER n TYPE date USING '2026-01-01'")
    with pytest.raises(PermanentError, match=r"column n .*date.*INT64"):
        lab.open_and_plan("another")
    assert lab.bigquery.get_table(lab.path).schema == schema
    assert lab.loaded("id, n") == [(1, 7), (2, 2**63 - 1), (4, 8)]
