"""The suite's own distribution over processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from local.layout import REPOSITORY
from tests.scheduling import LONGEST, SERVERS, SPLIT, Scheduling, unit_of


class Node:
    """A process of xdist's, which does what it is told when it is asked to."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.waiting: list[int] = []
        self.done: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    def work(self, scheduling: Any) -> None:
        self.done.append(self.waiting.pop(0))
        scheduling.mark_test_complete(self, self.done[-1])


def scheduled(collection: list[str], processes: int) -> list[list[str]]:
    """What each process did, in its order; all are as fast as each other."""
    config: Any = SimpleNamespace(
        getvalue=lambda _: ["popen"] * processes, option=SimpleNamespace(loadscopereorder=True)
    )
    scheduling = Scheduling(config)
    nodes = [Node(f"gw{number}") for number in range(processes)]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, collection)
    scheduling.schedule()
    while any(node.waiting for node in nodes):
        for node in nodes:
            if node.waiting:
                node.work(scheduling)
    return [[collection[index] for index in node.done] for node in nodes]


COLLECTION = [
    *(f"tests/unit/test_{module}.py::test_{n}[a-b]" for module in "abcdefgh" for n in range(10)),
    *(f"tests/integration/test_{module}.py::test_{n}" for module in "abcdefgh" for n in range(10)),
    *(f"{SPLIT[0]}::test_{name}[{n}]" for name in "abc" for n in range(4)),
    f"{LONGEST[1]}::test_long",
]


def test_every_test_is_done_once_and_modules_stay_together() -> None:
    done = scheduled(COLLECTION, 3)
    assert sorted(test for tests in done for test in tests) == sorted(COLLECTION)
    for unit in {unit_of(test) for test in COLLECTION}:
        assert sum(any(unit_of(test) == unit for test in tests) for tests in done) == 1, unit


def test_a_split_module_is_divided_by_functions_with_all_their_parameters() -> None:
    assert unit_of(f"{SPLIT[0]}::test_a[x::y]") == f"{SPLIT[0]}::test_a"
    assert unit_of("tests/unit/test_a.py::test_a[x::y]") == "tests/unit/test_a.py"


def test_every_second_process_begins_with_servers_and_the_longest() -> None:
    for number, tests in enumerate(scheduled(COLLECTION, 4)):
        assert tests[0].startswith(SERVERS) == (number % 2 == 0)
    first, third = (scheduled(COLLECTION, 4)[number][0] for number in (0, 2))
    assert unit_of(first).startswith(LONGEST[0])
    assert unit_of(third).startswith(LONGEST[0])


def test_what_is_named_exists() -> None:
    for path in {*LONGEST, *SPLIT, *SERVERS}:
        assert (REPOSITORY / path).exists(), path
