"""What the benchmark makes of its figures, and that a contender that loses rows is not measured."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.contender import Contender, csv_rows
from benchmarks.kept import Part, Peak, keep
from benchmarks.measure import Figures, MeasureError, interleaved, run_once
from benchmarks.profile import Profile
from benchmarks.report import Suite, chart, suite_markdown, table

LIMIT_1 = Figures("limit, 1 reader", "limit", 1, 1_000_000, 10, 0)
LIMIT_2 = Figures("limit, 2 readers", "limit", 2, 1_600_000, 10, 0)
OURS_1 = Figures("task, 1 reader", "ours", 1, 700_000, 180, 50)
OURS_2 = Figures("task, 2 readers", "ours", 2, 800_000, 220, 50)
PEER = Figures("other <tool>", "peer", 2, 400_000, 120, 60)
SUITE = Suite("Orders", 5_000_000, 3, (LIMIT_1, LIMIT_2, OURS_1, OURS_2, PEER))


def writer(rows: int, claimed: int) -> Contender:
    """A contender that writes a CSV file of ``rows`` rows."""
    code = f"open('x.csv', 'w').write('id\\n' + '1\\n' * {rows})"
    return Contender("writer", "peer", lambda _: [sys.executable, "-c", code], claimed, count=csv_rows)


def test_ratios_compare_as_many_readers() -> None:
    assert SUITE.of_limit(OURS_1) == pytest.approx(0.7)
    assert SUITE.of_limit(OURS_2) == pytest.approx(0.5)
    assert SUITE.ours_over(PEER) == pytest.approx(2.0)
    assert SUITE.ours_over(OURS_1) is None


def test_table_and_page_name_every_way() -> None:
    for text in (table(SUITE), "\n".join(suite_markdown(SUITE))):
        assert all(line.label in text for line in SUITE.figures)
        assert "2.0x" in text
        assert "0.70" in text


def test_chart_is_a_picture_with_a_bar_for_each_way() -> None:
    root = ET.fromstring(chart([SUITE]))
    bars = [item for item in root if item.tag.endswith("rect")][1:]
    assert len(bars) == len(SUITE.figures)
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert max(widths) == widths[1]
    assert widths[4] / widths[1] == pytest.approx(0.25, abs=0.01)


def test_rows_that_do_not_arrive_are_no_result(tmp_path: Path) -> None:
    assert run_once(writer(10, 10), tmp_path).seconds > 0
    with pytest.raises(MeasureError, match="9 rows arrived of 10"):
        run_once(writer(9, 10), tmp_path)


def test_a_contender_that_fails_says_what_it_said(tmp_path: Path) -> None:
    failing = Contender("failing", "peer", lambda _: [sys.executable, "-c", "raise SystemExit('no')"], 1)
    with pytest.raises(MeasureError, match="failing: ended with 1:\nno"):
        run_once(failing, tmp_path)


def test_the_peak_is_not_that_of_who_measures(tmp_path: Path) -> None:
    held = bytearray(b"x") * (300 << 20)
    small = Contender("small", "peer", lambda _: [sys.executable, "-I", "-S", "-c", ""], 1)
    assert 1 < run_once(small, tmp_path).peak_mb < 100
    assert len(held) == 300 << 20


def test_rounds_are_interleaved(tmp_path: Path) -> None:
    said: list[str] = []
    two = [writer(1, 1), Contender("other", "peer", lambda _: [sys.executable, "-c", ""], 1)]
    figures = interleaved(two, 2, tmp_path, said.append)
    assert [text.rpartition(": ")[2] for text in said] == ["writer", "other", "writer", "other"]
    assert [line.label for line in figures] == ["writer", "other"]


def test_suites_that_are_not_run_again_keep_their_figures(tmp_path: Path) -> None:
    order = ("one", "memory", "profile")
    notes = tmp_path / "notes.md"
    notes.write_text("## By hand\n")
    keep(tmp_path, {"one": Part("python -m one", "2026-01-01", 0.5, suites=(SUITE,))}, order, notes)
    again = {
        "memory": Part("python -m memory", "2026-01-02", 0.5, peaks=(Peak(10, 123.4),)),
        "profile": Part(
            "python -m profile", "2026-01-02", 0.5, profiles=(Profile("Orders", 10, {"read": 2e-5}),)
        ),
    }
    keep(tmp_path, again, order, notes)
    page = (tmp_path / "benchmarks.md").read_text()
    places = [page.index(text) for text in ("0.70", "python -m one", "| 123 |", "| 2.00 |")]
    assert places == sorted(places)
    assert page.endswith("## By hand\n")
    assert "other &lt;tool&gt;" in (tmp_path / "benchmarks.svg").read_text()
