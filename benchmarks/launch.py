"""Starts one command, waits for it, and writes what the kernel kept of it.

A process begins with the peak of the one that started it: the kernel keeps it over fork and exec, and
getrusage(2) shows the greater. So what is measured is started by a process that has next to no memory.

``python -I -S launch.py <report> <command> ...`` writes ``{"status", "seconds", "cpu_seconds", "peak"}``:
the exit code (minus the signal), wall and processor seconds, ``ru_maxrss`` as it is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command that the arguments name."""
    report, command = sys.argv[1], sys.argv[2:]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    found = {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss,
    }
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
