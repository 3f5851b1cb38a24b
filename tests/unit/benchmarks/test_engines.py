"""The table of engines is made in pieces: each call keeps what others measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.engines import Report, Size
from benchmarks.units import Overhead

PAGE = """# Engines
<!-- begin of crossover: written by benchmarks.engines -->
old
<!-- end of crossover -->
between
<!-- begin of units: written by benchmarks.engines -->
<!-- end of units -->
after
"""


def size(rows: int, seconds: float) -> Size:
    return Size(rows, 3, 1, seconds, 100.0, 2 * seconds, 200.0, "2026-11-26")


def test_sizes_are_kept_in_order_and_an_older_one_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "engines.md"
    page.write_text(PAGE)
    for one in (size(1_000_000, 10.0), size(100_000, 1.0), size(1_000_000, 5.0)):
        Report(tmp_path).add(one)
    Report(tmp_path).add_units([Overhead("Beam", 9_000, 30.0, 1.5, 1.25, 2.0)])
    text = page.read_text()
    assert "old" not in text
    assert (
        "| 100,000 | 3 | 1 | 1.0 | 100,000 | 100 | 2.0 | 50,000 | 200 | 2026-11-26 |\n"
        "| 1,000,000 | 3 | 1 | 5.0 |" in text
    )
    assert text.count("1,000,000") == 1
    assert "| Beam | 9,000 | 30.0 | 2.00 | 1.50 | 1.25 |\n<!-- end of units -->\nafter\n" in text
    assert set(json.loads((tmp_path / "engines.json").read_text())["sizes"]) == {"100000", "1000000"}


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "engines.md").write_text("# Engines\n")
    with pytest.raises(SystemExit, match="begin of crossover"):
        Report(tmp_path).add(size(1, 1.0))
    assert not (tmp_path / "engines.json").exists()
