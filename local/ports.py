"""Ports of 127.0.0.1 that are reserved between processes, from before their servers start until they ended.

Finding a port free and letting it go until a server binds it is a race between two stacks that start at
once. So ports are taken in blocks, each with a lock file in a folder of this account that all clones of the
repository share. A lock is the kernel's (``flock``): it ends with its holders, however they end, so there is
nothing to clean up and nothing that a crash leaves behind.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from local.processes import ProcessFailedError, guard_holds

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so
# that a port found free is not taken by a connection before its server binds it.
_PORTS = range(20_000, 32_768)
# About what one topology takes.
_BLOCK = 32


class Ports:
    """Gives out ports, each once."""

    def __init__(
        self,
        folder: Path | None = None,
        ports: range = _PORTS,
        *,
        holder: Callable[[int], None] = guard_holds,
    ) -> None:
        """Nothing is reserved yet.

        Args:
            folder: of the lock files, the same for all who are not to meet; this account's when absent.
            ports: what to choose from.
            holder: told of the descriptor of each lock, to keep it open for longer than this process lives.
        """
        self._folder = folder
        self._ports = ports
        self._holder = holder
        self._lock = threading.Lock()
        self._descriptors: list[int] = []
        self._left: Iterator[int] = iter(())

    def take(self) -> int:
        """A TCP port that nobody listens on and that no one else is given while this process, or a child
        that it started as a :class:`~local.processes.Child`, lives.

        Raises:
            ProcessFailedError: all are taken.
        """
        with self._lock:
            while True:
                for port in self._left:
                    if _free(port):
                        return port
                self._left = iter(self._next_block())

    def close(self) -> None:
        """Let all ports go that nothing else holds. Safe to repeat."""
        with self._lock:
            self._left = iter(())
            while self._descriptors:
                os.close(self._descriptors.pop())

    def _next_block(self) -> range:
        folder = self._folder or _account_folder()
        starts = self._ports[::_BLOCK]
        for start in random.sample(starts, len(starts)):
            descriptor = os.open(folder / str(start), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            self._descriptors.append(descriptor)
            self._holder(descriptor)
            return range(start, min(start + _BLOCK, self._ports.stop))
        raise ProcessFailedError(
            f"No free port between {self._ports.start} and {self._ports.stop - 1} on 127.0.0.1: "
            f"the processes that hold the locks in {folder} have them all."
        )


_process_ports = Ports()


def free_port() -> int:
    """A port of this process's own: see :meth:`Ports.take`."""
    return _process_ports.take()


def _account_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"etl-runner-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
        raise ProcessFailedError(f"{folder} is not a folder of this account's own: remove it.")
    return folder


def _free(port: int) -> bool:
    """Whether nobody listens: those who take no part in the reservations, too."""
    with socket.socket() as probe:
        # As servers do, or a port with connections in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
