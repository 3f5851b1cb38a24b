"""Files against what the destination has of them."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.config.files import FileSource
from etl_runner.config.parse import parse_source
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError
from etl_runner.planning.plan import Destination
from etl_runner.reconcile.files import batches, check_comparable, compare_files
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.ledger import LedgerEntry

WHEN = "2026-01-01T00:00:00+00:00"
SCHEMA = (BqField("id", "INT64"), BqField("_etl_source_file", "STRING"))
TABLE = Destination("p", "d", "landing", "EU", True, SCHEMA)


def _file(name: str, version: str = "1") -> FileVersion:
    return FileVersion(f"gs://b/{name}", name, version, 10, WHEN)


def _entry(
    name: str, rows: int, outcome: str = "loaded", version: str = "1", rejects: int = 0
) -> LedgerEntry:
    return LedgerEntry(f"gs://b/{name}", version, 10, WHEN, rows, outcome, "r", rejects)


def _document(**fields: Any) -> FileSource:
    document = {
        "source_type": "gcs",
        "connection": "landing",
        "file_pattern": "*.csv",
        "load_type": "transactional",
        "dest_table_name": "landing",
        **fields,
    }
    parsed = parse_source(document, name="x", source_id="landing").document
    assert isinstance(parsed, FileSource)
    return parsed


RELOAD: list[str] = []
"""What the last comparison would have a backfill repair."""


def _verdicts(
    listed: list[FileVersion],
    entries: list[LedgerEntry],
    found: dict[str | None, int],
    last_run: str | None = None,
    **fields: Any,
) -> dict[str, tuple[int, int, str]]:
    def ask(sql: str) -> list[list[Any]]:
        assert "`p.d.landing`" in sql
        return [[name and f"gs://b/{name}", count] for name, count in found.items()]

    comparison = compare_files(_document(**fields), listed, entries, TABLE, ask, last_run)
    RELOAD[:] = [uri.removeprefix("gs://b/") for uri in comparison.reload]
    return {
        str(item.start).removeprefix("gs://b/"): (item.source_rows, item.destination_rows, item.verdict)
        for item in comparison.ranges
    }


def test_each_kind_of_difference_is_told_by_file() -> None:
    names = ["a", "b", "c", "d", "new"]
    entries = [_entry("a", 3), _entry("b", 3), _entry("c", 3), _entry("d", 0), _entry("gone", 2)]
    assert _verdicts(
        [_file(name) for name in names], entries, {"a": 3, "b": 2, "c": 6, "gone": 2, "x": 1}
    ) == {
        "a": (3, 3, "equal"),
        "b": (3, 2, "missing"),
        "c": (3, 6, "extra"),
        "d": (0, 0, "equal"),
        "gone": (2, 2, "equal"),
        "new": (0, 0, "not loaded"),
        "x": (0, 1, "extra"),
    }


def test_all_versions_of_an_overwritten_file_count() -> None:
    entries = [_entry("a", 3), _entry("a", 4, version="2")]
    assert _verdicts([_file("a", "2")], entries, {"a": 7}) == {"a": (7, 7, "equal")}
    assert _verdicts([_file("a", "3")], entries, {"a": 7}) == {"a": (7, 7, "not loaded")}


def test_an_overwritten_file_that_was_ignored_is_no_difference() -> None:
    entries = [_entry("a", 3), _entry("a", 0, "ignored", version="2")]
    assert _verdicts([_file("a", "2")], entries, {"a": 3}) == {"a": (3, 3, "equal")}


def test_replayed_rows_are_neither_missing_nor_too_many() -> None:
    entries = [_entry("a", 3, rejects=2), _entry("rejects:r", 1, "replayed")]
    assert _verdicts([], entries, {"a": 4}) == {"a": (3, 4, "equal")}
    assert _verdicts([], entries, {"a": 6}) == {"a": (3, 6, "extra")}
    assert _verdicts([], entries[:1], {"a": 4}) == {"a": (3, 4, "extra")}


def test_of_adopted_files_nothing_is_said() -> None:
    assert _verdicts([_file("a")], [_entry("a", 0, "adopted")], {"a": 4}) == {}


def test_only_what_is_still_as_it_was_loaded_is_reloaded() -> None:
    entries = [_entry("a", 3), _entry("b", 3), _entry("b", 3, version="2"), _entry("gone", 2)]
    listed = [_file("a"), _file("b", "2"), _file("unknown"), _file("new")]
    found: dict[str | None, int] = {"a": 2, "b": 3, "gone": 9, "unknown": 1}
    assert {name: verdict for name, (_, _, verdict) in _verdicts(listed, entries, found).items()} == {
        "a": "missing",
        "b": "missing",
        "gone": "extra",
        "unknown": "not loaded",
        "new": "not loaded",
    }
    assert RELOAD == ["a", "unknown"]
    replayed = [_entry("a", 3, rejects=1), _entry("rejects:r", 1, "replayed")]
    _verdicts(listed, replayed, {"a": 2})
    assert "a" not in RELOAD


def test_rows_of_a_backfill_take_the_place_of_others_or_come_beside_them() -> None:
    entries = [
        _entry("a", 3),
        _entry("a", 4, "replaced", version="2"),
        _entry("a", 4, "appended", version="2"),
    ]
    assert _verdicts([_file("a", "2")], entries, {"a": 7}) == {"a": (8, 7, "missing")}
    assert RELOAD == []  # it was wanted twice
    assert _verdicts([_file("a", "2")], entries[:2], {"a": 7}) == {"a": (4, 7, "extra")}
    assert RELOAD == ["a"]


def test_a_catalog_holds_the_files_of_its_last_run_and_those_are_the_bucket_s() -> None:
    fields = {"load_type": "catalog", "file_selection": "all"}
    old = [_entry(name, 9) for name in ("a", "long-gone")]
    now = [
        LedgerEntry(f"gs://b/{name}", "1", 10, WHEN, 3, "loaded", "last")
        for name in ("a", "b", "c", "x", "v")
    ]
    listed = [_file(name) for name in ("a", "b", "c", "new")] + [_file("v", "2")]
    found: dict[str | None, int] = {"a": 3, "b": 2, "c": 6, "x": 3, "v": 3, "odd": 1, None: 2}
    verdicts = _verdicts(listed, [*old, *now], found, "last", **fields)
    assert {name: verdict for name, (_, _, verdict) in verdicts.items()} == {
        "a": "equal",
        "b": "missing",
        "c": "extra",
        "x": "extra",
        "v": "not loaded",
        "new": "not loaded",
        "odd": "extra",
        "(no file)": "extra",
    }


def test_of_an_upsert_s_files_fewer_rows_are_no_difference() -> None:
    fields = {"load_type": "upsert", "primary_key_column": "id"}
    entries = [_entry("a", 3), _entry("b", 3), _entry("c", 3)]
    listed = [_file(name) for name in "abcd"]
    assert _verdicts(listed, entries, {"a": 3, "b": 1, "c": 4}, **fields) == {
        "a": (3, 3, "equal"),
        "b": (3, 1, "equal"),
        "c": (3, 4, "extra"),
        "d": (0, 0, "not loaded"),
    }
    assert RELOAD == []


def test_files_are_repaired_in_groups_that_one_statement_names() -> None:
    uris = [f"gs://b/{'n' * 900}{number}" for number in range(1_200)]
    groups = batches(uris)
    assert [uri for group in groups for uri in group] == uris
    assert len(groups) > 1
    assert max(sum(len(uri) + 4 for uri in group) for group in groups) < 900_000
    assert batches([]) == []


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        (Destination("p", "d", "t", "EU", False, SCHEMA), "p.d.t does not exist"),
        (Destination("p", "d", "t", "EU", True, SCHEMA[:1]), "no column _etl_source_file"),
    ],
)
def test_what_cannot_be_told_apart_by_file_is_refused(destination: Destination, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_comparable(destination)
