"""Peak memory of the processes of a group, from outside, as the kernel keeps it for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_PROC = Path("/proc")
_SECONDS = 0.2
_WORKER = b"apache_beam.runners.worker.sdk_worker_main"
"""Beam's worker process, by an argument; the shell that starts it has the same inside a longer one."""


class PeakMemory:
    """Watches a process group while it runs; a context manager.

    The kernel's own high-water mark (``VmHWM``, proc_pid_status(5)) of each process is read again and again:
    what a process still takes after the last look, a fraction of a second before its end, is missing. Systems
    without ``/proc`` give nothing.
    """

    def __init__(self, group: Callable[[], int | None]) -> None:
        """``group`` tells the process group, None while there is none."""
        self._group = group
        self._peaks: dict[int, float] = {}
        self._workers: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def workers(self) -> list[float]:
        """Megabytes (2**20 bytes) of each worker process, the largest first."""
        return sorted((self._peaks[pid] for pid in self._workers), reverse=True)

    @property
    def others(self) -> list[float]:
        """The same of the group's other processes: the one that runs the pipeline."""
        return sorted((mb for pid, mb in self._peaks.items() if pid not in self._workers), reverse=True)

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS):
            group = self._group()
            if group is not None:
                self._look(group)

    def _look(self, group: int) -> None:
        for folder, command in _processes(group):
            try:
                status = (folder / "status").read_text()
            except OSError:
                continue  # it has ended meanwhile
            pid = int(folder.name)
            peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
            if peak is not None:
                self._peaks[pid] = max(self._peaks.get(pid, 0.0), int(peak.split()[1]) / 1024)
            if _WORKER in command:
                self._workers.add(pid)


def sdk_workers(group: int) -> list[int]:
    """Beam's worker processes of a process group."""
    return [int(folder.name) for folder, command in _processes(group) if _WORKER in command]


def _processes(group: int) -> Iterator[tuple[Path, list[bytes]]]:
    """Folder (of /proc) and command line of each process of a group."""
    for folder in _PROC.glob("[0-9]*"):
        try:
            # After the command's name, which may hold anything: state, parent, group.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                yield folder, (folder / "cmdline").read_bytes().split(b"\0")
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
