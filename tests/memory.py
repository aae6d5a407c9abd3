"""Where tests write: into memory, where there is room: a loop of six windows waits for a disk 180 times.

Nothing is proved less: a killed process loses nothing that it handed to the kernel, be it for a disk or not, and what a
power cut takes away is simulated by the steps of `engine.system.durable`, which both go through.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SHARED = Path("/dev/shm")
ROOM = 3 * 2**30  # bytes; containers often have 64 MB there


def in_memory() -> str | None:
    """A folder in memory, as `dir` of tempfile takes it; None where there is none, or little room."""
    usable = SHARED.is_dir() and os.access(SHARED, os.W_OK)
    return str(SHARED) if usable and shutil.disk_usage(SHARED).free > ROOM else None
