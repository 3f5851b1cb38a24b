"""What a backfill changes in a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from etl_runner.config.database import DatabaseSource
from etl_runner.errors import ConfigError, Problem
from etl_runner.planning.plan import Destination, Disposition, PlannedColumn, Window
from etl_runner.sources.base import Between
from etl_runner.state.requests import Backfill

if TYPE_CHECKING:
    from etl_runner.config.sources import SourceDocument


def check_backfill(document: SourceDocument) -> None:
    """Refuse sources that have no windows of a cursor.

    Raises:
        ConfigError: says why, and what to do instead.
    """
    if not isinstance(document, DatabaseSource):
        message = "files are not loaded by a window of time; `etl-runner files` says which are loaded"
        raise ConfigError("backfill", (Problem("source_type", message),))
    if document.load_type == "catalog" or document.cursor_column is None:
        message = "a catalog is loaded as a whole; `etl-runner run` does that"
        raise ConfigError("backfill", (Problem("load_type", message),))


def check_given(window: Window, source_type: str) -> None:
    """Refuse a window that is not the one that was asked for.

    Raises:
        ConfigError: the source type plans regular windows only.
    """
    if window.detail.get("rule") != "given":
        problem = Problem("source_type", f"sources of type {source_type} cannot be backfilled yet")
        raise ConfigError("backfill", (problem,))


def between_of(backfill: Backfill | None) -> Between | None:
    """The window for the source."""
    return None if backfill is None else Between(backfill.start, backfill.end)


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
    """The destination's name of the cursor, where a window of it is to be replaced."""
    if disposition != "replace_range" or not isinstance(document, DatabaseSource):
        return None
    return next((item.destination.name for item in columns if item.source == document.cursor_column), None)
