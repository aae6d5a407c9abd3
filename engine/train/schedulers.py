"""Which trials are stopped before their end: one pure function a scheduler, from the curves of all trials.

A curve holds a trial's values from epoch 1 on, signed so that more is better; NaN counts as worse than any number. A
rule looks at nothing else and remembers nothing, so a sweep that was killed decides as it would have: its curves are in
the record. Ray's own schedulers hold their state in objects of the driver, which end with it; `asha` and `median`
decide as they do (tests/engine/train/test_schedulers.py puts the same results through both).

    asha       asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning")
    hyperband  the same in several brackets, whose first rung comes later and later (Li et al. 2018, "Hyperband")
    median     the median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2.1)
    paired     worse than the best on the same rows, with significance (paired.py)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engine.train.conf import SearchConf
from engine.train.naming import index_of

Curves = Mapping[str, Sequence[float]]
Rule = Callable[[str, Curves], str]
"""(trial, the curves of all trials, its own included) to why it is stopped now; empty: it goes on."""


def make_rule(conf: SearchConf, max_epochs: int) -> Rule:
    """The rule that the config names, for trials of at most `max_epochs`; `paired` is made by paired.py."""
    if conf.scheduler == "asha":
        return Halving(conf.grace_period, conf.reduction_factor, 1, max_epochs)
    if conf.scheduler == "hyperband":
        return Halving(conf.grace_period, conf.reduction_factor, conf.brackets, max_epochs)
    if conf.scheduler == "median":
        return Median(conf.grace_period, conf.min_trials)
    return never


def never(trial: str, curves: Curves) -> str:
    """No trial is stopped."""
    return ""


class Halving:
    """Asynchronous successive halving, in one bracket (asha) or several (hyperband).

    At a rung a trial goes on if it is not below the quantile 1 - 1/eta of those that came there before it. The rungs of
    bracket s are grace_period * eta**(s + k), k = 0, 1, ..., as far as `max_epochs` reaches. Brackets take trials in
    turn, in shares of e**rungs as Ray does, and by the index of a trial rather than by chance: a sweep that goes on
    finds each trial in its bracket.
    """

    def __init__(self, grace_period: int, eta: int, brackets: int, max_epochs: int) -> None:
        self.eta = eta
        rungs = [_rungs(grace_period, eta, s, max_epochs) for s in range(brackets)]
        self.rungs = [r for r in rungs if r] or [[]]
        self._order: list[int] = []

    def __call__(self, trial: str, curves: Curves) -> str:
        """Why the trial is stopped; empty where it goes on."""
        epoch, bracket = len(curves[trial]), self.bracket(index_of(trial))
        if epoch not in self.rungs[bracket]:
            return ""
        others = [
            _number(curve[epoch - 1])
            for other, curve in curves.items()
            if other != trial and len(curve) >= epoch and self.bracket(index_of(other)) == bracket
        ]
        known = [value for value in others if value > -math.inf]
        if not known:
            return ""
        cutoff = float(np.percentile(known, (1 - 1 / self.eta) * 100))
        if _number(curves[trial][-1]) >= cutoff:
            return ""
        return f"stopped by the scheduler after epoch {epoch}: below the best 1/{self.eta} of {len(others)} others"

    def bracket(self, index: int) -> int:
        """The bracket of the trial with this index: each in turn the one that is furthest behind its share."""
        sizes = np.array([len(r) for r in self.rungs], dtype=float)
        share = np.exp(sizes - sizes.max())
        share /= share.sum()
        while len(self._order) <= index:
            n = len(self._order)
            counts = np.bincount(self._order, minlength=len(share)) if n else np.zeros(len(share))
            self._order.append(int(np.argmax(share * (n + 1) - counts)))
        return self._order[index]


def _rungs(grace_period: int, eta: int, bracket: int, max_epochs: int) -> list[int]:
    """Epochs at which this bracket looks; the last epoch is none: there is nothing left to stop."""
    found, rung = [], grace_period * eta**bracket
    while rung < max_epochs:
        found.append(rung)
        rung *= eta
    return found


class Median:
    """Stopped is a trial whose best value so far is below the median of the others' means up to the same epoch."""

    def __init__(self, grace_period: int, min_trials: int) -> None:
        self.grace_period, self.min_trials = grace_period, min_trials

    def __call__(self, trial: str, curves: Curves) -> str:
        """Why the trial is stopped; empty where it goes on."""
        own = curves[trial]
        epoch = len(own)
        if epoch < self.grace_period:
            return ""
        means = [
            mean
            for other, curve in curves.items()
            if other != trial
            and len(curve) >= epoch
            and math.isfinite(mean := float(np.mean(curve[self.grace_period - 1 : epoch])))
        ]
        if len(means) < self.min_trials or max(map(_number, own)) >= np.median(means):
            return ""
        return f"stopped by the scheduler after epoch {epoch}: below the median of {len(means)} others"


def _number(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
