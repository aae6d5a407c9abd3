"""An interval as wide as the law of its rows' contributions and exact counts ask for, or none.

What resampling gave is widened where it is too narrow, and never narrowed: by studentized.py for every metric but the
calibration error, by exact.py for shares of counted rows. Rows and models as in intervals.py.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from engine.records import Estimate, Task
from engine.scoring.agreement import BY_LABEL
from engine.scoring.exact import COUNTED, exact_ends, precisions_apart
from engine.scoring.scores import SHARES, as_scored, as_truth
from engine.scoring.studentized import (
    CLUSTERS,
    RESTS_ON,
    heavy,
    logit_ends,
    skewed_ends,
    student_ends,
    tilted_ends,
)
from kernels.resample import Moments, moments, precision_bias

RANKINGS = frozenset({"roc_auc_score", "average_precision_score"})
Bounds = dict[str, tuple[float, float]]  # by the law that they follow from
PAIRED = frozenset({"accuracy_score", "precision_score", *BY_LABEL})
"""Counts of independent rows of which the difference of two models has bounds of its own: agreement.py, exact.py."""


def firm(
    found: Estimate,
    task: Task,
    target: np.ndarray,
    cluster: np.ndarray | None,
    models: tuple[np.ndarray, ...],
    own: list[np.ndarray],
) -> Estimate:
    """The estimate of one model or of a difference, its interval wide enough; undecidable where few rows make it.

    Args:
        found: by resampling or by DeLong.
        task, target, cluster: (N,) labels, and codes of clusters or None.
        models: predictions of one model, or of champion and challenger.
        own: contributions (N,) of each model's rows; none: the interval is wide enough as it is.
    """
    if found.reason or not own:
        return found
    fixed = target if found.name == "roc_auc_score" and task is Task.BINARY and cluster is None else None
    known = moments(own[-1] - own[0] if len(own) > 1 else own[0], cluster=cluster, strata=fixed)
    if _made_by_few(found.name, task, cluster, known, len(models)):
        why = f"too few rows or clusters ({known.units}): {known.effective:.1f} of them make the number"
        return replace(found, low=math.nan, high=math.nan, reason=why)
    bounds = _by_contributions(found, known, task, target, models)
    if cluster is None and found.name in COUNTED:
        bounds |= _exact(found, task, target, models)
    return _widened(found, bounds, share=len(models) == 1 and found.name in SHARES)


def _widened(found: Estimate, bounds: Bounds, *, share: bool) -> Estimate:
    """To the farthest of the bounds, whose laws its method then names. A `share` ends at 0 and 1."""
    first, last = (0.0, 1.0) if share else (-math.inf, math.inf)
    ends = {law: (max(low, first), min(high, last)) for law, (low, high) in bounds.items()}
    ends = {"": (found.low, found.high)} | ends  # of equal ones the first is taken
    lower, upper = min(ends, key=lambda law: ends[law][0]), max(ends, key=lambda law: ends[law][1])
    laws = " and ".join(dict.fromkeys(law for law in (lower, upper) if law))
    method = f"{found.method}; widened by {laws}" if laws else found.method
    return replace(found, low=ends[lower][0], high=ends[upper][1], method=method)


def _made_by_few(metric: str, task: Task, cluster: np.ndarray | None, known: Moments, models: int) -> bool:
    """Errors of a regression have tails. Counts of independent rows have exact bounds, and rankings their own."""
    counted = COUNTED if models == 1 else PAIRED
    if metric in RANKINGS or (metric in counted and cluster is None):
        return False
    return heavy(known, tails=task is Task.REGRESSION, least=RESTS_ON if cluster is None else CLUSTERS)


def _by_contributions(
    found: Estimate, known: Moments, task: Task, target: np.ndarray, models: tuple[np.ndarray, ...]
) -> Bounds:
    value, level = found.value, found.confidence_level
    if known.error == 0.0:
        return {}
    if found.name not in RANKINGS:
        return {"Hall's transform": skewed_ends(value, known, level)}
    if len(models) > 1:
        return {"Student's t": student_ends(value, known, level)}
    if found.name == "roc_auc_score" or task is not Task.BINARY:
        return {"Johnson's t": tilted_ends(value, known, level), "the logit": logit_ends(value, known, level)}
    return {"the logit": logit_ends(value - precision_bias(as_truth(task, target), models[0]), known, level)}


def _exact(found: Estimate, task: Task, target: np.ndarray, models: tuple[np.ndarray, ...]) -> Bounds:
    if task is not Task.BINARY and found.name != "accuracy_score":
        return {}
    truth, level = as_truth(task, target), found.confidence_level
    labels = [as_scored(found.name, task, model) for model in models]
    if len(labels) == 1:
        ends = exact_ends(found.name, truth, labels[0], level)
    else:
        ends = precisions_apart(truth, labels[0], labels[1], level) if found.name == "precision_score" else None
    return {} if ends is None else {"exact counts": ends}
