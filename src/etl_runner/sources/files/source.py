"""Files of a bucket or container as a source: describe, plan, read. Building it opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from etl_runner.config.connections import BucketConnection
from etl_runner.config.files import FileSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, FileError, Problem
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.sources.base import (
    Description,
    DirectLoad,
    Extract,
    PlanRequest,
    Scope,
    Session,
    SourceColumn,
)
from etl_runner.sources.files.again import chosen_again
from etl_runner.sources.files.store import FileStore, FileVersion
from etl_runner.sources.files.window import Chosen, choose, matching

if TYPE_CHECKING:
    from etl_runner.formats.base import FormatOptions
    from etl_runner.formats.detect import Detected
    from etl_runner.sources.files.look import Looked

_CONFLICTS = 20
"""Sentences about columns that differ between files, in a plan's notes."""


class FilesSource:
    """The files of one bucket that match one pattern."""

    def __init__(
        self,
        document: FileSource,
        connection: BucketConnection,
        open_store: Callable[[], FileStore],
        *,
        source_id: str = "source",
        scope: Scope | None = None,
    ) -> None:
        """
        Args:
            document: the source's document.
            connection: names the bucket and the prefix.
            open_store: gives the store of that bucket, with the connection's own identity.
            source_id: names the source in errors.
            scope: which files a run is about; None: all that match.
        """
        self._document = document
        self._connection = connection
        self._open_store = open_store
        self._source_id = source_id
        self._scope = scope or Scope()
        self._found: tuple[Chosen, Looked | None, Detected | None] | None = None

    def within(self, scope: Scope) -> FilesSource:
        """The same source, about the files of ``scope``."""
        return FilesSource(
            self._document, self._connection, self._open_store, source_id=self._source_id, scope=scope
        )

    def describe(self) -> Description:
        """The columns of the window's files, told from samples.

        Raises:
            FileError: a file cannot be read as the format that the document says, was overwritten and the
                document says ``on_overwrite: fail``, or lacks the key of an upsert.
            RetryableError, PermanentError: the bucket cannot be reached, or refuses.
        """
        chosen, looked, detected = self._window()
        if looked is None or detected is None:
            return Description((), nothing=True)
        _check_keys(self._document, chosen, looked)
        return Description(detected.columns, notes=_notes(looked, detected), nothing=looked.empty)

    def expression(self, column: SourceColumn, destination: BqField) -> str | None:
        """None: files have no queries."""
        del column, destination
        return None

    def plan(self, request: PlanRequest) -> Extract:
        """Cut the window's files into units; see :class:`~etl_runner.sources.base.Source`."""
        from etl_runner.sources.files.cuts import Cutter
        from etl_runner.sources.files.units import cut

        chosen, looked, detected = self._window()
        rate = None if looked is None else looked.rows_per_byte
        direct, not_direct = self._direct(request)
        units: tuple[WorkUnit, ...] = ()
        if chosen.files and direct is None:
            cutter = Cutter(self._open_store(), self._document.file_format, self._options())
            most = request.most_units(None if rate is None else round(chosen.bytes * rate))
            units = cut(chosen.files, request.unit_rows, rate, most, cutter)
        return Extract(
            window=chosen.window(),
            units=units,
            read=self._read(chosen, looked, detected),
            next_watermark=None,
            estimated_rows=0 if not chosen.files else None if rate is None else round(chosen.bytes * rate),
            estimated_bytes=chosen.bytes,
            estimate_how="sizes of the files, and the rows of those that were sampled",
            direct=direct,
            not_direct=not_direct,
            notes=_window_notes(chosen, None if direct is not None else len(units)),
        )

    def _direct(self, request: PlanRequest) -> tuple[DirectLoad | None, str | None]:
        """How BigQuery loads the files itself, or why it does not where the document would let it."""
        from etl_runner.sources.files import direct

        chosen, looked, detected = self._window()
        if looked is None or detected is None or looked.empty or not direct.wanted(self._document):
            return None, None
        why = direct.obstacle(self._document, self._connection, chosen, looked, detected, request)
        return (direct.direct_load(self._document, chosen, looked), None) if why is None else (None, why)

    def session(self, plan: PlanHeader, *, snapshot: bool) -> AbstractContextManager[Session]:
        """Open the bucket for reading units of ``plan``. Versions are fixed in the plan: no snapshot."""
        del snapshot
        return self._session(plan)

    @contextmanager
    def _session(self, plan: PlanHeader) -> Iterator[Session]:
        from etl_runner.sources.files.reader import FilesSession

        yield FilesSession(self._open_store(), self._document, plan)

    def _window(self) -> tuple[Chosen, Looked | None, Detected | None]:
        """Listed and sampled once: describing and planning speak of the same files."""
        if self._found is None:
            store = self._open_store()
            chosen = choose(self._document, self._candidates(store), self._scope)
            if chosen.given and not chosen.files:
                message = f"no file of {self._connection.bucket} that matches is meant: nothing to load again"
                raise ConfigError("backfill", (Problem("--from", message),))
            looked, detected = self._detect(store, chosen) if chosen.files else (None, None)
            self._found = chosen, looked, detected
        return self._found

    def _candidates(self, store: FileStore) -> Iterator[FileVersion]:
        # A catalog is made of what the bucket has, whatever event led to the run.
        if self._scope.files is not None and self._document.load_type != "catalog":
            return iter(self._scope.files)
        files = matching(store, self._connection.prefix, self._document.file_pattern)
        again = self._scope.again
        return files if again is None else chosen_again(files, again, self._connection.prefix)

    def _detect(self, store: FileStore, chosen: Chosen) -> tuple[Looked, Detected]:
        from etl_runner.formats import format_named
        from etl_runner.formats.detect import merge
        from etl_runner.sources.files.look import look, with_unplanned

        reader = format_named(self._document.file_format)
        looked = look(store, chosen.files, reader, self._options(), self._scope.unplanned)
        return looked, merge(with_unplanned(looked.samples, self._scope.unplanned))

    def _options(self) -> FormatOptions:
        from etl_runner.formats.base import FormatOptions

        return FormatOptions.of(self._document.file_format_options)

    def _read(self, chosen: Chosen, looked: Looked | None, detected: Detected | None) -> dict[str, Any]:
        columns = () if detected is None else detected.columns
        return {
            "known": [column.name for column in columns],
            # Files that may differ may lack a column; where all are known to be alike, none does.
            "missing": detected is not None and (detected.differing or bool(looked and looked.unseen)),
            "ignored": [asdict(file) for file in chosen.ignored],
        }


def _check_keys(document: FileSource, chosen: Chosen, looked: Looked) -> None:
    """A file without the key of an upsert: its rows could replace none and would be added again and again.

    Raises:
        FileError: names file and column.
    """
    if document.load_type != "upsert":
        return
    for sample in looked.samples:
        # Of JSON the sample may have ended before the first row that has the key.
        if not sample.seen or not (sample.complete or document.file_format in ("csv", "parquet")):
            continue
        lacking = [name for name in document.primary_key_column if name not in sample.seen]
        # A name that no file has is told with what the source has instead.
        if lacking and any(lacking[0] in other.seen for other in looked.samples):
            raise FileError(
                f"{sample.file} lacks the key column {lacking[0]!r} (primary_key_column), by which an upsert "
                "merges its rows: leave the file out with file_pattern, or add the column to it",
                sample.file,
                next((file.version for file in chosen.files if file.uri == sample.file), ""),
            )


def _notes(looked: Looked, detected: Detected) -> tuple[str, ...]:
    notes = [*detected.conflicts[:_CONFLICTS], *detected.notes[:_CONFLICTS]]
    more = len(detected.conflicts) + len(detected.notes) - len(notes)
    if more > 0:
        notes.append(f"{more} more notes on columns that differ between files")
    if looked.unseen:
        notes.append(
            f"columns and types were told from {len(looked.samples)} files, spread by order and size; "
            f"{looked.unseen} were not looked at"
        )
    return tuple(notes)


def _window_notes(chosen: Chosen, units: int | None) -> tuple[str, ...]:
    into = "" if units is None else f", in {units} units"
    notes = [f"files: {len(chosen.files)} of {chosen.matching} that match{into}"]
    if chosen.ignored:
        names = ", ".join(file.name for file in chosen.ignored[:3])
        more = f" and {len(chosen.ignored) - 3} more" if len(chosen.ignored) > 3 else ""
        notes.append(f"overwritten after they were loaded, and left alone (on_overwrite): {names}{more}")
    return tuple(notes)
