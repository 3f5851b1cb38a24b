"""The most memory that this process had, for tests that start a process to measure it."""

from __future__ import annotations

from pathlib import Path


def peak_kilobytes() -> int:
    """The peak of resident memory since the program was started (VmHWM, proc_pid_status(5)).

    Not getrusage(2): its figure begins with the peak of the process that started this one, and a test process
    may have more than what it measures.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])
