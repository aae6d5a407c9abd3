"""Columns in parallel: each column is one task for a thread, for sorts and kernels hold no interpreter lock.

The number of threads is ``KERNELS_NUM_THREADS`` when it is set, else the CPUs this process may use. Results
never depend on it: a column is always computed whole by one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

SERIAL_WORK = 1 << 15
"""Below this many values in all, starting threads costs more than it saves."""


def thread_count() -> int:
    """How many threads to use, at least 1."""
    wanted = os.environ.get("KERNELS_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def map_columns(task: Callable[[int], T], columns: int, work: int) -> list[T]:
    """``[task(0), ..., task(columns - 1)]``; in threads when `work`, in values, is worth it."""
    workers = min(thread_count(), columns)
    if workers <= 1 or work < SERIAL_WORK:
        return [task(column) for column in range(columns)]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, range(columns)))
