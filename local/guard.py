"""Kills what a process started, once that process is gone. Run as a script; needs nothing but Python.

Reads lines from standard input, ``add <process group> <signal>`` and ``remove <process group>``, until the
end of the file: the other end of the pipe closes when its process ends, however it ends. Then every group
that is left gets its signal and, three seconds later, SIGKILL.

A parent-death signal (``PR_SET_PDEATHSIG``) would not do: it fires when the *thread* that started the child
ends, is lost when the child changes its user, and does not reach grandchildren.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 3.0


def send(group: int, number: int) -> bool:
    """Signal a process group; whether it had a process to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Keep the list until the pipe closes, then clear it."""
    groups: dict[int, int] = {}
    for line in sys.stdin:
        word, group, *rest = line.split()
        if word == "add":
            groups[int(group)] = int(rest[0])
        else:
            groups.pop(int(group), None)
    left = {group for group, number in groups.items() if send(group, number)}
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if send(group, 0)}
    for group in left:
        send(group, signal.SIGKILL)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
