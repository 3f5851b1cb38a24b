"""Where servers of a short life keep their data."""

from __future__ import annotations

import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it is a folder of a random name, 0700
_ROOM = 6 * 1024**3
"""Bytes that must be free."""


def memory_folder() -> Path | None:
    """A folder in memory, where there is one with room. Cloud Storage's stand-in waits for the disk with
    every object it writes, a millisecond to twenty; what is thrown away afterwards need not."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return None
