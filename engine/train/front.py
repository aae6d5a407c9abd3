"""Which trial of a sweep becomes the model: the best one, or, of several metrics, one of the Pareto front.

Of several metrics no trial need be the best. The front holds the trials that none other beats: at least as good in all
metrics, and better in one. The model is the trial of the front that gives up least: each metric is scaled to the range
it has on the front, 0 the best and 1 the worst value there, and the trial with the smallest largest loss is taken, of
equal ones the one that is better in the first metric, then the one that began first (the Chebyshev distance to the
ideal point; Bowman 1976). Values are those of the epoch whose weights are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.records import Trial
from engine.train.searchers import objectives
from engine.train.sweep import best, usable


def chosen(trials: Sequence[Trial], modes: Sequence[str]) -> Trial | None:
    """The trial whose weights are the model; None where no trial may be chosen. `modes`: max or min, a metric each."""
    if len(modes) == 1:
        return best(trials, modes[0])
    found = of(trials, modes)
    if not found:
        return None
    values = _signed(found, modes)
    span = values.max(axis=0) - values.min(axis=0)
    lost = (values.max(axis=0) - values) / np.where(span > 0, span, 1.0)
    return min(zip(found, lost, strict=True), key=lambda pair: (pair[1].max(), pair[1][0]))[0]


def of(trials: Sequence[Trial], modes: Sequence[str]) -> list[Trial]:
    """The trials that no other one beats, in their order; one without a finite value of each metric is none of them."""
    complete = [t for t in usable(trials) if len(v := objectives(t)) == len(modes) and all(map(math.isfinite, v))]
    values = _signed(complete, modes)
    beaten = [bool(((values >= own).all(axis=1) & (values > own).any(axis=1)).any()) for own in values]
    return [trial for trial, lost in zip(complete, beaten, strict=True) if not lost]


def _signed(trials: Sequence[Trial], modes: Sequence[str]) -> np.ndarray:
    """(trials, metrics) float64, more is better."""
    signs = [1.0 if mode == "max" else -1.0 for mode in modes]
    return np.array([objectives(t) for t in trials], dtype=np.float64).reshape(len(trials), len(modes)) * signs
