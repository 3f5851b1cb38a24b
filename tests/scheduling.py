"""Which tests a process of pytest-xdist takes, and when.

A module's tests stay in one process, so that what they share is made once; the longest come first, so that
none of them is left when all others are done. Every second process begins with the tests that need servers,
the others with those that need none: fewer servers are started, and who waits for one leaves the processor
to who computes.

xdist's own ``--dist loadgroup`` does not group under pytest 9.2, which has no ``_nodeid`` for it to change.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SERVERS = ("tests/engines/", "tests/functions/", "tests/integration/")
"""Folders of tests that need servers."""

LONGEST = (
    "tests/engines/test_on_stack.py",
    "tests/integration/ops/test_operate.py",
    "tests/engines/test_sources.py",
    "tests/engines/test_distributed.py",
    "tests/integration/exactness/test_service_faults.py",
    "tests/integration/exactness/test_bad_input.py",
    "tests/integration/files/test_clouds.py",
    "tests/infra/test_checks.py",
    "tests/faults/test_every_call.py",
    "tests/unit/doctor/test_doctor.py",
)
"""What takes more than half a minute, roughly in this order."""

SPLIT = ("tests/engines/test_on_stack.py", "tests/infra/test_checks.py")
"""Modules of which each function may run elsewhere: long ones whose functions share nothing."""


def unit_of(nodeid: str) -> str:
    """What stays together with a test: its module, or its function with all parameters."""
    path, _, name = nodeid.partition("::")
    return f"{path}::{name.partition('[')[0]}" if path in SPLIT else path


def rank(unit: str) -> int:
    """How early a unit should begin; the smaller the earlier."""
    path = unit.partition("::")[0]
    return LONGEST.index(path) if path in LONGEST else len(LONGEST)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out units as described above."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        begins_with_servers = list(self.assigned_work).index(node) % 2 == 0
        chosen = min(
            self.workqueue,
            key=lambda unit: (unit.startswith(SERVERS) != begins_with_servers, rank(unit)),
        )
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
