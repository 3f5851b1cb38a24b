"""Watermarks: what a run takes from the one before it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from etl_runner.sources.cursors import Cursor
from etl_runner.sources.postgres.watermark import horizon_of, left_by
from etl_runner.sources.postgres.window import Watermark

INSTANT = Cursor('t."at"', "timestamptz", "timestamptz")
HIGH = datetime(2024, 5, 6, 12, 0, 0, 1, tzinfo=UTC)
FULL: dict[str, Any] = {
    "value": "2024-05-06 12:00:00.000001+00",
    "settled": "2024-05-06 10:30:00.000002+00",
    "xid_horizon": "700",
    "late": "1h",
    "identity": "1/2/three",
}


def test_settled_is_read_in_full_precision() -> None:
    settled = datetime(2024, 5, 6, 10, 30, 0, 2, tzinfo=UTC)
    assert left_by(FULL, INSTANT, HIGH) == Watermark(HIGH, settled, 700)


@pytest.mark.parametrize(
    ("cursor", "late", "high", "settled"),
    [
        (INSTANT, "90m", HIGH, HIGH - timedelta(minutes=90)),
        (INSTANT, None, HIGH, HIGH),
        (Cursor("t.d", "date", "date"), "25h", date(2024, 5, 6), date(2024, 5, 4)),
        (Cursor("t.k", "key", "int8"), "8", Decimal(50), Decimal(42)),
    ],
)
def test_an_older_watermark_has_its_late_window_instead(
    cursor: Cursor, late: str | None, high: Any, settled: Any
) -> None:
    before = {"value": cursor.text(high), "xid_horizon": "700", "late": late}
    assert left_by(before, cursor, high) == Watermark(high, settled, 700)


def test_behind_a_starting_point_of_others_nothing_is_looked_for() -> None:
    assert left_by({}, INSTANT, None) is None
    assert left_by({}, INSTANT, HIGH) == Watermark(HIGH, HIGH, None)
    assert left_by({"value": FULL["value"]}, INSTANT, HIGH) == Watermark(HIGH, HIGH, None)
    assert horizon_of({"value": "5"}) is None
