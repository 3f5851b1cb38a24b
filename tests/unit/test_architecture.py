"""The drawing of the architecture is current, and its boxes lie beside each other within it."""

from __future__ import annotations

from itertools import combinations

from tools.architecture import BOXES, CALLS, HEIGHT, PAGE, WIDTH, drawing


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


def test_every_call_is_between_two_boxes() -> None:
    assert {name for call in CALLS for name in call} <= set(BOXES)
