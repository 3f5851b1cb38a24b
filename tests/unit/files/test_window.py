"""Choosing files: many of them, and any mixture of known and unknown ones."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.listing import NEW, choose_new, ledger_of
from etl_runner.config.files import FileSource
from etl_runner.config.parse import parse_source
from etl_runner.sources.base import Scope
from etl_runner.sources.files.store import FileVersion
from etl_runner.sources.files.units import cut
from etl_runner.sources.files.window import choose


def test_a_hundred_thousand_objects_against_the_ledger_need_little_memory() -> None:
    objects = 100_000
    ledger, state = ledger_of(objects - NEW)
    tracemalloc.start()
    chosen = choose_new(objects, ledger, state)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (chosen.matching, len(chosen.files)) == (objects, NEW)
    assert peak < 100 << 20


def document(**fields: Any) -> FileSource:
    parsed = parse_source(
        {
            "source_type": "gcs",
            "connection_params": {"source_type": "gcs", "bucket": "inbox", "use_runner_account": True},
            "dest_table_name": "t",
            "load_type": "transactional",
            "file_pattern": "*.csv",
            **fields,
        },
        name="t",
        source_id="t",
    ).resolve()
    assert isinstance(parsed.document, FileSource)
    return parsed.document


def file_of(name: int, version: int, size: int = 1) -> FileVersion:
    return FileVersion(f"gs://inbox/{name}.csv", f"{name}.csv", str(version), size, f"2026-01-0{version}")


VERSIONS = st.dictionaries(st.integers(0, 20), st.integers(1, 3))


@given(there=VERSIONS, known=st.sets(st.tuples(st.integers(0, 20), st.integers(1, 3))))
def test_what_is_chosen_is_what_is_there_and_not_known(
    there: dict[int, int], known: set[tuple[int, int]]
) -> None:
    files = [file_of(name, version) for name, version in there.items()]
    keys = {file_of(*key).key for key in known}
    chosen = choose(document(), files, Scope(lambda: keys))
    assert {file.key for file in chosen.files} == {file.key for file in files} - keys
    ignoring = choose(document(on_overwrite="ignore"), files, Scope(lambda: keys))
    overwritten = {name for name, _ in known}
    for name, version in there.items():
        file = file_of(name, version)
        assert (file in ignoring.files) == (name not in overwritten)
        assert (file in ignoring.ignored) == (name in overwritten and file.key not in keys)


@given(
    sizes=st.lists(st.integers(0, 50 << 20), min_size=1, max_size=300),
    rate=st.sampled_from([None, 0.001, 0.1]),
    limit=st.integers(20, 9_000),
)
def test_units_hold_every_byte_of_every_file_once(sizes: list[int], rate: float | None, limit: int) -> None:
    files = [file_of(number, 1, size) for number, size in enumerate(sizes)]

    def cuts(file: FileVersion, target: int) -> list[int]:
        if int(file.name.removesuffix(".csv")) % 2:
            return [0, file.size]
        return [*range(0, file.size, target), file.size]

    units = cut(files, 50_000, rate, limit, cuts)
    assert len(units) <= limit
    assert [unit.id for unit in units] == [f"u{number:05d}" for number in range(len(units))]
    assert [unit.bytes or 0 for unit in units] == sorted((unit.bytes or 0 for unit in units), reverse=True)
    parts: dict[str, list[tuple[int, int]]] = {}
    for unit in units:
        assert len({file["uri"] for file in unit.spec["files"]}) == len(unit.spec["files"])
        for file in unit.spec["files"]:
            parts.setdefault(file["uri"], []).append((file.get("start", 0), file.get("end", file["size"])))
    for file in files:
        ends = sorted(parts.pop(file.uri))
        assert (ends[0][0], ends[-1][1]) == (0, file.size)
        assert all(a[1] == b[0] for a, b in pairwise(ends))
    assert not parts


def test_ten_thousand_small_files_become_a_few_dozen_units() -> None:
    files = [file_of(number, 1, 10_000) for number in range(10_000)]
    units = cut(files, 50_000, 0.01, 9_000, lambda file, _: [0, file.size])
    assert 10 < len(units) < 60
