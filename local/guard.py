"""Kills what a process started, once that process is gone. Run as a script; needs nothing but Python.

Reads lines from standard input, a socket: ``add <process group> <signal>``, ``remove <process group>``, and
``hold``, which comes with open files to keep open, and so locked, for as long as this process lives. The
other end closes when its process ends, however it ends. Then every group that is left gets its signal and,
three seconds later, SIGKILL.

A parent-death signal (``PR_SET_PDEATHSIG``) would not do: it fires when the *thread* that started the child
ends, is lost when the child changes its user, and does not reach grandchildren.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator

GRACE_SECONDS = 3.0


def send(group: int, number: int) -> bool:
    """Signal a process group; whether it had a process to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def lines(line: socket.socket) -> Iterator[str]:
    """What arrives until the other end closes; files that come with it are never closed."""
    left = b""
    with contextlib.suppress(ConnectionResetError):
        while data := socket.recv_fds(line, 4096, 16)[0]:
            *whole, left = (left + data).split(b"\n")
            yield from (part.decode() for part in whole)


def main() -> None:
    """Keep the list until the line closes, then clear it."""
    groups: dict[int, int] = {}
    for text in lines(socket.socket(fileno=0)):
        word, *rest = text.split()
        if word == "add":
            groups[int(rest[0])] = int(rest[1])
        elif word == "remove":
            groups.pop(int(rest[0]), None)
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
