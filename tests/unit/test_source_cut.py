"""Cutting a distribution into ranges (pure): they tile, they are even, they are what people like to read."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from etl_runner.sources.cut import SCALES, Edge, Range, divide
from etl_runner.sources.postgres.units import clip

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
