"""Two models that agree on almost every row: how far apart they may truly be, of which the rows at hand show little.

Resampling rows on which nobody differs gives rows on which nobody differs: a paired interval without width, which would
clear any margin on 30 rows. But a difference that was never seen in n rows may still touch a share 1 - alpha^(1/n) of
all rows (the rule of three: 3.7 / n at 97.5 %), and every one of these may move the metric by its whole span.

With few differing units, d of n, the interval is therefore at least

    difference +- span * (U(d) - d) / n,    L(d) and U(d) the exact bounds of a Poisson mean of which d were seen

(Garwood 1936; U(0) = ln(1 / alpha)). It errs at most as often as stated, whatever the differences of the rows are: at
the worst each row that is not seen costs the whole span. Accuracy knows more: on b rows the challenger alone is right,
on c the champion alone, and the bounds of both counts go together (MOVER: Zou and Donner 2008):

    lower bound    (b - c - hypot(b - L(b), U(c) - c)) / n, the upper one likewise

Where nothing differs at all, a margin is cleared from ln(1 / alpha) * span / margin units on. Where many units differ
resampling knows better, and its interval stands.

A metric without a span (an error without a bound, the calibration error, the average precision) has no such interval:
it is undecidable until models that differ on more than MOST_UNSEEN of all rows would have shown it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.records import Task
from engine.scoring.scores import as_scored

FEW = 30
"""Differing units from which a resampled interval is trusted: as many as the gate wants of rows."""
FEW_WRONG = 300
"""The same for rows of which one model alone is right: each moves the accuracy as far as any, and the percentiles of so
few still miss by their skewness.
"""
MOST_UNSEEN = 0.01
"""Without a span: the share of rows that two models may differ on unseen."""
OF_ROWS = ("accuracy_score", "log_loss", "brier_score_loss")  # means over rows; the other ones look at each label apart
BY_LABEL = ("recall_score", "balanced_accuracy_score")  # shares of right answers among rows of one label, or both
SPANS = {
    "accuracy_score": 1.0,
    "brier_score_loss": 1.0,
    "roc_auc_score": 1.0,
    "balanced_accuracy_score": 1.0,
    "recall_score": 1.0,
    "f1_score": 2.0,  # 2 TP / (P + PP): a row that differs moves it by 2 / P at most
}
"""By how much a metric moves, at most, when all units differ; of log_loss see `span`."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How few units differ, and how far below and above its estimate the difference may be for all that."""

    differing: int
    units: int
    below: float  # NaN where the metric has no span and too few units are there
    above: float
    reason: str = ""  # why they are NaN

    @property
    def note(self) -> str:
        """For the method of an estimate."""
        return f"the models differ on {self.differing} of {self.units}: at least the exact bound of as many"


def span(metric: str, task: Task, prediction: np.ndarray) -> float:
    """By how much one unit can move the metric; infinite where nothing bounds it."""
    if task is Task.REGRESSION:
        return math.inf
    if metric == "log_loss":
        return -math.log(np.finfo(prediction.dtype).eps)  # kernels.metrics clips there
    if metric == "brier_score_loss" and prediction.ndim == 2 and prediction.shape[1] > 2:
        return 2.0
    return SPANS.get(metric, math.inf)


def agreement(
    metric: str,
    task: Task,
    target: np.ndarray,
    cluster: np.ndarray | None,
    models: tuple[np.ndarray, np.ndarray],
    *,
    level: float,
    certain: bool,
) -> Agreement | None:
    """None where enough units differ for resampling to be trusted.

    Units are rows, or whole clusters where rows come in them: FEW of them, or half of all, are enough. For metrics that
    look at labels apart the bound counts those of the rarest label. Cost: a pass over the predictions, two sorts of the
    clusters.

    Args:
        metric, task: what is compared.
        target, cluster: (N,) labels, and codes of clusters or None.
        models: predictions (N,) or (N, C) of champion and challenger, finite.
        level: two-sided, of the interval.
        certain: the interval has no width, although predictions may differ: the metric saw no difference.
    """
    one, two = (as_scored(metric, task, prediction) for prediction in models)
    alpha = (1.0 - level) / 2.0
    if metric == "accuracy_score" and cluster is None:
        return _of_answers(one == target, two == target, alpha)
    apart = one != two
    apart = apart.any(axis=1) if apart.ndim == 2 else apart
    every = units = len(target) if cluster is None else len(np.unique(cluster))
    differing = 0 if certain else int(apart.sum())
    if cluster is not None and differing:
        differing = len(np.unique(cluster[apart]))
    if differing >= FEW or 2 * differing >= every:
        by_label = cluster is None and task is Task.BINARY and metric in BY_LABEL
        return _of_labels(metric, target, one == target, two == target, alpha) if by_label else None
    if task is not Task.REGRESSION and metric not in OF_ROWS:
        units = min(units, int(np.unique(target, return_counts=True)[1].min()))
    most, upper = span(metric, task, models[0]), poisson_bounds(differing, alpha)[1]
    if math.isfinite(most):
        half = most * min(1.0, (upper - differing) / units)
        return Agreement(differing=differing, units=units, below=half, above=half)
    if upper <= MOST_UNSEEN * units:
        return None
    needed = math.ceil(upper / MOST_UNSEEN)
    why = f"too few rows or clusters ({units} of {needed}) of models that differ on {differing} of them"
    return Agreement(differing=differing, units=units, below=math.nan, above=math.nan, reason=why)


def _of_answers(one: np.ndarray, two: np.ndarray, alpha: float) -> Agreement | None:
    """Of accuracy on independent rows; one, two: (N,) is champion, challenger right."""
    n, gained, lost = len(one), int((two & ~one).sum()), int((one & ~two).sum())
    if gained + lost >= FEW_WRONG:
        return None
    (few_gained, many_gained), (few_lost, many_lost) = (poisson_bounds(seen, alpha) for seen in (gained, lost))
    below = math.hypot(gained - few_gained, many_lost - lost) / n
    above = math.hypot(many_gained - gained, lost - few_lost) / n
    return Agreement(differing=gained + lost, units=n, below=min(1.0, below), above=min(1.0, above))


def _of_labels(metric: str, target: np.ndarray, one: np.ndarray, two: np.ndarray, alpha: float) -> Agreement | None:
    """Of the share of right answers among rows of the label 1, or its mean over both labels, which are independent."""
    labels = (1,) if metric == "recall_score" else (0, 1)
    parts = [_of_answers(one[target == label], two[target == label], alpha) for label in labels]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    below, above = (math.hypot(*(getattr(part, side) for part in known)) / len(known) for side in ("below", "above"))
    differing, units = (sum(getattr(part, what) for part in known) for what in ("differing", "units"))
    return Agreement(differing=differing, units=units, below=below, above=above)


def poisson_bounds(seen: int, alpha: float) -> tuple[float, float]:
    """Means at which `seen` or more, and `seen` or fewer, events come with probability `alpha` <= 0.5; bisection."""
    ends = []
    for most, share in ((seen - 1, 1.0 - alpha), (seen, alpha)):
        low, high = 0.0, seen + 10.0 * math.sqrt(seen + 1.0) - 2.0 * math.log(alpha)
        for _ in range(60 if most >= 0 else 0):
            middle = (low + high) / 2.0
            term = total = math.exp(-middle)
            for k in range(1, most + 1):
                term *= middle / k
                total += term
            low, high = (middle, high) if total > share else (low, middle)
        ends.append(high if most >= 0 else 0.0)
    return ends[0], ends[1]
