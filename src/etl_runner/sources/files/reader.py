"""Reading units of files: each file at exactly the version that was planned."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from etl_runner.errors import UnplannedColumns
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.sources.base import Rows
from etl_runner.sources.files.ahead import ahead, opened
from etl_runner.sources.files.look import blamed
from etl_runner.sources.files.store import FileStore, FileVersion

if TYPE_CHECKING:
    from etl_runner.config.files import FileSource
    from etl_runner.formats.base import FormatOptions, Part

log = logging.getLogger(__name__)
_VERSION = ("uri", "name", "version", "size", "modified")
_HEADER_BLOCK = 64 << 10


class FilesReader:
    """Reads the files of units one after the other."""

    def __init__(self, store: FileStore, document: FileSource, plan: PlanHeader) -> None:
        from etl_runner.formats import format_named
        from etl_runner.formats.base import FormatOptions

        self._store = store
        self._document = document
        self._columns = plan.columns
        self._format = format_named(document.file_format)
        known = plan.read.get("known")
        self._options = replace(
            FormatOptions.of(document.file_format_options),
            missing_columns="null" if plan.read.get("missing") else "fail",
            required=frozenset(document.primary_key_column if document.load_type == "upsert" else ()),
            known=None if known is None else frozenset(known),
        )

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        """The rows of the unit's files; see :class:`~etl_runner.sources.base.Reader`.

        Raises:
            RetryableError: the store is unavailable.
            FileReplaced: a file has another version than the planned one, or is gone.
            UnplannedColumns: a file has columns that the plan does not know, and ``schema_drift`` is not
                ``ignore``.
            FileError: a file is damaged, truncated or not of its format.
        """
        specs = unit.spec["files"]
        files = [FileVersion(**{key: spec[key] for key in _VERSION}) for spec in specs]
        if len(files) == 1:
            yield from self._file(files[0], specs[0], None)
            return
        with closing(ahead(self._store, files)) as fetched:
            for file, spec, content in zip(files, specs, fetched, strict=True):
                yield from self._file(file, spec, content)

    def _file(self, file: FileVersion, spec: dict[str, Any], fetched: Future[bytes] | None) -> Iterator[Rows]:
        from etl_runner.formats.base import Opened

        start = spec.get("start")
        options = replace(self._options, on_unplanned=_Notice(file, self._document))
        with blamed(file):
            part = None if start is None else self._part(file, start, spec["end"], options)
            # A part is read from one byte before it: whether that ends a line tells where its first begins.
            whole = self._document.file_format == "parquet"
            begin = 0 if whole or not start else start - 1
            with opened(self._store, file, fetched, begin) as stream:
                for block in self._format.read(Opened(file.uri, stream), options, self._columns, part):
                    yield Rows(block.batch, block.bad, file.uri, block.lines)

    def _part(self, file: FileVersion, start: int, end: int, options: FormatOptions) -> Part:
        from etl_runner.formats.base import Part

        names = None
        if self._document.file_format == "csv" and start:
            with self._store.open(file) as stream:
                names = _header(file, stream, options)
        return Part(start, end, names)


def _header(file: FileVersion, stream: IO[bytes], options: FormatOptions) -> tuple[str, ...]:
    from etl_runner.formats.base import Opened
    from etl_runner.formats.csv import Csv

    return Csv().names(Opened(file.uri, stream), replace(options, block_bytes=_HEADER_BLOCK))


class _Notice:
    """What happens when a file turns out to have columns that the plan does not know."""

    def __init__(self, file: FileVersion, document: FileSource) -> None:
        self._file = file
        self._document = document
        self._told: set[str] = set()

    def __call__(self, names: tuple[str, ...]) -> None:
        """Refuse the columns, or leave them out and say so once."""
        listed = ", ".join(repr(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")
        if self._document.schema_drift != "ignore":
            advice = (
                "the next run looks at this file first and adds them"
                if self._document.schema_drift == "evolve"
                else "schema_drift: fail"
            )
            raise UnplannedColumns(
                f"{self._file.uri} has columns that the plan does not know: {listed}; nothing was loaded, "
                f"{advice}",
                self._file.uri,
                self._file.version,
                names,
            )
        if not self._told.issuperset(names):
            self._told.update(names)
            log.warning(
                "%s has columns that are left out (schema_drift: ignore): %s",
                self._file.uri,
                listed,
                extra={"fields": {"file": self._file.uri, "columns": list(names)}},
            )


class FilesSession:
    """Readers that share one store."""

    def __init__(self, store: FileStore, document: FileSource, plan: PlanHeader) -> None:
        self._store = store
        self._document = document
        self._plan = plan

    @contextmanager
    def reader(self) -> Iterator[FilesReader]:
        """A further reader."""
        yield FilesReader(self._store, self._document, self._plan)
