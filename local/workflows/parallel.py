"""Branches of parallel steps: how many run at once, what an error of one does to the others, and what the
step raises in the end.

https://cloud.google.com/workflows/docs/reference/syntax/parallel-steps
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from local.workflows import limits
from local.workflows.errors import WorkflowError, tagged
from local.workflows.shown import context, payload

Branch = Callable[[threading.Event], object]
"""Runs a branch to its end; raises BranchAborted before its next step once the event is set."""


class BranchAborted(Exception):  # noqa: N818 - a signal inside parallel steps
    """Another branch failed; this one stops before its next step."""


def run_all(branches: Sequence[tuple[str, Branch]], *, concurrency: int | None, continue_all: bool) -> None:
    """Run named branches, at most ``concurrency`` and never more than Workflows allows at the same time.

    Raises:
        WorkflowError: branches failed: the first error that cannot be caught, else one that lists them.
            Unless ``continue_all``, the first failure aborts the others.
    """
    if not branches:
        return
    abort = threading.Event()

    def run(branch: Branch) -> WorkflowError | None:
        try:
            branch(abort)
        except BranchAborted:
            return None
        except WorkflowError as error:
            if not continue_all:
                abort.set()
            return error
        return None

    workers = min(len(branches), concurrency or limits.CONCURRENCY, limits.CONCURRENCY)
    with ThreadPoolExecutor(workers, thread_name_prefix="branch") as pool:
        errors = list(pool.map(run, [branch for _, branch in branches]))
    failed = [(name, error) for (name, _), error in zip(branches, errors, strict=True) if error is not None]
    for _, error in failed:
        if not error.catchable:
            raise error
    if failed:
        listed = [
            {"id": name, "error": {"context": context(error), "payload": payload(error)}}
            for name, error in failed[:100]
        ]
        raise tagged(
            "UnhandledBranchError",
            "One or more branches or iterations encountered an unhandled runtime error",
            branches=listed,
            truncated=len(failed) > len(listed),
        )
