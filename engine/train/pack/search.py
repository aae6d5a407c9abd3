"""A sweep whose trials train together in this process: local, as LocalSearch, and many at a time.

The course (course.py) is asked for trials until the pack is full, told every epoch of each, and told of their ends: so
schedulers, searchers, budgets, the record and what goes on after a kill are those of every sweep. Between two epochs
trials leave and new ones join. A trial that cannot be packed trains alone meanwhile, and its record says why.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from engine.errors import TidegateError
from engine.records import Epoch, Trial, TrialState
from engine.train import capacity
from engine.train.conf import SearchConf
from engine.train.course import Course
from engine.train.fit import known_warnings, quieten
from engine.train.loader import as_tensors
from engine.train.pack.together import Again, Together
from engine.train.pack.trial import Alone, PackedTrial
from engine.train.sweep import (
    LocalSearch,
    OnEpoch,
    OnTrial,
    SweepJob,
    TrialPlan,
    failed_trial,
    fault_of,
    make_keeper,
    write_trial,
)

MOST = 64  # trials of a pack, where nobody says how many
SHARE = 8  # tpe, gp: one in so many trials at once; more would be drawn before the others have told anything


class PackSearch:
    """Trials in packs. The order in which things happen depends on the record alone, not on clocks."""

    startup_seconds = 0.0

    def __init__(self, conf: SearchConf) -> None:
        self.conf = conf
        self._alone = LocalSearch(conf)

    def start(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to end."""

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run the trials that have not ended yet."""
        quieten()
        course = Course(self.conf, job, on_epoch, on_trial)
        together = Together(self.conf.workers or capacity.cpus())
        try:
            with known_warnings():
                _Run(course, together, size(self.conf), self._alone).all()
        finally:
            together.close()
        return course.close()


class _Run:
    """One run of one sweep."""

    def __init__(self, course: Course, together: Together, size: int, alone: LocalSearch) -> None:
        self._course, self._together, self._size, self._alone = course, together, size, alone
        self._tensors = as_tensors(course.job.train)
        self._running: list[PackedTrial] = []
        self._failures: Counter[str] = Counter()

    def all(self) -> None:
        """Every trial, to its end."""
        while self._fill():
            faults = self._together.epoch(self._running)
            trials, self._running = self._running, []
            for trial in trials:
                fault = faults.get(trial.plan.id)
                if isinstance(fault, Again):
                    self._join(trial.plan, f"not vectorised: {fault}")
                    continue
                if fault is None:
                    trial.rest()
                if fault is None and not trial.ended:
                    self._running.append(trial)
                else:
                    self._end(trial, fault)

    def _fill(self) -> bool:
        """Let trials join until the pack is full. False where none is left."""
        while len(self._running) < self._size and (plan := self._course.next()) is not None:
            self._join(plan)
        return bool(self._running)

    def _join(self, plan: TrialPlan, *notes: str) -> None:
        """A trial joins the pack, or trains alone to its end where it cannot."""
        keeper = make_keeper(self._course.job, plan)
        losses: Any = None

        def on_rows(found: np.ndarray) -> None:
            nonlocal losses
            losses = found

        def after(epoch: Epoch) -> str:
            return self._course.after(plan, epoch, lambda: losses)

        rows = on_rows if self._course.paired else None
        try:
            trial = PackedTrial(self._course.job, plan, keeper, self._tensors, after, rows)
        except Alone as why:
            self._train_alone(plan, f"trained alone, not in a pack: {why}")
        except Exception as error:  # whatever a user's model raises is that trial's end, not the sweep's
            failed = failed_trial(plan.id, plan.params, fault_of(error), plan.config)
            self._over(plan, write_trial(self._course.job.folder, failed, b""))
        else:
            keeper.notes.extend(notes)
            if trial.ended:  # its checkpoint says so
                self._end(trial, None)
            else:
                self._running.append(trial)

    def _train_alone(self, plan: TrialPlan, note: str) -> None:
        trial = self._alone.one(self._course, plan, (note,))
        if trial is None:
            raise TidegateError(f"{plan.id} rests, and no population was asked for")
        self._over(plan, trial)

    def _end(self, trial: PackedTrial, fault: Exception | None) -> None:
        self._over(trial.plan, trial.close(fault))

    def _over(self, plan: TrialPlan, trial: Trial) -> None:
        """A trial has its record: the course takes it, or it is tried again."""
        if trial.state is TrialState.FAILED and self._failures[plan.id] < self._course.max_failures:
            self._failures[plan.id] += 1
            self._join(plan)
        else:
            self._course.ended(plan)


def size(conf: SearchConf) -> int:
    """Trials of a pack."""
    if conf.pack != "auto":
        wanted = int(conf.pack)
    elif conf.searcher in ("tpe", "gp"):
        wanted = min(MOST, max(1, conf.num_samples // SHARE))
    else:
        wanted = MOST
    return min(wanted, conf.max_concurrent or wanted)
