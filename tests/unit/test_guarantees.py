"""docs/guarantees.yaml is true: its tests exist, nothing is claimed without one, the page is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guarantees import PAGE, SOURCE, problems, read, render


def test_every_promise_names_tests_that_exist_or_its_gap() -> None:
    assert problems(read(SOURCE.read_text())) == []


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == render(read(SOURCE.read_text())), "run `python -m tests.guarantees`"


def _document(*entries: str) -> str:
    return "groups: [{name: G, entries: [" + ", ".join(entries) + "]}]\nnon_guarantees: [nothing]\n"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["{id: a, promise: p, requirements: [L1], proof: ['tests/test_a.py::test_one']}"], []),
        (["{id: a, promise: p, requirements: [L1], proof: ['tests/test_a.py::test_one[x-y]']}"], []),
        (["{id: a, promise: p, requirements: [L1], proof: ['tests/test_a.py::TestIt::test_two']}"], []),
        (["{id: a, promise: p, requirements: [L1], gap: not yet}"], []),
        (
            ["{id: a, promise: p, requirements: [L1], proof: ['tests/test_a.py::test_gone']}"],
            ["a: there is no test tests/test_a.py::test_gone"],
        ),
        (
            ["{id: a, promise: p, requirements: [L1], proof: ['tests/test_b.py::test_one']}"],
            ["a: there is no test tests/test_b.py::test_one"],
        ),
        (["{id: a, promise: p, requirements: [L1]}"], ["a: has to have either a proof or a gap"]),
        (
            ["{id: a, promise: p, requirements: [L1], gap: g, proof: ['tests/test_a.py::test_one']}"],
            ["a: has to have either a proof or a gap"],
        ),
        (["{id: a, promise: p, requirements: [], gap: g}"] * 2, ["a: the id stands twice"]),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, entries: list[str], expected: list[str]) -> None:
    (tmp_path / "tests").mkdir()
    module = "def test_one(): ...\nclass TestIt:\n    def test_two(self): ...\n"
    (tmp_path / "tests" / "test_a.py").write_text(module)
    assert problems(read(_document(*entries)), root=tmp_path) == expected


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="keys are"):
        read(_document("{id: a, promise: p, requirements: [L1], prove: []}"))
