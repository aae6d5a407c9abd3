"""What a running sweep knows: which trial comes next, which one must stop, which have ended and how.

One object for every backend. It is asked for the next plan, told every epoch, and told when a trial has ended; it
starts from the record on disk, where everything lies that it decides by. All of it happens in the process of the
command, in one thread.

What is remembered has the order of the trials' indices. A trial that was interrupted comes first when the
sweep goes on, with the point it had, and so does a trial that a budget stopped where there is budget left. In a
population (rounds.py) a trial comes again and again, a stretch at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from engine.errors import one_line
from engine.records import Epoch, Trial, TrialState
from engine.train import paired
from engine.train.budget import Budget
from engine.train.conf import SearchConf
from engine.train.naming import index_of, trial_id
from engine.train.rounds import Rounds
from engine.train.schedulers import Rule, make_rule
from engine.train.search_space import Point
from engine.train.searchers import Seen
from engine.train.sweep import (
    REST,
    OnEpoch,
    OnTrial,
    SweepJob,
    TrialPlan,
    best,
    failed_trial,
    forget_trial,
    may_go_on,
    read_point,
    read_trial,
    taken_up,
    write_point,
    write_trial,
)


class Course:
    """One run of a sweep, from its record to its end."""

    def __init__(self, conf: SearchConf, job: SweepJob, on_epoch: OnEpoch, on_trial: OnTrial) -> None:
        self.conf, self.job = conf, job
        self._on_epoch, self._on_trial = on_epoch, on_trial
        self.budget = Budget(conf, job.folder)
        self.training = 0.0  # seconds of the epochs of this run
        self._sign = 1.0 if job.mode == "max" else -1.0
        self._points: list[Point] = []  # by index, of all trials that have begun or will
        self._trials: dict[str, Trial] = {}
        self._curves: dict[str, list[float]] = {}
        self._waiting: deque[int] = deque()
        self._running: dict[str, TrialPlan] = {}
        self._exhausted = False
        self._rules: dict[int, Rule] = {}
        self._rounds = Rounds(conf, job) if job.population and len(job.plans) > 1 else None
        self._recover()

    @property
    def paired(self) -> bool:
        """Does the scheduler look at the losses of single rows."""
        return self.conf.scheduler == "paired"

    @property
    def max_failures(self) -> int:
        """How often a failed trial is tried again; in a population it takes over from another one instead."""
        return 0 if self._rounds else self.conf.max_failures

    # ---- which trial comes next ------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Take what earlier runs left: ended trials, and the points of those that had begun."""
        left = not self.budget.over()
        while (point := self._known(len(self._points))) is not None:
            index = len(self._points)
            self._points.append(point)
            if self._rounds and self._stands(self._rounds, trial_id(index)):
                continue
            trial = taken_up(self.job.folder, trial_id(index))
            if trial is None or (left and may_go_on(trial)):
                self._waiting.append(index)
            else:
                self._remember(trial)

    def _stands(self, rounds: Rounds, trial: str) -> bool:
        """Does a member of a population rest, or has it failed for good: it has no checkpoint to begin again from."""
        failed = None if rounds.resting(trial) else read_trial(self.job.folder, trial, failed=True)
        if failed is not None and failed.state is TrialState.FAILED and rounds.plan(trial).since:
            if rounds.last:
                self._remember(failed)
                return True
            rounds.fell(failed)  # a kill came between the two
        return rounds.resting(trial)

    def _known(self, index: int) -> Point | None:
        """A point that needs no searcher: of the job's own plans, or kept when its trial began."""
        if index < len(self.job.plans):
            return self.job.plans[index].params
        further = self.job.further
        return read_point(self.job.folder, trial_id(index)) if further and index < further.size else None

    def next(self) -> TrialPlan | None:
        """The next trial to run; None where none is left, nothing may be used any more, or those that rest wait for
        those that run (`waits`).

        A point that composes to no trial (no check before the start has met it) is recorded as a failed one.
        """
        while not self.budget.over():
            if self._rounds and not self._waiting:
                self._turn(self._rounds)
            index = self._waiting.popleft() if self._waiting else self._suggested()
            if index is None:
                break
            forget_trial(self.job.folder, trial_id(index))
            plan = self._plan(index)
            if plan is not None:
                self._running[plan.id] = plan
                return plan
        return None

    def _turn(self, rounds: Rounds) -> None:
        """Let the next stretch of a population begin, where all have come as far."""
        on, gone = rounds.turn(self._trials)
        self._waiting.extend(map(index_of, on))
        for trial in gone:
            failed = read_trial(self.job.folder, trial, failed=True)
            if failed is None:
                plan = rounds.plan(trial)
                failed = failed_trial(trial, plan.params, "its checkpoint is gone", plan.config)
                write_trial(self.job.folder, failed, b"")
            self._remember(failed)

    def _suggested(self) -> int | None:
        """The index of a new point; None where there is none."""
        further, index = self.job.further, len(self._points)
        if further is None or index >= further.size or self._exhausted:
            return None
        seen = [Seen(point, self._trials.get(trial_id(i))) for i, point in enumerate(self._points)]
        point = further.searcher.suggest(seen)
        if point is None:
            self._exhausted = True
            return None
        write_point(self.job.folder, trial_id(index), point)
        self._points.append(point)
        return index

    def _plan(self, index: int) -> TrialPlan | None:
        if self._rounds:
            return self._rounds.plan(trial_id(index))
        if index < len(self.job.plans):
            return self.job.plans[index]
        assert self.job.further is not None  # or there would be no such index
        point = self._points[index]
        try:
            return self.job.further.plan(index, point)
        except Exception as error:  # of the config, or of Hydra
            self._remember(write_trial(self.job.folder, failed_trial(trial_id(index), point, one_line(error)), b""))
            return None

    @property
    def left(self) -> int:
        """Trials that may still begin, at most; in a population their stretches."""
        if self.budget.over():
            return 0
        if self._rounds:
            open_ = (plan.id for plan in self.job.plans if plan.id not in self._trials)
            return sum(map(self._rounds.stretches, open_)) - len(self._running)
        new = 0 if self._exhausted else self.job.size - len(self._points)
        return len(self._waiting) + new

    @property
    def waits(self) -> bool:
        """Is there more to come, once a trial that runs has come as far as those that rest."""
        return self._rounds is not None and bool(self._running) and self.left > 0

    # ---- which one must stop ---------------------------------------------------------------------------------------

    def after(self, plan: TrialPlan, epoch: Epoch, losses: Callable[[], np.ndarray | None]) -> str:
        """An epoch ended: why its trial must stop now, or REST; empty where it goes on. `losses` gives those of its
        rows.

        An epoch that was told before takes the place of what followed it: the trial was started anew.
        """
        curve = self._curves.setdefault(plan.id, [])
        curve[epoch.epoch - 1 :] = [self._sign * epoch.value]
        self.training += epoch.seconds
        self.budget.spend(plan.id, epoch.epoch, epoch.seconds, self.job.devices)
        self._on_epoch(plan.id, epoch)
        if self.paired and (found := losses()) is not None:
            paired.write_losses(self.job.folder, plan.id, epoch.epoch, found)
        rest = self._rounds is not None and self._rounds.after(plan.id, epoch)
        if epoch.epoch >= plan.train.max_epochs:
            return ""
        if self._rounds:
            return self.budget.over() or (REST if rest else "")
        return self.budget.over() or self._rule(plan)(plan.id, self._curves)

    def _rule(self, plan: TrialPlan) -> Rule:
        """The scheduler's rule for trials of this many epochs."""
        epochs = plan.train.max_epochs
        if epochs not in self._rules:
            self._rules[epochs] = self._paired(epochs) if self.paired else make_rule(self.conf, epochs)
        return self._rules[epochs]

    def _paired(self, epochs: int) -> Rule:
        return paired.Paired(
            lambda trial, epoch: paired.read_losses(self.job.folder, trial, epoch),
            alpha=self.conf.alpha,
            grace_period=self.conf.grace_period,
            max_epochs=epochs,
            trials=self.job.size,
            clusters=self.job.clusters,
        )

    def rests(self, plan: TrialPlan) -> None:
        """A member of a population has left its checkpoint, and gives its place to others."""
        assert self._rounds is not None
        del self._running[plan.id]
        self._rounds.rests(plan.id)

    # ---- which have ended ------------------------------------------------------------------------------------------

    def ended(self, plan: TrialPlan) -> bool:
        """A trial should have ended: take its record. False while there is none."""
        trial = read_trial(self.job.folder, plan.id, failed=True)
        if trial is None or self._running.pop(plan.id, None) is None:
            return trial is not None
        if not may_go_on(trial):
            self.budget.ended(plan.id)
        if self._rounds and trial.state is TrialState.FAILED and not self._rounds.last:
            self._rounds.fell(trial)
        else:
            self._remember(trial)
        return True

    def taken_away(self, plan: TrialPlan) -> None:
        """A trial that has begun lost its place, and no record tells of it: it goes on, before new ones begin."""
        del self._running[plan.id]
        self._waiting.appendleft(index_of(plan.id))

    def give_up(self, plan: TrialPlan, reason: str) -> None:
        """A trial that has begun and left no record has failed for good."""
        write_trial(self.job.folder, failed_trial(plan.id, plan.params, reason, plan.config), b"")
        self.ended(plan)

    def _remember(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        self._curves[trial.id] = [self._sign * epoch.value for epoch in trial.curve]
        if trial.state is TrialState.FAILED:
            del self._curves[trial.id]  # nothing is held against it
        if self.paired:
            leader = best(tuple(self._trials.values()), self.job.mode)
            for other in self._trials:
                if leader is None or other != leader.id:
                    paired.forget_losses(self.job.folder, other)
        self._on_trial(trial)

    @property
    def unfinished(self) -> list[TrialPlan]:
        """Plans of this run that have begun and left no record."""
        return list(self._running.values())

    def close(self) -> tuple[Trial, ...]:
        """The run is over: all trials that ended, in order. Members of a population for whose next stretch no budget is
        left are stopped by it.
        """
        self.budget.write()
        if self._rounds and (why := self.budget.over()):
            for trial in [plan.id for plan in self.job.plans if plan.id not in self._trials]:
                failed = read_trial(self.job.folder, trial, failed=True) if self._rounds.lost(trial) else None
                told = failed or self._rounds.unfinished(trial, why)
                if told.curve or failed:
                    self._remember(failed or write_trial(self.job.folder, told, b""))
        return tuple(self._trials[name] for name in sorted(self._trials, key=index_of))
