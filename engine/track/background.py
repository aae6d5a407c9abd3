"""A thread that carries out what it is handed, in order, so that a slow or silent service keeps nobody waiting."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

Job = Callable[[], None]
PAUSE = 0.01  # seconds between two looks


class Background:
    """Jobs in the order in which they came. For one caller at a time; a job must not raise."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dropping = threading.Event()

    @property
    def idle(self) -> bool:
        """Has nothing been handed over since the last `drain`."""
        return self._thread is None

    def submit(self, job: Job) -> None:
        """Hand over a job; returns at once. The thread starts with the first one."""
        if self._thread is None:
            self._jobs, self._dropping = queue.SimpleQueue(), threading.Event()
            self._thread = threading.Thread(
                target=_work, args=(self._jobs, self._dropping), daemon=True, name=self._name
            )
            self._thread.start()
        self._jobs.put(job)

    def drain(self, patience: float) -> int:
        """Wait until all is done, or `patience` seconds; how many jobs are left undone, which are dropped.

        A job that is under way after that goes on alone; it ends with the process.
        """
        if self._thread is None:
            return 0
        thread, self._thread = self._thread, None
        self._jobs.put(None)
        deadline = time.monotonic() + patience
        while thread.is_alive() and time.monotonic() < deadline:
            thread.join(PAUSE)
        if not thread.is_alive():
            return 0
        left = self._jobs.qsize()  # the job under way has left the queue, and the end mark is in it
        self._dropping.set()
        return max(1, left)


def _work(jobs: queue.SimpleQueue[Job | None], dropping: threading.Event) -> None:
    while (job := jobs.get()) is not None:
        if not dropping.is_set():
            job()
