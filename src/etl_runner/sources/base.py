"""The contract that every source type keeps.

The planner asks a source what it has (:meth:`Source.describe`), decides names and types, and asks for
the extract (:meth:`Source.plan`); a worker, much later and elsewhere, opens a reader from the plan alone
(:meth:`Source.reader`) and reads units as Arrow record batches whose columns bear the destination's names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from etl_runner.convert.fields import BqField
from etl_runner.planning.plan import Destination, PlanHeader, PlannedColumn, Window, WorkUnit

if TYPE_CHECKING:
    import pyarrow as pa

    from etl_runner.convert.rejects import Place
    from etl_runner.formats.base import BadRow, Lines
    from etl_runner.sources.files.store import FileVersion

Known = Callable[[], set[tuple[str, str]]]
"""Reads the ledger at that moment: the (uri, version) of every committed file."""


_UNITS_A_READER = 16
_MOST_ROWS_A_UNIT = 1_000_000


@dataclass(frozen=True)
class SourceColumn:
    """A column as the source has it.

    ``natural`` is the BigQuery field that loses nothing (name still the source's); ``expression`` selects
    it for that field. ``nullable`` is False only where the source enforces it.
    """

    name: str
    type: str
    natural: BqField
    nullable: bool = True
    note: str | None = None
    """For people: a limit of the natural type, e.g. ``values beyond 38 digits are rejected``."""


@dataclass(frozen=True)
class Description:
    """What a source turns out to be: its columns in order, and who it is."""

    columns: tuple[SourceColumn, ...]
    identity: str | None = None
    """Tells this server from another (PostgreSQL: system identifier and database); None where unknown."""
    primary_key: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nothing: bool = False
    """No row is there, so no column needs a place; ``columns`` are those that a header shows, if any."""


@dataclass(frozen=True)
class Again:
    """Files to be loaded again, whether they were loaded or not: those that were written at or after
    ``start`` and before ``end``, match the glob ``only``, and are among ``uris``. None leaves a condition
    out."""

    start: datetime | None = None
    end: datetime | None = None
    only: str | None = None
    uris: frozenset[str] | None = None


@dataclass(frozen=True)
class Scope:
    """Which files a run is about."""

    known: Known = set
    files: tuple[FileVersion, ...] | None = None
    """None: what the bucket has. Given (a run for events): exactly these, minus what is known."""
    unplanned: Mapping[str, str] = field(default_factory=dict)
    """Columns that surprised the run before, and the URI of the file that each was found in."""
    again: Again | None = None
    """A backfill: these files of the bucket, whatever is known."""


@dataclass(frozen=True)
class Between:
    """A window that a person gave: cursors at or after ``start`` and before ``end``, as people write them."""

    start: str
    end: str


@dataclass(frozen=True)
class PlanRequest:
    """What the planner decided before the source cuts its units."""

    columns: tuple[PlannedColumn, ...]
    watermark: Mapping[str, Any] | None
    """The state's watermark: what the last committed plan returned as ``next_watermark``."""
    unit_rows: int
    max_units: int = 9_000
    """A load takes 10,000 URIs, and a unit may have more than one shard."""
    destination: Destination | None = None
    """Where the rows go; the table as it stands, with the columns that the run adds."""
    between: Between | None = None
    """A backfill: this window instead of the next one."""
    readers: int | None = None
    """Units that will be read at the same time, at most; None: cut by ``unit_rows`` alone."""

    def most_units(self, rows: int | None) -> int:
        """How many units are enough for about ``rows`` rows: 16 for each reader, since more would only cost
        the source more queries, but none of more than a million rows."""
        if self.readers is None:
            return self.max_units
        enough = max(_UNITS_A_READER * self.readers, math.ceil((rows or 0) / _MOST_ROWS_A_UNIT))
        return min(self.max_units, enough)


@dataclass(frozen=True)
class DirectQuery:
    """How BigQuery reads a source itself, so that there is nothing to extract."""

    query: str
    """SELECT of exactly the planned columns, by their names at the destination."""
    rows: int | None
    """The rows that it gives, exactly; None where nobody can know."""

    @property
    def reason(self) -> str:
        """Why, for the plan."""
        return "BigQuery reads the source itself: no row has to leave it"

    def to_json(self) -> dict[str, Any]:
        """For the plan."""
        return {"query": self.query, "rows": self.rows}


@dataclass(frozen=True)
class DirectLoad:
    """How BigQuery loads the files of a source itself, so that there is nothing to extract."""

    files: tuple[dict[str, Any], ...]
    """Each file's version (the fields of FileVersion) and its ``rows``, as its footer counts them."""
    staged: bool
    """Into a staging table, published once all files are known to have been the planned versions; else
    straight into the destination."""

    @property
    def reason(self) -> str:
        """Why, for the plan."""
        if self.staged:
            return (
                "BigQuery loads the files itself into a staging table, and publishes it when all of them are "
                "still the planned versions: no file has to be read by a runner"
            )
        return (
            "BigQuery loads the files itself in one job: no file has to be read by a runner; one that is "
            "replaced while the job runs is noticed only afterwards (exact_generation: false)"
        )

    def to_json(self) -> dict[str, Any]:
        """For the plan."""
        rows = sum(file["rows"] for file in self.files)
        return {"files": list(self.files), "rows": rows, "staged": self.staged}


@dataclass(frozen=True)
class Extract:
    """A window cut into units. ``units`` tile the window: each row version of it is in exactly one."""

    window: Window
    units: tuple[WorkUnit, ...]
    read: dict[str, Any]
    next_watermark: dict[str, Any] | None
    estimated_rows: int | None
    estimated_bytes: int | None
    estimate_how: str
    snapshot_possible: bool = False
    """One reader session can read all units in one snapshot."""
    one_instant: bool = False
    """All units are read as of one instant, whatever session reads them."""
    direct: DirectQuery | DirectLoad | None = None
    """BigQuery can do the run alone; then there are no units."""
    not_direct: str | None = None
    """Why it cannot, as the end of a sentence; None for sources that it never can."""
    notes: tuple[str, ...] = ()
    max_connections: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """The next rows of a unit: ``batch`` goes to the converter, ``bad`` are rows of the source that are no
    rows (they count as read and rejected). ``file`` is the URI of the file that they are from; ``lines``
    tells on which line of it a row of the batch begins, where that is known. ``places`` is given instead of
    both where each row of the batch brings its own place: one for each, None for a row of no file."""

    batch: pa.RecordBatch
    bad: tuple[BadRow, ...] = ()
    file: str | None = None
    lines: Lines | None = None
    places: Sequence[Place | None] = ()


class Reader(Protocol):
    """An open session at the source. Not safe for use by two threads at once: ask for one per thread."""

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        """The unit's rows. Column names are the destination's; types those of the source's own wire,
        which the converter casts. Batches are bounded (about 16 MiB), so memory is. The rows of one file
        follow each other.

        Raises:
            RetryableError: connection lost, server restarting, serialization failure.
            PermanentError: the query can never work (table gone, permission missing).
            FileError: one file cannot be read; it says which.
        """


class Session(Protocol):
    """Readers that share one source (and one snapshot, if asked for)."""

    def reader(self) -> AbstractContextManager[Reader]:
        """A further reader; it sees the session's snapshot."""


class Source(Protocol):
    """One configured source. Building it opens nothing; its methods connect as they need."""

    def describe(self) -> Description:
        """Columns and identity.

        Raises:
            ConfigError: table, query or column of the document does not exist or is of the wrong kind.
            RetryableError, PermanentError: the server cannot be reached, or refuses.
        """

    def expression(self, column: SourceColumn, destination: BqField) -> str | None:
        """The select item that reads ``column`` for ``destination`` exactly, or None for files.

        Raises:
            PermanentError: the two types cannot be joined without loss.
        """

    def plan(self, request: PlanRequest) -> Extract:
        """Fix the window and cut it into units. A constant number of short queries, no scan."""

    def session(self, plan: PlanHeader, *, snapshot: bool) -> AbstractContextManager[Session]:
        """Open the source for reading units of ``plan``; with ``snapshot``, all readers of the session
        see one and the same snapshot."""


@runtime_checkable
class FilesOfWindow(Protocol):
    """A source whose columns depend on which files are new; the planner narrows it before it describes."""

    def within(self, scope: Scope) -> Source:
        """The same source, describing and planning what is in ``scope``."""
