"""Why a unit or a task could not be done, for whoever closes the run.

Names in the staging bucket::

    runs/<run_id>/<epoch>/failures/<unit>.json             final: repeating does not help (create-only)
    runs/<run_id>/<epoch>/failures/<unit>-<token>.json     one attempt's, which another may outdo

What concerns no unit (the source cannot be opened) is recorded under ``task-<index>``.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from etl_runner import jsontypes
from etl_runner.errors import EtlError, FileError, ObjectExists, RetryableError, UnplannedColumns
from etl_runner.planning.plan import PlanHeader, run_prefix
from etl_runner.state.objects import ObjectStore


@dataclass(frozen=True)
class Failure:
    """One failure: the unit (or ``task-<index>``), the error's type, one sentence, and whether another
    attempt is pointless. ``uri`` and ``version`` name the file that is to blame, when it is one."""

    unit: str
    type: str
    message: str
    final: bool
    uri: str | None = None
    version: str | None = None
    columns: Sequence[str] = ()
    """Columns of that file which the plan does not know."""

    @classmethod
    def of(cls, unit: str, error: Exception) -> Failure:
        """The record of an error. An error that nobody meant to be read is named by its type alone: its
        message may quote a row's value."""
        meant = isinstance(error, EtlError)
        kind = type(error).__name__
        file = error if isinstance(error, FileError) and error.uri else None
        return cls(
            unit=unit,
            type=kind,
            message=str(error) if meant else f"{kind}: an unexpected error, see the log of the job",
            final=meant and not isinstance(error, RetryableError),
            uri=file.uri if file else None,
            version=file.version if file else None,
            columns=error.columns if isinstance(error, UnplannedColumns) else (),
        )


def failures_prefix(run_id: str, epoch: int) -> str:
    """The folder of a run's failures."""
    return f"{run_prefix(run_id, epoch)}failures/"


def task_key(index: int) -> str:
    """What stands for the unit when a whole task has failed."""
    return f"task-{index:05d}"


def record_failure(objects: ObjectStore, header: PlanHeader, failure: Failure) -> None:
    """Write the failure down; of several final ones of a unit the first stays."""
    name = failure.unit if failure.final else f"{failure.unit}-{secrets.token_hex(4)}"
    with contextlib.suppress(ObjectExists):
        objects.create(
            f"{failures_prefix(header.run_id, header.epoch)}{name}.json", jsontypes.dumps(asdict(failure))
        )


def read_failures(objects: ObjectStore, header: PlanHeader, limit: int = 100) -> list[Failure]:
    """At most ``limit`` failures of the run, final ones first."""
    found: list[Failure] = []
    for info in objects.list(failures_prefix(header.run_id, header.epoch)):
        stored = objects.read(info.name)
        if stored is not None:
            found.append(Failure(**jsontypes.loads(stored.data)))
        if len(found) >= limit:
            break
    return sorted(found, key=lambda failure: not failure.final)
