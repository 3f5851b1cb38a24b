"""Requests: what a person asked of one run, written before the run is started.

``sources/<id>/requests/<run_id>.json`` is create-only, so that everybody who repeats the run does the same.
Only backfills have one; the ids of their runs begin with ``backfill-``, so that no other run looks for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from etl_runner import jsontypes
from etl_runner.errors import PermanentError
from etl_runner.state.objects import ObjectStore

BACKFILL_PREFIX = "backfill-"


@dataclass(frozen=True)
class Backfill:
    """Load the rows whose cursor is at or after ``start`` and before ``end`` again; or the files that were
    written then.

    ``replace`` removes the destination's rows of that window, or of those files, in the statement that
    inserts the new ones; ``append`` leaves them. ``allow_empty``: replace even when the source has no row
    there.
    """

    start: str | None
    end: str | None
    mode: Literal["replace", "append"] = "replace"
    allow_empty: bool = False
    only: str | None = None
    """Files: a glob that narrows the document's."""
    uris: tuple[str, ...] | None = None
    """Files: these and no others."""


class Requests:
    """One source's requests in the state bucket."""

    def __init__(self, objects: ObjectStore, source_id: str) -> None:
        self._objects = objects
        self._prefix = f"sources/{source_id}/requests/"

    def write(self, run_id: str, backfill: Backfill) -> None:
        """Write the request of a run that is about to be started.

        Raises:
            ObjectExists: the run id is taken.
        """
        self._objects.create(f"{self._prefix}{run_id}.json", jsontypes.dumps(asdict(backfill)))

    def read(self, run_id: str) -> Backfill | None:
        """The request of a run; None for a run that is no backfill.

        Raises:
            PermanentError: a backfill's request is gone.
        """
        if not run_id.startswith(BACKFILL_PREFIX):
            return None
        stored = self._objects.read(f"{self._prefix}{run_id}.json")
        if stored is None:
            raise PermanentError(f"run {run_id} has no request: start it with `etl-runner backfill`")
        value = jsontypes.loads(stored.data)
        uris = value.get("uris")
        return Backfill(**{**value, "uris": None if uris is None else tuple(uris)})
