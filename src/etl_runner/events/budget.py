"""A table's operations, and how long to wait before the next one.

BigQuery allows 1,500 operations on a table in a day, failed ones included, and fills that up continuously
(https://cloud.google.com/bigquery/quotas#standard_tables). Each job that a commit submits is noted *before*
it is submitted, whichever source and whoever runs it, so that the count is never too low::

    tables/<project.dataset.table>/operations/<moment>-<job id>.json      in the state bucket, create-only

Events are loaded at once while little was used, and in batches further and further apart as more is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl_runner.errors import ObjectExists
from etl_runner.state.objects import ObjectStore

DAY = timedelta(days=1)
_MOMENT = "%Y%m%dT%H%M%S"
_CLEAN_AFTER = timedelta(days=2)
_MAX_CLEANED = 500


@dataclass(frozen=True)
class Usage:
    """Operations on a table within the last 24 hours, and when the latest one was."""

    used: int
    latest: datetime | None = None


class TableOperations:
    """The operations on all tables of a deployment."""

    def __init__(self, objects: ObjectStore, clock: Callable[[], datetime]) -> None:
        self._objects = objects
        self._clock = clock

    def note(self, table: str, job_id: str) -> None:
        """Count a job that is about to change ``table`` (``project.dataset.table``)."""
        try:
            self._objects.create(f"{_folder(table)}{self._clock():{_MOMENT}}-{job_id}.json", b"{}")
        except ObjectExists:
            return

    def usage(self, table: str, *, clean: bool = True) -> Usage:
        """What was used of the table's day. Notes that are long past are removed on the way, unless told
        otherwise."""
        now = self._clock()
        oldest = f"{now - DAY:{_MOMENT}}"
        names = [info.name[len(_folder(table)) :] for info in self._objects.list(_folder(table))]
        past = [name for name in names if name < f"{now - _CLEAN_AFTER:{_MOMENT}}"]
        for name in past[:_MAX_CLEANED] if clean else ():
            self._objects.delete(_folder(table) + name)
        counted = [name for name in names if name >= oldest]
        if not counted:
            return Usage(0)
        moment = datetime.strptime(counted[-1].partition("-")[0], _MOMENT)
        return Usage(len(counted), moment.replace(tzinfo=now.tzinfo))


def batch_interval(used: int, allowed: int) -> float:
    """Seconds that lie between two batches into a table of whose day ``used`` of ``allowed`` operations are
    used; infinite when none is left.

    With ``fair`` the seconds between batches of two operations (staging and publishing may both count) spread
    evenly over the day, and ``u`` the share used, it is ``fair * u^2 / (1 - u)``: a tenth used 1.4 s, a half
    a minute, nine tenths a quarter of an hour. A steady stream of events settles at three fifths or less.
    """
    if used >= allowed:
        return float("inf")
    share = used / allowed
    return 2 * DAY.total_seconds() / allowed * share * share / (1 - share)


def next_batch(usage: Usage, allowed: int, now: datetime) -> datetime | None:
    """When the next batch may be loaded; now, or in the past, means at once. None: not before some
    operations are a day old."""
    if usage.latest is None:
        return now
    interval = batch_interval(usage.used, allowed)
    return None if interval == float("inf") else usage.latest + timedelta(seconds=interval)


def _folder(table: str) -> str:
    return f"tables/{table}/operations/"
