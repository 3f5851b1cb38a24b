"""The attempts at one unit, the same on every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etl_runner.convert.casting import Casting
from etl_runner.errors import RetryableError
from etl_runner.execution.manifest import Manifest
from etl_runner.execution.readers import Readers
from etl_runner.execution.shard_writer import WriterOptions
from etl_runner.execution.unit import execute_unit
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.state.objects import ObjectStore


class Stopped(RetryableError):  # noqa: N818 - an order that was followed, not something that went wrong
    """The worker was told to stop; its finished units stay finished."""


def attempt_unit(
    readers: Readers,
    unit: WorkUnit,
    header: PlanHeader,
    objects: ObjectStore,
    *,
    workdir: Path,
    pause: Callable[[int, RetryableError], None],
    casting: Casting | None = None,
    known_undone: bool = False,
    snapshot: str | None = None,
    writer: WriterOptions | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Manifest:
    """Try until the unit is done; see :func:`etl_runner.execution.unit.execute_unit` for the arguments.

    ``pause`` is called with the number of the attempt, from 1, and the error that ended it: it waits, or
    raises when there were enough.

    Raises:
        Stopped: at once, wherever it is raised.
        PermanentError: at once.
        RetryableError: from ``pause``.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            with readers.lend() as reader:
                return execute_unit(
                    reader,
                    unit,
                    header,
                    objects,
                    workdir=workdir,
                    casting=casting,
                    # An attempt that failed may have written its manifest all the same.
                    known_undone=known_undone and attempt == 1,
                    snapshot=snapshot,
                    options=writer,
                    on_batch=on_batch,
                )
        except Stopped:
            raise
        except RetryableError as error:
            pause(attempt, error)
