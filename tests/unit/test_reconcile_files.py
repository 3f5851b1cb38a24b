"""Files against what the destination has of them."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.config.files import FileSource
from etl_runner.config.parse import parse_source
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError
from etl_runner.planning.plan import Destination
from etl_runner.reconcile.files import check_comparable, compare_files
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


def _verdicts(
    listed: list[FileVersion], entries: list[LedgerEntry], found: dict[str, int]
) -> dict[str, tuple[int, int, str]]:
    def ask(sql: str) -> list[list[Any]]:
        assert "`p.d.landing`" in sql
        return [[f"gs://b/{name}", count] for name, count in found.items()]

    comparison = compare_files(listed, entries, TABLE, ask)
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


@pytest.mark.parametrize(
    ("document", "destination", "message"),
    [
        (_document(load_type="catalog"), TABLE, "load_type: rows are told by file where"),
        (_document(), Destination("p", "d", "t", "EU", False, SCHEMA), "p.d.t does not exist"),
        (_document(), Destination("p", "d", "t", "EU", True, SCHEMA[:1]), "no column _etl_source_file"),
    ],
)
def test_what_cannot_be_told_apart_by_file_is_refused(
    document: FileSource, destination: Destination, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_comparable(document, destination)


def test_a_source_that_appends_files_can_be_compared() -> None:
    check_comparable(_document(), TABLE)
