"""The comparison of a source of files with its destination, file by file.

What a file held when it was loaded is in the ledger; what the destination has of it, the rows with its URI in
``_etl_source_file``. What the bucket has and the ledger does not know, was not loaded. Values are not
compared: the file may have changed or gone since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from etl_runner.commit.staging import quote
from etl_runner.config.files import FileSource
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import Destination
from etl_runner.reconcile.compare import Comparison, RangeResult, Verdict
from etl_runner.sources.files.store import FileVersion
from etl_runner.state.ledger import LedgerEntry

SOURCE_FILE = "_etl_source_file"
Ask = Callable[[str], list[list[Any]]]
_LOADED, _REPLAYED, _ADOPTED = "loaded", "replayed", "adopted"


def check_comparable(document: FileSource, destination: Destination) -> None:
    """Refuse sources whose rows cannot be told apart by file.

    Raises:
        ConfigError: says why, and what to do instead.
    """
    path, message = None, ""
    if document.load_type != "transactional":
        path = "load_type"
        message = "rows are told by file where files are appended, and this source replaces or merges them"
    elif not destination.exists:
        path, message = "dest_table_name", f"{destination.path} does not exist: nothing was loaded yet"
    elif SOURCE_FILE not in {field.name for field in destination.schema}:
        path = "metadata_columns"
        message = f"{destination.path} has no column {SOURCE_FILE} to tell files by"
    if path is not None:
        raise ConfigError("reconcile", (Problem(path, message),))


def compare_files(
    listed: Iterable[FileVersion], entries: Iterable[LedgerEntry], destination: Destination, ask: Ask
) -> Comparison:
    """Compare; the ranges are files, ``start`` their URIs, those that agree included.

    Args:
        listed: the matching files of the bucket.
        entries: the ledger, oldest first.
        destination: the table.
        ask: runs a query in BigQuery.
    """
    rows: dict[str, int] = {}
    rejected: dict[str, int] = {}
    known, adopted, replayed = set(), set(), False
    for entry in entries:
        known.add(entry.key)
        if entry.outcome == _LOADED:
            rows[entry.uri] = rows.get(entry.uri, 0) + entry.rows
            rejected[entry.uri] = rejected.get(entry.uri, 0) + entry.rejects
        elif entry.outcome == _REPLAYED:
            replayed = True
        elif entry.outcome == _ADOPTED:
            adopted.add(entry.uri)
    name = quote(SOURCE_FILE)
    sql = f"SELECT {name}, COUNT(*) FROM {quote(destination.path)} WHERE {name} IS NOT NULL GROUP BY 1"
    found = {str(uri): int(count) for uri, count in ask(sql)}
    results = {
        uri: RangeResult(uri, None, rows.get(uri, 0), found.get(uri, 0), verdict)
        for uri in {*rows, *found}
        if (verdict := _verdict(uri, rows, found, rejected if replayed else {}, adopted)) is not None
    }
    for file in listed:
        if file.key not in known:
            before = results.get(file.uri)
            counts = (before.source_rows, before.destination_rows) if before else (0, 0)
            results[file.uri] = RangeResult(file.uri, None, *counts, "not loaded")
    ordered = tuple(results[uri] for uri in sorted(results))
    return Comparison(ordered, (SOURCE_FILE,), (), None)


def _verdict(
    uri: str,
    rows: Mapping[str, int],
    found: Mapping[str, int],
    replayable: Mapping[str, int],
    adopted: set[str],
) -> Verdict | None:
    """None: another system may have loaded rows of that file, so that nothing can be said."""
    if uri in adopted:
        return None
    wanted, there = rows.get(uri, 0), found.get(uri, 0)
    if there < wanted:
        return "missing"
    # Which of the rejected rows came in by a replay, the ledger does not say.
    return "extra" if there > wanted + replayable.get(uri, 0) else "equal"
