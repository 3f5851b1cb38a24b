"""Cutting a distribution into ranges (pure): they tile, they are even, they are what people like to read."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.cut import SCALES, Edge, Range, divide
from etl_runner.sources.postgres.units import clip
from etl_runner.sources.units import HOT, MAX_SCANS, Cut, split_hot

INTEGERS = SCALES["int8"]
INSTANTS = SCALES["timestamptz"]

edges_of_integers = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(0, 1), st.floats(0, 1)),
    unique_by=lambda edge: edge[0],
    max_size=40,
).map(lambda found: [Edge(str(value), at, after) for value, at, after in sorted(found)])


def check_tiling(ranges: list[Range]) -> None:
    assert ranges[0].low is None
    assert ranges[-1].high is None
    for left, right in pairwise(ranges):
        assert left.high == right.low
        assert left.high is not None
    cuts = [int(part.low) for part in ranges if part.low is not None]
    assert cuts == sorted(set(cuts))


@given(edges_of_integers, st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 300))
def test_ranges_tile_whatever_the_statistics_say(
    edges: list[Edge], rows: int, unit_rows: int, max_units: int
) -> None:
    for scale in (INTEGERS, None):
        ranges = divide(edges, rows, unit_rows, max_units, scale)
        check_tiling(ranges)
        assert len(ranges) <= max_units
        assert abs(sum(part.rows for part in ranges) - rows) <= len(ranges)


@given(st.integers(1, 2000), st.integers(1, 50))
def test_an_even_distribution_gives_even_ranges(units: int, span: int) -> None:
    rows = units * 1000
    edges = [Edge("0", after=1.0), Edge(str(rows * span))]
    ranges = divide(edges, rows, 1000, 9000, INTEGERS)
    assert len(ranges) == units
    assert all(900 <= part.rows <= 1100 for part in ranges)


def test_without_a_scale_cuts_lie_at_known_values() -> None:
    edges = [Edge(letter, after=1.0) for letter in "abcdefghij"]
    ranges = divide(edges, 1000, 100, 100, None)
    assert [part.low for part in ranges] == [None, *"bcdefghij"]


def test_a_value_that_many_rows_have_is_not_cut() -> None:
    edges = [Edge("1", at=0.0, after=0.1), Edge("5", at=0.8, after=0.1), Edge("9")]
    ranges = divide(edges, 1000, 100, 100, INTEGERS)
    inside = [part for part in ranges if part.rows > 100]
    assert len(inside) == 1
    assert inside[0].rows >= 790
    check_tiling(ranges)


def test_ranges_of_time_begin_with_days_and_hours() -> None:
    year = [Edge("2013-01-01 05:30:00+00", after=1.0), Edge("2014-01-01 00:00:00+00")]
    months = divide(year, 12_000, 1000, 100, INSTANTS)
    assert all(part.low is None or part.low.endswith(" 00:00:00.000000+00") for part in months)
    day = [Edge("2013-01-01 00:10:00+00", after=1.0), Edge("2013-01-02 00:10:00+00")]
    hours = divide(day, 8_000, 1000, 100, INSTANTS)
    assert all(part.low is None or part.low.endswith(":00:00.000000+00") for part in hours)
    assert len(hours) == 8


def test_values_without_a_place_are_cut_around() -> None:
    edges = [Edge("-infinity", after=0.5), Edge("2013-01-01 00:00:00+00", after=1.0), Edge("infinity")]
    ranges = divide(edges, 1000, 100, 100, INSTANTS)
    assert [part.low for part in ranges] == [None, "2013-01-01 00:00:00+00", "infinity"]


def test_uuid_and_date_ranges_are_written_as_such() -> None:
    low, high = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
    ranges = divide([Edge(low, after=1.0), Edge(high)], 400, 100, 100, SCALES["uuid"])
    assert [str(part.low)[:4] for part in ranges[1:]] == ["3fff", "7fff", "bfff"]
    days = divide([Edge("2020-01-01", after=1.0), Edge("2020-01-05")], 400, 100, 100, SCALES["date"])
    assert [part.low for part in days[1:]] == ["2020-01-02", "2020-01-03", "2020-01-04"]


def test_clipping_to_a_window() -> None:
    edges = [Edge("0", after=1.0), Edge("10", after=1.0), Edge("20", after=1.0), Edge("30")]
    assert [edge.value for edge in clip(edges, "5", "25", INTEGERS)] == ["5", "10", "20", "25"]
    assert [edge.after for edge in clip(edges, "5", "25", INTEGERS)] == [0.5, 1.0, 0.5, 0.0]
    assert [edge.value for edge in clip(edges, None, "25", INTEGERS)] == ["0", "10", "20", "25"]
    # All rows are newer than the statistics.
    assert [edge.value for edge in clip(edges, "100", "200", INTEGERS)] == ["100", "200"]
    # The statistics end inside the window: a little is taken to follow.
    assert clip(edges, "0", "60", INTEGERS)[-2].after == 0.3  # of 3 known rows, a tenth
    assert clip([], "0", "60", INTEGERS) == [Edge("0", after=1.0), Edge("60")]
    assert clip([], None, "60", INTEGERS) == []
    # A window includes its end, where many rows may be.
    hot = [Edge("0", after=1.0), Edge("10", at=5.0, after=1.0), Edge("20")]
    assert clip(hot, None, "10", INTEGERS) == [Edge("0", after=1.0), Edge("10", at=5.0)]


# Most rows in a narrow part of the key space, some far off, and values that many rows have.
skewed = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 50), st.integers(1_000, 100_000)),
        st.one_of(st.integers(1, 3), st.integers(1, 200)),
    ),
    min_size=2,
    max_size=40,
).map(lambda found: [value for value, times in found for _ in range(times)])


@given(skewed, st.integers(1, 300), st.integers(2, 60), st.booleans())
def test_hot_ranges_are_split_and_each_row_is_in_exactly_one_unit(
    keys: list[int], unit_rows: int, most_units: int, scaled: bool
) -> None:
    times = Counter(keys)
    edges = [Edge(str(value), at=float(times[value])) for value in sorted(times)]
    target = max(unit_rows, -(-len(keys) // most_units))
    ranges = divide(edges, len(keys), target, most_units, INTEGERS if scaled else None)
    units = tuple(
        WorkUnit("", "range", {"where": f"{part.low} <= key < {part.high}"}, "", part.rows) for part in ranges
    )
    cut = split_hot(
        Cut(units, "ranges"), target, most_units, lambda index, count: f"number % {count} == {index}"
    )
    rows = [{"key": key, "number": number} for number, key in enumerate(keys)]
    homes = Counter[int]()
    for unit in cut.units:
        condition = compile(_python(unit.spec["where"]), "where", "eval")
        homes.update(row["number"] for row in rows if eval(condition, {}, row))
    assert homes == Counter(range(len(keys)))
    assert len(cut.units) <= most_units
    # Ranges alone are as good as values allow; what one value makes larger is spread.
    assert max(part.rows for part in ranges) <= target + max(times.values()) + 1
    if len(cut.units) < most_units:
        hot = max(part.rows for part in ranges)
        assert max(unit.rows or 0 for unit in cut.units) <= max(HOT * target, hot / MAX_SCANS)


def _python(where: str) -> str:
    everything = where.replace("None <= key < None", "True")
    return everything.replace("AND", "and").replace("None <= ", "").replace(" < None", "")


def test_a_plan_says_that_hot_ranges_were_split_and_splits_no_other() -> None:
    units = tuple(
        WorkUnit("", "range", {"where": f"w{n}"}, f"r{n}", rows) for n, rows in enumerate((900, 200))
    )
    cut = split_hot(Cut(units, "ranges of k"), 100, 100, lambda index, count: f"b{index}/{count}")
    assert cut.how == "ranges of k; 1 hot range split by a hash of the key"
    assert [unit.spec["where"] for unit in cut.units] == [*(f"(w0) AND b{n}/8" for n in range(8)), "w1"]
    assert cut.units[0].label == "r0, hash bucket 1 of 8"
    full = split_hot(Cut(units, "ranges of k"), 100, 4, lambda index, count: f"b{index}/{count}")
    assert len(full.units) == 4
    assert split_hot(Cut(units, "ranges of k"), 500, 100, lambda *_: "") == Cut(units, "ranges of k")
