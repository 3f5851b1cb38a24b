"""Conversion never changes a value without a word: what comes out equals what Python's own exact types
say, and what they refuse is rejected. No expectation here is computed by Arrow's casts."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from decimal import Decimal, InvalidOperation, localcontext
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl_runner.convert.cast import Converter
from etl_runner.convert.fields import BqField
from etl_runner.planning.plan import PlannedColumn

REFUSED = object()
UTC = dt.UTC


def convert(values: list[Any], source: pa.DataType, field: BqField, source_type: str = "") -> list[Any]:
    """Each value converted, REFUSED where it was rejected."""
    converter = Converter([PlannedColumn("x", source_type, field)], unit="u")
    converted = converter.convert(pa.record_batch({field.name: pa.array(values, source)}))
    assert converted.batch.num_rows + len(converted.rejects) == len(values)
    rejected = {reject.row - 1 for reject in converted.rejects}
    kept = iter(converted.batch.column(0).to_pylist())
    return [REFUSED if row in rejected else next(kept) for row in range(len(values))]


def field(kind: str, **parts: Any) -> BqField:
    return BqField("c", kind, **parts)


def texts_of(*strategies: st.SearchStrategy[str]) -> st.SearchStrategy[list[str | None]]:
    return st.lists(st.one_of(st.none(), *strategies), max_size=30)


NEAR_NUMBERS = st.text(alphabet="0123456789+-.eExX_ \u0661", max_size=12)
BIG_INTEGERS = st.integers(-(2**65), 2**65).map(str)


@given(texts_of(NEAR_NUMBERS, BIG_INTEGERS))
@example(["0x10", "+7", "-0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "", " 1"])
def test_text_to_int64(values: list[str | None]) -> None:
    def expected(text: str | None) -> Any:
        if text is None:
            return None
        if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII) or not -(2**63) <= int(text) < 2**63:
            return REFUSED
        return int(text)

    assert convert(values, pa.string(), field("INT64")) == [expected(text) for text in values]


def decimals(digits: int, places: int) -> st.SearchStrategy[str]:
    return st.builds(
        lambda number, scale: format(Decimal(number).scaleb(-scale), "f"),
        st.integers(-(10**digits), 10**digits),
        st.integers(0, places),
    )


EXPONENTS = st.builds(
    lambda number, exponent: f"{number}e{exponent}", decimals(30, 12), st.integers(-400, 400)
)


@settings(max_examples=300)
@given(
    st.sampled_from(
        [("NUMERIC", None, None), ("NUMERIC", 12, 2), ("NUMERIC", 29, None), ("BIGNUMERIC", None, None)]
    ),
    texts_of(
        decimals(14, 3), decimals(40, 11), decimals(77, 40), NEAR_NUMBERS, st.sampled_from(["NaN", "inf"])
    ),
)
@example(("NUMERIC", None, None), ["1234e33", "2.3e-236", "1" + "0" * 300, "0" * 300 + "7", "1e999999999"])
@example(
    ("NUMERIC", 12, 2), ["12000.000e-38", "1.5e-320", "0e400", "5e-0002", "1." + "0" * 200, "1e-999999999"]
)
@example(("NUMERIC", None, None), ["NaN", "Infinity", "-Infinity", "1e29", "1E28", "0.0000000001", "9" * 29])
def test_text_to_decimal(kind: tuple[str, int | None, int | None], values: list[str | None]) -> None:
    name, precision, scale = kind
    digits = precision or (38 if name == "NUMERIC" else 76)
    places = scale if scale is not None else 0 if precision else (9 if name == "NUMERIC" else 38)

    def expected(text: str | None) -> Any:
        if text is None:
            return None
        with localcontext() as context:
            context.prec = 200
            try:
                number = Decimal(text) if re.fullmatch(r"[0-9+\-.eE]+", text, re.ASCII) else Decimal("NaN")
            except InvalidOperation:
                return REFUSED
            if not number.is_finite() or number.copy_abs() >= Decimal(10) ** (digits - places):
                return REFUSED
            if number != number.quantize(Decimal(1).scaleb(-places)):
                return REFUSED
            return number

    found = convert(values, pa.string(), field(name, precision=precision, scale=scale))
    for text, value, wanted in zip(values, found, [expected(text) for text in values], strict=True):
        assert value is wanted or value == wanted, (text, value, wanted)


@given(texts_of(st.floats().map(repr), NEAR_NUMBERS, st.sampled_from(["Infinity", "-inf", "nan", "1e400"])))
@example(["1e400", "-1e999", "Infinity", "-inf", "1e-400", "4.9e-324", "0.1", "1.7976931348623157e308"])
def test_text_to_float64_is_the_nearest_double_or_refused(values: list[str | None]) -> None:
    for text, value in zip(values, convert(values, pa.string(), field("FLOAT64")), strict=True):
        if text is None:
            assert value is None
        elif value is REFUSED:
            plain = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text, re.ASCII)
            assert not plain or float(text) in (float("inf"), float("-inf"))
        else:
            assert repr(value) == repr(float(text)) or (value != value and float(text) != float(text))


@given(st.lists(st.one_of(st.none(), st.floats())))
def test_float64_to_int64_only_when_whole(values: list[float | None]) -> None:
    def expected(value: float | None) -> Any:
        if value is None:
            return None
        whole = value == value and abs(value) < 2**63 and Fraction(value).denominator == 1
        return int(value) if whole else REFUSED

    assert convert(values, pa.float64(), field("INT64")) == [expected(value) for value in values]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
@example([2**53, 2**53 + 1, -(2**53), -(2**53) - 1])
def test_int64_to_float64_only_when_exact(values: list[int]) -> None:
    for number, value in zip(values, convert(values, pa.int64(), field("FLOAT64")), strict=True):
        if value is REFUSED:
            assert abs(number) > 2**53
        else:
            assert Fraction(value) == number


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.sampled_from([(None, None), (12, 2), (38, 9), (5, 0)]))
def test_int64_to_numeric(values: list[int], shape: tuple[int | None, int | None]) -> None:
    precision, scale = shape
    limit = 10 ** ((precision or 38) - (9 if scale is None else scale))
    expected = [number if abs(number) < limit else REFUSED for number in values]
    assert convert(values, pa.int64(), field("NUMERIC", precision=precision, scale=scale)) == expected


@given(st.lists(st.floats(-1e9, 1e9)))
def test_float64_to_numeric_is_the_shortest_text_of_the_float(values: list[float]) -> None:
    for number, value in zip(values, convert(values, pa.float64(), field("BIGNUMERIC")), strict=True):
        if value is REFUSED:
            assert Decimal(repr(number)).as_tuple().exponent < -38  # type: ignore[operator]
        else:
            assert value == Decimal(repr(number))
            assert float(value) == number


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))))
@example([-719_163, -719_162, 2_932_896, 2_932_897, 0, -1])
def test_days_outside_the_years_1_to_9999_are_refused(values: list[int | None]) -> None:
    def expected(days: int | None) -> Any:
        if days is None:
            return None
        ordinal = dt.date(1970, 1, 1).toordinal() + days
        return dt.date.fromordinal(ordinal) if 1 <= ordinal <= dt.date.max.toordinal() else REFUSED

    wanted = [expected(days) for days in values]
    assert convert(values, pa.date32(), field("DATE")) == wanted
    # A DATETIME is staged as that wall clock in UTC.
    midnights = [
        w if w in (None, REFUSED) else dt.datetime(w.year, w.month, w.day, tzinfo=UTC) for w in wanted
    ]
    assert convert(values, pa.date32(), field("DATETIME")) == midnights


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-(2**58), 2**58))))
def test_microseconds_outside_the_years_1_to_9999_are_refused(values: list[int | None]) -> None:
    epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)

    def expected(micros: int | None) -> Any:
        if micros is None:
            return None
        try:
            return epoch + dt.timedelta(microseconds=micros)
        except OverflowError:
            return REFUSED

    found = convert(values, pa.timestamp("us", "UTC"), field("TIMESTAMP"))
    assert found == [expected(micros) for micros in values]


@given(st.lists(st.datetimes(timezones=st.timezones().filter(lambda zone: zone.key not in ("localtime",)))))
def test_zones_change_no_instant(values: list[dt.datetime]) -> None:
    sane = [v for v in values if 2 <= v.year <= 9998]
    instants = [v.astimezone(UTC) for v in sane]
    micros = [(v - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1) for v in instants]
    for zone in ("UTC", "America/New_York", "+05:30"):
        assert convert(micros, pa.timestamp("us", zone), field("TIMESTAMP")) == instants


OFFSETS = st.sampled_from(["", "Z", "+00", "+05:30", "-0330", "+14:00", "-12"])


@given(
    st.lists(st.tuples(st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1)), OFFSETS, st.booleans()))
)
def test_text_to_timestamp(values: list[tuple[dt.datetime, str, bool]]) -> None:
    texts = [f"{moment.isoformat('T' if t else ' ')}{offset}" for moment, offset, t in values]
    expected = []
    for moment, offset, _ in values:
        digits = offset.replace(":", "").lstrip("+-Z").ljust(4, "0")
        shift = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        sign = -1 if offset.startswith("-") else 1
        expected.append((moment - sign * shift).replace(tzinfo=UTC))
    assert convert(list(texts), pa.string(), field("TIMESTAMP")) == expected
    naive = [REFUSED if offset else moment.replace(tzinfo=UTC) for moment, offset, _ in values]
    assert convert(list(texts), pa.string(), field("DATETIME")) == naive


@given(texts_of(st.dates().map(str), st.text(alphabet="0123456789- /", max_size=11)))
@example(["0000-01-01", "0001-01-01", "9999-12-31", "2023-02-29", "2024-02-29", "2024-2-9", "20240101", ""])
def test_text_to_date(values: list[str | None]) -> None:
    def expected(text: str | None) -> Any:
        if text is None:
            return None
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return REFUSED
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            return REFUSED

    assert convert(values, pa.string(), field("DATE")) == [expected(text) for text in values]


@given(texts_of(st.times().map(str), st.text(alphabet="0123456789:.", max_size=15)))
@example(["24:00:00", "23:59:60", "23:59:59.9999999", "12:00", "1:00:00", "12:00:00+02"])
def test_text_to_time(values: list[str | None]) -> None:
    def expected(text: str | None) -> Any:
        if text is None:
            return None
        if not re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?", text, re.ASCII):
            return REFUSED
        whole, _, fraction = text.partition(".")
        try:
            return dt.time.fromisoformat(whole).replace(microsecond=int(fraction.ljust(6, "0") or 0))
        except ValueError:
            return REFUSED

    assert convert(values, pa.string(), field("TIME")) == [expected(text) for text in values]


def test_a_time_of_24_hours_is_refused() -> None:
    day = 86_400_000_000
    assert convert([0, day - 1, day, -1], pa.time64("us"), field("TIME"))[2:] == [
        REFUSED,
        REFUSED,
    ]


@given(st.lists(st.one_of(st.none(), st.datetimes(dt.datetime(1, 1, 1)))))
@example([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 0, 0, 0, 1)])
def test_a_timestamp_becomes_a_date_only_at_midnight(values: list[dt.datetime | None]) -> None:
    expected = [v if v is None else (v.date() if v.time() == dt.time(0) else REFUSED) for v in values]
    assert convert(values, pa.timestamp("us"), field("DATE")) == expected


TRUE, FALSE = ["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]


@given(texts_of(st.sampled_from([*TRUE, *FALSE, "TRUE", "False", "YES", "N", "2", "on", "maybe", "tru", ""])))
def test_text_to_bool(values: list[str | None]) -> None:
    words = dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False)
    expected = [None if text is None else words.get(text.lower(), REFUSED) for text in values]
    assert convert(values, pa.string(), field("BOOL")) == expected


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3))))
def test_numbers_become_bool_only_when_0_or_1(values: list[int | None]) -> None:
    expected = [None if v is None else bool(v) if v in (0, 1) else REFUSED for v in values]
    assert convert(values, pa.int32(), field("BOOL")) == expected


@given(st.lists(st.one_of(st.none(), st.uuids())))
def test_uuids_become_text(values: list[uuid.UUID | None]) -> None:
    raw = [None if v is None else v.bytes for v in values]
    expected = [None if v is None else str(v) for v in values]
    for kind in (pa.binary(16), pa.binary()):
        assert convert(raw, kind, field("STRING"), "uuid") == expected
    column = PlannedColumn("x", "uuid", field("STRING"))
    wrapped = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(raw, pa.binary(16)))
    whole = pa.record_batch({"c": wrapped})
    for batch, wanted in ((whole, expected), (whole.slice(1), expected[1:])):
        assert Converter([column], unit="u").convert(batch).batch.column(0).to_pylist() == wanted


@given(st.lists(st.one_of(st.none(), st.binary(max_size=6))))
def test_bytes_become_text_only_when_they_are_utf8(values: list[bytes | None]) -> None:
    def expected(value: bytes | None) -> Any:
        try:
            return None if value is None else value.decode("utf-8")
        except UnicodeDecodeError:
            return REFUSED

    wanted = [expected(value) for value in values]
    assert convert(values, pa.binary(), field("STRING")) == wanted
    # The same bytes, called text by a source that did not look.
    data, offsets = b"".join(v or b"" for v in values), [0]
    for value in values:
        offsets.append(offsets[-1] + len(value or b""))
    valid = pa.array([value is not None for value in values], pa.bool_())
    unchecked = pa.StringArray.from_buffers(
        len(values),
        pa.array(offsets, pa.int32()).buffers()[1],
        pa.py_buffer(data),
        valid.buffers()[1] if values else None,
        valid.false_count,
    )
    converted = Converter([PlannedColumn("x", "text", field("STRING"))], unit="u").convert(
        pa.record_batch({"c": unchecked})
    )
    assert converted.batch.column(0).to_pylist() == [value for value in wanted if value is not REFUSED]


@given(st.lists(st.text(max_size=8)))
@example(["äöü\N{GRINNING FACE}", "12345"])
def test_text_longer_than_the_column_is_refused(values: list[str]) -> None:
    expected = [text if len(text) <= 4 else REFUSED for text in values]
    assert convert(list(values), pa.string(), field("STRING", max_length=4)) == expected
    raw = [text.encode() for text in values]
    assert convert(list(raw), pa.binary(), field("BYTES", max_length=4)) == [
        data if len(data) <= 4 else REFUSED for data in raw
    ]


@given(st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from(["1", "2.5", "x"]))))))
def test_arrays_convert_their_elements_and_hold_no_null(values: list[list[str | None] | None]) -> None:
    def expected(items: list[str | None] | None) -> Any:
        if items is None:
            return []
        if None in items or "x" in items:
            return REFUSED
        return [Decimal(item) for item in items if item is not None]

    wanted = [expected(items) for items in values]
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string())):
        assert convert(values, kind, field("NUMERIC", mode="REPEATED")) == wanted


@given(st.lists(st.one_of(st.none(), st.fixed_dictionaries({"a": st.sampled_from(["1", "x", None])}))))
def test_structs_convert_their_fields(values: list[dict[str, Any] | None]) -> None:
    kind = pa.struct({"a": pa.string()})
    target = field("STRUCT", fields=(BqField("a", "INT64"), BqField("z", "DATE")))

    def expected(value: dict[str, Any] | None) -> Any:
        if value is None:
            return None
        return REFUSED if value["a"] == "x" else {"a": value["a"] and int(value["a"]), "z": None}

    assert convert(values, kind, target) == [expected(value) for value in values]
