"""What many objects of a bucket are now: by a listing where that takes fewer calls than asking for each."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from etl_runner.sources.files.store import FileStore, FileVersion

FEW = 20
"""So many are asked for one by one."""
LISTED = 50
"""Objects that are listed, at most, for each one that is looked for: a page of a thousand for twenty."""
_CONNECTIONS = 16


def current_versions(store: FileStore, names: Collection[str]) -> dict[str, FileVersion | None]:
    """The objects of these names as they are now; None for what is not there.

    Files that arrive together mostly have names that lie together. What a listing of bounded length between
    the first and the last name does not show is asked for by itself, so that only the bucket's own word
    counts for an object that is gone.

    Raises:
        RetryableError, PermanentError: the bucket cannot be read.
    """
    found: dict[str, FileVersion] = {}
    wanted = set(names)
    if len(wanted) > FEW:
        first, last = min(wanted), max(wanted)
        listing = store.list(_common(first, last), first)
        for file in islice(listing, len(wanted) * LISTED):
            if file.name in wanted:
                found[file.name] = file
            if file.name > last or len(found) == len(wanted):
                break
    left = sorted(wanted - found.keys())
    if not left:
        return dict(found)
    with ThreadPoolExecutor(min(_CONNECTIONS, len(left))) as pool:
        return {**found, **dict(zip(left, pool.map(store.head, left), strict=True))}


def _common(first: str, last: str) -> str:
    """What both names begin with."""
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same]
