"""What many objects are now: few calls, and only the bucket's own word for one that is gone."""

from __future__ import annotations

import pytest

from etl_runner.sources.files import current
from etl_runner.sources.files.current import current_versions
from etl_runner.sources.files.store import FileVersion
from tests.unit.files.memory import MemoryBucket


class Counting(MemoryBucket):
    """Counts the objects that are asked for one by one."""

    heads = 0

    def head(self, name: str) -> FileVersion | None:
        self.heads += 1
        return super().head(name)


def bucket(*names: str) -> Counting:
    store = Counting()
    for name in names:
        store.put(name, b"x")
    return store


def names(count: int, prefix: str = "in/") -> list[str]:
    return [f"{prefix}{number:05}.csv" for number in range(count)]


def test_files_that_lie_together_take_a_listing() -> None:
    store = bucket(*names(300), "a.csv", "z.csv")
    found = current_versions(store, names(300)[100:200])
    assert sorted(found) == names(300)[100:200]
    assert all(file is not None and file.name == name for name, file in found.items())
    assert store.heads == 0
    assert store.lists == ["in/001"]


def test_one_that_the_listing_does_not_show_is_asked_for() -> None:
    store = bucket(*names(100))
    found = current_versions(store, [*names(100), "in/00050.gone"])
    assert found["in/00050.gone"] is None
    assert store.heads == 1
    assert len([file for file in found.values() if file is not None]) == 100


def test_files_far_apart_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "LISTED", 2)
    apart = [*names(30, "a/"), *names(30, "z/")]
    store = bucket(*names(500, "m/"), *apart)
    found = current_versions(store, apart)
    assert [file.name for _, file in sorted(found.items()) if file is not None] == apart
    assert store.heads == 30


def test_few_are_asked_for_at_once() -> None:
    store = bucket(*names(5))
    assert list(current_versions(store, ["in/00003.csv"])) == ["in/00003.csv"]
    assert (store.heads, store.lists) == (1, [])
    assert current_versions(store, []) == {}
