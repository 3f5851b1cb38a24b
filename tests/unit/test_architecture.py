"""The drawing of the architecture is current, and its boxes lie beside each other within it."""

from __future__ import annotations

from itertools import combinations, pairwise

from tools.architecture import BOXES, ENGINES, HEIGHT, LINES, PAGE, WIDTH, Box, drawing


def test_the_drawing_is_current() -> None:
    assert PAGE.read_text() == drawing(), "run `python -m tools.architecture`"


def test_boxes_neither_overlap_nor_leave_the_page() -> None:
    for box in BOXES.values():
        assert 0 <= box.x <= WIDTH - box.width
        assert 0 <= box.y <= HEIGHT - box.height
    for one, other in combinations(BOXES.values(), 2):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        above = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert beside or above, (one.title, other.title)


def test_no_line_runs_behind_a_box() -> None:
    for points in LINES:
        for (x, y), (to_x, to_y) in pairwise(points):
            for step in range(1, 100):
                here = (x + (to_x - x) * step / 100, y + (to_y - y) * step / 100)
                behind = [box.title for box in BOXES.values() if _within(box, *here)]
                assert behind == [], (points, behind)


def test_every_arrow_ends_at_a_box() -> None:
    for *_, (x, y) in LINES:
        touched = [box for box in BOXES.values() if _within(box, x, y, margin=-1)]
        assert len(touched) == 1, (x, y)


def test_the_frame_holds_the_engines_and_nothing_else() -> None:
    x, y, width, height = ENGINES
    frame = Box(x, y, "", "", "", width, height)
    inside = [name for name, box in BOXES.items() if _within(frame, box.x, box.y)]
    assert inside == ["job", "dataflow"]


def _within(box: Box, x: float, y: float, margin: float = 0) -> bool:
    """Whether a point is inside of a box, its edge not included; ``margin`` shrinks the box."""
    across = box.x + margin < x < box.x + box.width - margin
    return across and box.y + margin < y < box.y + box.height - margin
