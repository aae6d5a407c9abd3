"""One pack, from its first trial to the end of its last: who trains, who leaves, who joins.

It asks the course of the sweep (course.py) for trials until it is full, tells it every epoch of each, and of their
ends. Between two epochs trials leave and new ones join. A trial that cannot be packed trains alone meanwhile, and its
record says why. Where the course is in another process, somebody stands for it here (worker.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol

import numpy as np

from engine.errors import TidegateError
from engine.records import Epoch, Trial, TrialState
from engine.train.fault import fault_of
from engine.train.pack import device
from engine.train.pack.room import Room
from engine.train.pack.together import Again, Together
from engine.train.pack.trial import Alone, PackedTrial
from engine.train.scorer import known_warnings, quieten
from engine.train.sweep import LocalSearch, SweepJob, TrialPlan, failed_trial, make_keeper, write_trial


class Asked(Protocol):
    """What a pack asks of the course of its sweep, as Course answers it."""

    @property
    def job(self) -> SweepJob: ...
    @property
    def paired(self) -> bool: ...
    @property
    def max_failures(self) -> int: ...
    def next(self) -> TrialPlan | None: ...
    def after(self, plan: TrialPlan, epoch: Epoch, losses: Callable[[], np.ndarray | None]) -> str: ...
    def ended(self, plan: TrialPlan) -> bool: ...
    def rests(self, plan: TrialPlan) -> None: ...


class Pack:
    """Trains what the course hands out, `size` trials at once.

    `notes` gives lines for the record of a trial that joins, by its id. `packs`: that share the memory of this machine;
    None: nobody looks at it.
    """

    def __init__(
        self,
        course: Asked,
        together: Together,
        size: int,
        alone: LocalSearch,
        notes: Callable[[str], tuple[str, ...]] = lambda trial: (),
        packs: int | None = None,
    ) -> None:
        self._course, self._together, self._size, self._alone, self._notes = course, together, size, alone, notes
        self._rows = device.Rows(course.job.train)
        self._room = Room(course.job, size, packs) if packs else None
        self._running: list[PackedTrial] = []
        self._failures: Counter[str] = Counter()

    def all(self) -> None:
        """Every trial, to its end. What an interrupt cuts short leaves checkpoints."""
        quieten()
        with known_warnings():
            while self._fill():
                self._epoch()

    def _epoch(self) -> None:
        trials, self._running = self._running, []
        try:
            with closing(self._together.epoch(trials)) as trained:
                for trial, fault in trained:
                    self._trained(trial, fault)
        except BaseException:
            for trial in trials:
                trial.keep()
            raise

    def _trained(self, trial: PackedTrial, fault: Exception | None) -> None:
        """A trial has an epoch behind it, or has failed in it."""
        if isinstance(fault, Again):
            self._join(trial.plan, f"not vectorised: {fault}")
            return
        if fault is None:
            trial.rest()
        if fault is None and not trial.ended:
            self._running.append(trial)
        else:
            self._over(trial.plan, trial.close(fault))

    def _fill(self) -> bool:
        """Let trials join until the pack is full. False where none is left."""
        while not self._is_full() and (plan := self._course.next()) is not None:
            self._join(plan, *self._notes(plan.id))
            self._together.joins(self._running[-1:])
        return bool(self._running)

    def _is_full(self) -> bool:
        return len(self._running) >= self._size or (self._room is not None and self._room.full(self._running))

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
            tensors = self._rows.on(device.of(plan.train))
            trial = PackedTrial(self._course.job, plan, keeper, tensors, after, rows)
        except Alone as why:
            self._train_alone(plan, (*notes, f"trained alone, not in a pack: {why}"))
        except Exception as error:  # whatever a user's model raises is that trial's end, not the sweep's
            failed = failed_trial(plan.id, plan.params, fault_of(error), plan.config)
            self._over(plan, write_trial(self._course.job.folder, failed, b""))
        else:
            keeper.notes.extend(notes)
            if trial.ended:  # its checkpoint says so
                self._over(plan, trial.close())
            else:
                self._running.append(trial)
                if self._room is not None:
                    self._room.joined(trial, tensors)

    def _train_alone(self, plan: TrialPlan, notes: tuple[str, ...]) -> None:
        trial = self._alone.one(self._course, plan, notes)
        if trial is None:
            raise TidegateError(f"{plan.id} rests, and no population was asked for")
        self._over(plan, trial)

    def _over(self, plan: TrialPlan, trial: Trial) -> None:
        """A trial has its record: the course takes it, or it is tried again."""
        if trial.state is TrialState.FAILED and self._failures[plan.id] < self._course.max_failures:
            self._failures[plan.id] += 1
            self._join(plan)
        else:
            self._course.ended(plan)
