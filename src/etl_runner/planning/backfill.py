"""What a backfill changes in a plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from etl_runner.commit.ranges import SOURCE_FILE, in_window
from etl_runner.config.database import DatabaseSource
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import (
    GIVEN,
    Destination,
    Disposition,
    PlanHeader,
    PlannedColumn,
    Window,
    WorkUnit,
)
from etl_runner.sources.base import Again, Between
from etl_runner.state.requests import Backfill

if TYPE_CHECKING:
    from etl_runner.config.sources import SourceDocument

MOST_NAMES = 900_000
"""Bytes of the names in a statement. A query is of at most a megabyte:
https://cloud.google.com/bigquery/quotas#query_jobs, "maximum unresolved GoogleSQL query length"."""
_NAMED = 3


def check_backfill(document: SourceDocument, backfill: Backfill) -> None:
    """Refuse what cannot be loaded again in part, and a window of the other kind of source.

    Raises:
        ConfigError: says why, and what to do instead.
    """
    if document.load_type == "catalog" or (
        isinstance(document, DatabaseSource) and document.cursor_column is None
    ):
        message = "a catalog is loaded as a whole; `etl-runner run` does that"
        raise ConfigError("backfill", (Problem("load_type", message),))
    if not isinstance(document, DatabaseSource):
        again_of(document, backfill)
        if document.load_type == "upsert" and document.timestamp_column is None:
            message = (
                "rows of older files would take the place of newer ones, which only a timestamp_column tells"
            )
            raise ConfigError("backfill", (Problem("timestamp_column", message),))
        return
    if backfill.only is not None or backfill.uris is not None:
        raise ConfigError("backfill", (Problem("--only", "chooses files, and this source has none"),))
    problems = [
        Problem(path, "is required: the rows of a window of the cursor are loaded again")
        for path, value in (("--from", backfill.start), ("--to", backfill.end))
        if value is None
    ]
    if problems:
        raise ConfigError("backfill", tuple(problems))


def check_given(window: Window, source_type: str) -> None:
    """Refuse a window that is not the one that was asked for.

    Raises:
        ConfigError: the source type plans regular windows only.
    """
    if window.detail.get("rule") != GIVEN:
        problem = Problem("source_type", f"sources of type {source_type} cannot be backfilled yet")
        raise ConfigError("backfill", (problem,))


def between_of(document: SourceDocument, backfill: Backfill | None) -> Between | None:
    """The window for a database."""
    if backfill is None or not isinstance(document, DatabaseSource):
        return None
    return Between(backfill.start or "", backfill.end or "")


def again_of(document: SourceDocument, backfill: Backfill | None) -> Again | None:
    """The choice for a source of files.

    Raises:
        ConfigError: it is none.
    """
    if backfill is None or isinstance(document, DatabaseSource):
        return None
    from etl_runner.sources.files.again import parse_again

    return parse_again(backfill.start, backfill.end, backfill.only, backfill.uris)


def disposition_of(
    document: SourceDocument, backfill: Backfill | None, destination: Destination, usual: Disposition
) -> Disposition:
    """How the rows become visible. An upsert merges a backfill as well: a key's row may lie outside of the
    window in the destination, so that replacing the window could double it."""
    if backfill is None or document.load_type == "upsert":
        return usual
    return "replace_range" if backfill.mode == "replace" and destination.exists else "append"


def range_column(
    document: SourceDocument, columns: Sequence[PlannedColumn], disposition: Disposition
) -> str | None:
    """The destination's name of the cursor, where a window of it is to be replaced; of files, the column that
    names them."""
    if disposition != "replace_range":
        return None
    if not isinstance(document, DatabaseSource):
        return SOURCE_FILE
    return next((item.destination.name for item in columns if item.source == document.cursor_column), None)


def replaced_files(units: Iterable[WorkUnit], disposition: Disposition) -> tuple[str, ...]:
    """The URIs of the files whose rows give way, each once."""
    if disposition != "replace_range":
        return ()
    return tuple(sorted({file["uri"] for unit in units for file in unit.spec.get("files", ())}))


def check_replaceable(header: PlanHeader, before: Destination, adopted: Collection[str]) -> None:
    """Refuse to replace rows that cannot be found, before anything is read.

    Args:
        header: the plan's.
        before: the destination as it stands.
        adopted: URIs of files that an earlier system loaded.

    Raises:
        ConfigError: the destination does not say of its rows which file they are from, or of some of them; or
            there are too many files.
        PermanentError: of databases, see :func:`in_window`.
    """
    statement = in_window(header)
    if header.window.kind != "files":
        return
    path = before.path
    problem = None
    if SOURCE_FILE not in {field.name for field in before.schema}:
        message = f"{path} has no column {SOURCE_FILE}, so that no rows of a file can be replaced"
        problem = Problem("metadata_columns", f"{message}; backfill with --append")
    elif header.columns and SOURCE_FILE not in header.metadata:
        message = f"{SOURCE_FILE} would not be filled, so that the rows could not be found the next time"
        problem = Problem("metadata_columns", f"{message}; set it to true, or backfill with --append")
    elif unnamed := sorted(set(adopted) & set(header.replaced_files)):
        message = (
            f"{len(unnamed)} files were loaded by an earlier system, whose rows do not name their file: "
            f"{', '.join(unnamed[:_NAMED])}; leave them out, or backfill with --append"
        )
        problem = Problem("--from", message)
    elif len(statement.encode()) > MOST_NAMES:
        message = f"{len(header.replaced_files):,} files are too many for one statement: take fewer at a time"
        problem = Problem("--from", message)
    if problem is not None:
        raise ConfigError("backfill", (problem,))
