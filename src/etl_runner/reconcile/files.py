"""The comparison of a source of files with its destination, file by file.

What a file held when it was loaded is in the ledger; what the destination has of it, the rows with its URI in
``_etl_source_file``. What the bucket has and the ledger does not know, was not loaded. Values are not
compared: the file may have changed or gone since.

Files that are appended have all of their rows, and those of each version that was loaded. A catalog has the
rows of its last run's files and no others, and those are what the bucket has now. Of an upsert's files as
many rows as were loaded are there at most, since rows move on to newer files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from etl_runner.commit.ranges import SOURCE_FILE
from etl_runner.commit.staging import quote, string_literal
from etl_runner.config.files import FileSource
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.backfill import MOST_NAMES
from etl_runner.planning.plan import Destination
from etl_runner.reconcile.compare import Comparison, RangeResult, Verdict
from etl_runner.sources.base import Scope
from etl_runner.sources.files.store import FileVersion
from etl_runner.sources.files.window import choose
from etl_runner.state.ledger import ADOPTED, APPENDED, LOADED, REPLACED, LedgerEntry

Ask = Callable[[str], list[list[object]]]
NO_FILE = "(no file)"
"""Rows of a catalog that name none."""
_REPLAYED = "replayed"


@dataclass
class _Loaded:
    """What the ledger says of one URI."""

    rows: int = 0
    rejects: int = 0
    versions: list[str] = field(default_factory=list)
    """Of which rows are there, one for each time."""
    adopted: bool = False


def check_comparable(destination: Destination) -> None:
    """Refuse destinations whose rows cannot be told apart by file.

    Raises:
        ConfigError: says why, and what to do instead.
    """
    if not destination.exists:
        path, message = "dest_table_name", f"{destination.path} does not exist: nothing was loaded yet"
    elif SOURCE_FILE not in {column.name for column in destination.schema}:
        path = "metadata_columns"
        message = f"{destination.path} has no column {SOURCE_FILE} to tell files by"
    else:
        return
    raise ConfigError("reconcile", (Problem(path, message),))


def compare_files(
    document: FileSource,
    listed: Iterable[FileVersion],
    entries: Iterable[LedgerEntry],
    destination: Destination,
    ask: Ask,
    last_run: str | None = None,
) -> Comparison:
    """Compare; the ranges are files, ``start`` their URIs, those that agree included.

    Args:
        document: the source's.
        listed: the matching files of the bucket.
        entries: the ledger, oldest first.
        destination: the table.
        ask: runs a query in BigQuery.
        last_run: of a catalog, the run that made the table what it is; None: there was none.
    """
    name = quote(SOURCE_FILE)
    ours = "" if document.load_type == "catalog" else f" WHERE {name} IS NOT NULL"
    sql = f"SELECT {name}, COUNT(*) FROM {quote(destination.path)}{ours} GROUP BY 1"
    found = {NO_FILE if uri is None else str(uri): int(str(count)) for uri, count in ask(sql)}
    if document.load_type == "catalog":
        return _catalog(document, listed, entries, found, last_run)
    loaded, known, replayed = _ledger(entries)
    results = {
        uri: RangeResult(uri, None, loaded.get(uri, _NONE).rows, found.get(uri, 0), verdict)
        for uri in {*(uri for uri, of in loaded.items() if of.versions), *found}
        if (verdict := _verdict(document, loaded.get(uri, _NONE), found.get(uri, 0), replayed)) is not None
    }
    reload = []
    for file in listed:
        before = results.get(file.uri)
        of = loaded.get(file.uri, _NONE)
        if file.key not in known:
            counts = (before.source_rows, before.destination_rows) if before else (0, 0)
            results[file.uri] = RangeResult(file.uri, None, *counts, "not loaded")
            # Rows of a file that no run loaded would stay beside those of a run.
            again = before is not None and not of.versions and before.destination_rows > 0
        else:
            # Only a file that is still the one version that was loaded gives the same rows again.
            again = before is not None and before.verdict != "equal" and of.versions == [file.version]
            again = again and not (replayed and of.rejects)
        if again and document.load_type == "transactional":
            reload.append(file.uri)
    ordered = tuple(results[uri] for uri in sorted(results))
    return Comparison(ordered, (SOURCE_FILE,), (), None, tuple(sorted(reload)))


_NONE = _Loaded()


def batches(uris: Iterable[str]) -> list[tuple[str, ...]]:
    """The files in groups that one statement can name."""
    groups: list[list[str]] = [[]]
    size = 0
    for uri in uris:
        length = len(string_literal(uri).encode()) + 2
        if size + length > MOST_NAMES // 2:
            groups.append([])
            size = 0
        groups[-1].append(uri)
        size += length
    return [tuple(group) for group in groups if group]


def _ledger(entries: Iterable[LedgerEntry]) -> tuple[dict[str, _Loaded], set[tuple[str, str]], bool]:
    loaded: dict[str, _Loaded] = {}
    known: set[tuple[str, str]] = set()
    replayed = False
    for entry in entries:
        known.add(entry.key)
        replayed |= entry.outcome == _REPLAYED
        if entry.outcome == ADOPTED:
            loaded.setdefault(entry.uri, _Loaded()).adopted = True
        elif entry.outcome in (LOADED, APPENDED):
            of = loaded.setdefault(entry.uri, _Loaded())
            of.rows += entry.rows
            of.rejects += entry.rejects
            of.versions.append(entry.version)
        elif entry.outcome == REPLACED:
            loaded[entry.uri] = _Loaded(entry.rows, entry.rejects, [entry.version])
    return loaded, known, replayed


def _verdict(document: FileSource, of: _Loaded, there: int, replayed: bool) -> Verdict | None:
    """None: another system may have loaded rows of that file, so that nothing can be said."""
    if of.adopted:
        return None
    if there < of.rows and document.load_type != "upsert":
        return "missing"
    # Which of the rejected rows came in by a replay, the ledger does not say.
    return "extra" if there > of.rows + (of.rejects if replayed else 0) else "equal"


def _catalog(
    document: FileSource,
    listed: Iterable[FileVersion],
    entries: Iterable[LedgerEntry],
    found: Mapping[str, int],
    last_run: str | None,
) -> Comparison:
    now = {file.uri: file for file in choose(document, listed, Scope()).files}
    loaded: dict[str, LedgerEntry] = {}
    replayed = False
    for entry in entries:
        replayed |= entry.outcome == _REPLAYED
        if entry.outcome == LOADED and entry.run_id == last_run:
            loaded[entry.uri] = entry
    results = []
    for uri in sorted({*now, *loaded, *found}):
        there, entry_of, file = found.get(uri, 0), loaded.get(uri), now.get(uri)
        if file is not None and (entry_of is None or entry_of.version != file.version):
            verdict: Verdict = "not loaded"
        elif file is None or entry_of is None:
            # The bucket has it no more, or another file is the latest one; or nobody loaded these rows.
            verdict = "extra"
        elif there < entry_of.rows:
            verdict = "missing"
        else:
            more = entry_of.rejects if replayed else 0
            verdict = "extra" if there > entry_of.rows + more else "equal"
        wanted = entry_of.rows if entry_of is not None and file is not None else 0
        results.append(RangeResult(uri, None, wanted, there, verdict))
    return Comparison(tuple(results), (SOURCE_FILE,), (), None)
