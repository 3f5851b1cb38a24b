"""Files that a person wants loaded again: by when they were written, by their names, or one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from etl_runner.config.times import INSTANT_ALLOWED, parse_instant
from etl_runner.errors import ConfigError, Problem
from etl_runner.sources.base import Again
from etl_runner.sources.files.globs import compile_glob
from etl_runner.sources.files.store import FileVersion


def parse_again(
    start: str | None, end: str | None, only: str | None, uris: Iterable[str] | None = None
) -> Again:
    """What a person wrote: ``start`` and ``end`` are instants, UTC without an offset; ``only`` is a glob.

    Raises:
        ConfigError: nothing bounds the files, a bound is no instant, or nothing lies between the two.
    """
    if start is None and end is None and only is None and uris is None:
        message = "files are chosen by when they were written or by name: give --from, --to or --only"
        raise ConfigError("backfill", (Problem("--from", message),))
    bounds = []
    for path, text in (("--from", start), ("--to", end)):
        try:
            bounds.append(None if text is None else parse_instant(text.strip()))
        except ValueError:
            problem = Problem(path, "is no time", found=repr(text), allowed=INSTANT_ALLOWED)
            raise ConfigError("backfill", (problem,)) from None
    first, beyond = bounds
    if first is not None and beyond is not None and beyond <= first:
        raise ConfigError("backfill", (Problem("--to", "does not lie after --from", found=end),))
    return Again(first, beyond, only, None if uris is None else frozenset(uris))


def chosen_again(files: Iterable[FileVersion], again: Again, prefix: str) -> Iterator[FileVersion]:
    """Those of ``files`` that are meant. ``only`` is matched as ``file_pattern`` is, below ``prefix``."""
    glob = None if again.only is None else compile_glob(again.only)
    for file in files:
        if again.uris is not None and file.uri not in again.uris:
            continue
        if glob is not None and not glob.matches(file.name[len(prefix) :]):
            continue
        written = datetime.fromisoformat(file.modified).astimezone(UTC)
        if again.start is not None and written < again.start:
            continue
        if again.end is not None and written >= again.end:
            continue
        yield file
