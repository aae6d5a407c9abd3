"""What a sweep may use, and has used: wall time and hours of compute, earlier runs of the same sweep included.

What was used is kept in `<job folder>/spent.json`, written as epochs end, at most once a second, and at the end: a run
that is killed loses the count of its last second. Wall time is that of runs: the hours between a kill and the next
command are nobody's. An epoch that a trial recalls from its checkpoint was counted when it
was trained; one that is trained again costs again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from engine.system import durable
from engine.train.conf import SearchConf

EVERY = 1.0  # seconds between two writings


class Budget:
    """The budget of one run of a sweep."""

    def __init__(self, conf: SearchConf, folder: Path) -> None:
        self._conf, self._path = conf, folder / "spent.json"
        self._began = self._written = time.monotonic()
        self._before, self._compute, self._running = 0.0, 0.0, dict[str, dict[str, float]]()
        self._read()

    def _read(self) -> None:
        """What earlier runs used; nothing where the file is not there, or not whole."""
        try:
            found = json.loads(self._path.read_text())
            before, compute = float(found["wall"]), float(found["compute"])
            running = {str(t): {str(e): float(s) for e, s in epochs.items()} for t, epochs in found["running"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        self._before, self._compute, self._running = before, compute, running

    @property
    def wall(self) -> float:
        """Seconds that this sweep has taken, in all its runs."""
        return self._before + time.monotonic() - self._began

    @property
    def compute(self) -> float:
        """Seconds of a GPU (of a CPU where trials train on it) that epochs have taken, in all runs."""
        return self._compute

    def spend(self, trial: str, epoch: int, seconds: float, devices: float) -> None:
        """An epoch ended on so many GPUs or CPUs. InputError where the disk refuses."""
        known = self._running.setdefault(trial, {})
        if known.get(str(epoch)) != seconds:
            known[str(epoch)] = seconds
            self._compute += seconds * devices
        if time.monotonic() - self._written >= EVERY:
            self.write()

    def ended(self, trial: str) -> None:
        """A trial has its record: it recalls no epoch any more."""
        self._running.pop(trial, None)

    def write(self) -> None:
        """Keep what was used so far."""
        self._written = time.monotonic()
        kept = {"wall": self.wall, "compute": self._compute, "running": self._running}
        durable.write_text(self._path, json.dumps(kept))

    def over(self) -> str:
        """Why no more may be used; empty while there is some left."""
        if self._conf.seconds is not None and self.wall >= self._conf.seconds:
            return f"stopped: the budget is used up (search.time_budget={self._conf.time_budget})"
        hours = self._conf.compute_hours
        if hours is not None and self._compute >= hours * 3600:
            return f"stopped: the budget is used up (search.compute_hours={hours:g})"
        return ""


def of_the_budget(reason: str) -> bool:
    """Was a trial with this reason stopped by a budget: it goes on where there is a larger one."""
    return reason.startswith("stopped: the budget is used up")
