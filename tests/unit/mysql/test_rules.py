"""Quoting, types, the window's end, and what errors say."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.fields import BqField
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.mysql.cursors import MyCursor
from etl_runner.sources.mysql.diagnose import server_error
from etl_runner.sources.mysql.incremental import end_of_window
from etl_runner.sources.mysql.instant import Instant
from etl_runner.sources.mysql.quoting import identifier, literal
from etl_runner.sources.mysql.types import Incompatible, MyType, natural, select
from etl_runner.sources.network import Where

_T0 = dt.datetime(2024, 5, 17, 12, 0, 0)


@given(st.text(min_size=1))
def test_a_literal_has_no_character_that_means_anything(text: str) -> None:
    spelled = literal(text)
    inner = spelled.removeprefix("_utf8mb4 X").strip("'")
    assert not set(inner) & set("'\"\\`%\0\n")
    if spelled.startswith("_utf8mb4"):
        assert bytes.fromhex(inner).decode() == text
    else:
        assert inner == text


def test_identifiers() -> None:
    assert identifier("a`b\\") == "`a``b\\`"
    for name in ("", "a\0"):
        with pytest.raises(ValueError, match="identifier"):
            identifier(name)


@pytest.mark.parametrize(
    ("precision", "scale", "expected"),
    [
        (38, 9, "NUMERIC"),
        (29, 0, "NUMERIC"),
        (30, 0, "BIGNUMERIC"),
        (10, 10, "BIGNUMERIC"),
        (65, 30, "BIGNUMERIC"),
        (38, 0, "BIGNUMERIC"),
        (39, 0, "STRING"),
        (65, 20, "STRING"),
    ],
)
def test_decimals_go_where_all_their_digits_fit(precision: int, scale: int, expected: str) -> None:
    field, _ = natural(MyType("decimal", precision=precision, scale=scale))
    assert field.type == expected


@pytest.mark.parametrize(
    ("type_", "target"),
    [
        (MyType("datetime"), "TIMESTAMP"),
        (MyType("timestamp"), "DATETIME"),
        (MyType("bigint"), "FLOAT64"),
        (MyType("decimal", precision=10, scale=2), "FLOAT64"),
        (MyType("blob"), "STRING"),
        (MyType("double"), "INT64"),
        (MyType("bit", precision=64), "BOOL"),
        (MyType("time"), "DATETIME"),
        (MyType("date"), "TIMESTAMP"),
    ],
)
def test_what_would_lose_something_is_refused(type_: MyType, target: str) -> None:
    with pytest.raises(Incompatible):
        select(type_, "t.`v`", BqField("v", target))


def test_a_single_value_fills_no_repeated_column() -> None:
    with pytest.raises(Incompatible, match="REPEATED"):
        select(MyType("int"), "t.`v`", BqField("v", "INT64", "REPEATED"))


_KINDS = st.sampled_from(["timestamptz", "timestamp"])
_AGES = st.none() | st.timedeltas(dt.timedelta(seconds=-5), dt.timedelta(days=400))


@given(kind=_KINDS, age=_AGES, settle=st.integers(0, 86_400))
def test_a_visible_window_ends_before_all_that_may_still_be_written(
    kind: str, age: dt.timedelta | None, settle: int
) -> None:
    oldest = None if age is None else _T0 - age
    cursor = MyCursor("t.`c`", kind, kind)  # type: ignore[arg-type]
    high = end_of_window(
        cursor, None, Instant(_T0, oldest, 7, True, None, None), dt.timedelta(seconds=settle)
    )
    assert high.replace(tzinfo=None) < min(_T0, oldest or _T0) - dt.timedelta(seconds=1)
    assert (high.tzinfo is not None) == (kind == "timestamptz")


@given(settle=st.integers(0, 86_400))
def test_a_blind_window_stays_settle_seconds_behind(settle: int) -> None:
    cursor = MyCursor("t.`c`", "timestamp", "datetime")
    distance = dt.timedelta(seconds=settle)
    high = end_of_window(cursor, None, Instant(_T0, None, None, False, None, None), distance)
    assert high == _T0 - distance - dt.timedelta(microseconds=1)


def test_a_window_never_goes_back() -> None:
    cursor = MyCursor("t.`c`", "timestamp", "datetime")
    held = Instant(_T0, _T0 - dt.timedelta(hours=5), 7, True, None, None)
    low = _T0 - dt.timedelta(hours=1)
    assert end_of_window(cursor, low, held, dt.timedelta(0)) == low


def test_a_day_is_over_before_it_is_read() -> None:
    cursor = MyCursor("t.`c`", "date", "date")
    for clock, expected in (
        ("2024-05-17 00:00:02", 15),
        ("2024-05-17 00:00:03", 16),
        ("2024-05-17 23:59:59", 16),
    ):
        instant = Instant(dt.datetime.fromisoformat(clock), None, None, True, None, None)
        assert end_of_window(cursor, None, instant, dt.timedelta(0)) == dt.date(2024, 5, expected)


_WHERE = Where("db.example", 3306, "shop", "reader", "MySQL")


@pytest.mark.parametrize(
    ("code", "kind", "part"),
    [
        (None, RetryableError, "the connection was lost"),
        (2013, RetryableError, "the connection was lost"),
        (1040, RetryableError, "max_connections"),
        (1205, RetryableError, "a lock was not free"),
        (1213, RetryableError, "deadlock"),
        (3024, RetryableError, "statement_timeout_seconds"),
        (1969, RetryableError, "statement_timeout_seconds"),
        (1130, PermanentError, "no connections from this machine"),
        (3159, PermanentError, "sslmode"),
        (1142, PermanentError, "lacks a permission"),
        (9999, PermanentError, "error 9999"),
    ],
)
def test_what_errors_say(code: int | None, kind: type[Exception], part: str) -> None:
    error = server_error(code, "SELECT denied", _WHERE, "reading unit u00001")
    assert isinstance(error, kind)
    assert part in str(error)
    assert "MySQL at db.example:3306" in str(error)


@pytest.mark.parametrize("code", [1064, 1292, 1366, 1690, 4078])
def test_messages_that_may_hold_values_are_not_repeated(code: int) -> None:
    assert "secret" not in str(server_error(code, "near 'secret'", _WHERE, "reading unit u00001"))


def test_planning_imports_nothing_heavy() -> None:
    """The function that plans has no numpy, and loads drivers when it connects."""
    code = (
        "import sys, etl_runner.sources.mysql.source as s;"
        "print([name for name in ('numpy', 'pyarrow', 'pymysql') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
