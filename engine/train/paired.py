"""Paired pruning: a trial is stopped where it is worse than the best so far on the same rows, with significance.

A bare point says little: on a thousand rows two equal models differ by a hundredth of AUROC. So the two are compared
row by row, at the same epoch. Each metric is written as a mean over rows up to terms that vanish, by its influence
values (Hampel 1974); the difference of two models is then a mean of differences, and its one-sided test is Student's t,
with clusters of rows counted as one (Liang and Zeger 1986). For the AUROC this is DeLong's test (1988), clustered
that of Obuchowski (1997); for log loss, squared or absolute error the paired t-test.

Sequentially valid: alpha is spent in equal parts on everything that could be looked at - every epoch from grace_period
to the last but one, and every other trial that could be the best - whatever is looked at in the end (Bonferroni). So a
trial that is as good as whichever trial it is held against is stopped with probability alpha at most, over its whole
run, however often it is looked at, and although the best is the best of many by luck too.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from engine.errors import ConfigError
from engine.records import Task
from engine.scoring import student
from engine.system import durable
from engine.train.schedulers import Curves

LEAST = 30  # rows, or clusters, below which no test of a mean is believed
BY_ROW = {
    "log_loss": "log",
    "brier_score_loss": "squared",
    "accuracy_score": "wrong",
    "mean_absolute_error": "absolute",
    "mean_squared_error": "squared",
    "root_mean_squared_error": "squared",
    "r2_score": "squared",
}
"""Metric -> the loss of a row whose mean orders models as the metric does, on given rows."""


def check_metric(metric: str, task: Task) -> None:
    """ConfigError where trials cannot be told apart row by row by this metric."""
    if metric in BY_ROW or (metric == "roc_auc_score" and task is Task.BINARY):
        return
    cure = f"choose another search.scheduler, or one of {', '.join(sorted(BY_ROW))}, or roc_auc_score of two classes"
    raise ConfigError(
        "search.metric", f"{metric} of a {task.value} model cannot be held row by row, as paired needs", cure
    )


def influence(metric: str, task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Losses of rows (N,) float32, in any order of magnitude: the mean over rows of the difference of two models is the
    difference of their metrics to first order, positive where the first one is worse.

    Predictions as of a model: (N,) or (N, C) probabilities, or values. O(N) but O(N log N) for the AUROC. A prediction
    that is not finite gives NaN, in all rows for the AUROC. The AUROC needs rows of both classes: NaN otherwise.
    """
    if metric == "roc_auc_score":
        return _auroc(target, prediction).astype(np.float32)
    kind = BY_ROW[metric]
    with np.errstate(invalid="ignore"):
        if task is Task.REGRESSION:
            gap = np.abs(target.astype(np.float64) - prediction)
            return np.asarray(gap if kind == "absolute" else np.square(gap), dtype=np.float32)
        table = np.column_stack([1 - prediction, prediction]) if prediction.ndim == 1 else prediction
        codes = target.astype(np.int64)[:, None]
        likely = np.take_along_axis(table, codes, axis=1)[:, 0]
        if kind == "log":
            tiny = np.finfo(prediction.dtype).eps  # the clip of kernels.metrics.log_loss
            return np.asarray(-np.log(np.clip(likely, tiny, 1 - tiny)), dtype=np.float32)
        if kind == "wrong":
            chosen = prediction >= 0.5 if prediction.ndim == 1 else np.argmax(table, axis=1)
            return np.where(np.isfinite(likely), chosen != codes[:, 0], np.nan).astype(np.float32)
        return np.asarray(np.square(table - (codes == np.arange(table.shape[1]))).sum(axis=1), dtype=np.float32)


def _auroc(target: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(N,) whose mean is 1 - AUROC, and which vary as DeLong's structural components (placement values) do."""
    positive = target > 0.5
    n, n1 = len(target), int(positive.sum())
    n0 = n - n1
    if not n0 or not n1 or not np.isfinite(score).all():
        return np.full(n, np.nan)
    lost, share = np.empty(n), np.where(positive, n1 / n, n0 / n)
    for group, winner in ((positive, True), (~positive, False)):
        rivals = np.sort(score[~group])
        beaten = np.searchsorted(rivals, score[group], "left") + np.searchsorted(rivals, score[group], "right")
        lost[group] = 1 - beaten / (2 * len(rivals)) if winner else beaten / (2 * len(rivals))
    loss = lost[positive].mean()
    return np.asarray(loss + (lost - loss) / share)


def pvalue(mine: np.ndarray, best: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """P that losses (N,) on average as low as `best` give a mean difference as large as this; one-sided. 1 where it
    cannot be told: fewer than 30 rows (or clusters), other rows, a value that is not finite, no difference at all.

    Student's t on N - 1 degrees of freedom; `clusters` (N,) codes from 0: rows of a cluster count as one, G - 1.
    """
    if mine.shape != best.shape:
        return 1.0
    gap = mine.astype(np.float64) - best
    if not len(gap) or not np.isfinite(gap).all():
        return 1.0
    mean = gap.mean()
    rest = gap - mean
    if clusters is not None:
        rest = np.bincount(clusters, weights=rest)[np.unique(clusters)]
    groups = len(rest)
    spread = math.sqrt(float(np.square(rest).sum()) * groups / max(1, groups - 1)) / len(gap)
    if groups < LEAST or spread == 0.0:
        return 1.0
    return student.sf(float(mean / spread), groups - 1)


Losses = Callable[[str, int], np.ndarray | None]
"""(trial, epoch) to its losses (N,) on the validation rows; None where they are not known."""


class Paired:
    """The rule: held against the other trial with the best value so far, among those that came as far and whose
    losses are known.
    """

    def __init__(
        self,
        losses: Losses,
        *,
        alpha: float,
        grace_period: int,
        max_epochs: int,
        trials: int,
        clusters: np.ndarray | None = None,
    ) -> None:
        self.losses, self.clusters, self.grace_period = losses, clusters, grace_period
        looks = max(1, max_epochs - grace_period) * max(1, trials - 1)
        self.level = alpha / looks

    def __call__(self, trial: str, curves: Curves) -> str:
        """Why the trial is stopped; empty where it goes on."""
        epoch = len(curves[trial])
        if epoch < self.grace_period:
            return ""
        own = _best(curves[trial])
        rivals = {other: _best(curve) for other, curve in curves.items() if other != trial and len(curve) >= epoch}
        better = sorted((other for other in rivals if rivals[other] > own), key=lambda other: -rivals[other])
        mine = self.losses(trial, epoch)
        leader, best = next(((o, found) for o in better if (found := self.losses(o, epoch)) is not None), ("", None))
        if mine is None or best is None:
            return ""
        p = pvalue(mine, best, self.clusters)
        if p > self.level:
            return ""
        rows = f"on the same {len(mine)} rows"
        return f"stopped by the scheduler after epoch {epoch}: worse than {leader} {rows} (p = {p:.1g})"


def _best(curve: Sequence[float]) -> float:
    return max((value for value in curve if math.isfinite(value)), default=-math.inf)


def losses_path(folder: Path, trial: str, epoch: int) -> Path:
    """Where the losses of an epoch lie: .npy, float32, without pickle."""
    return folder / trial / f"losses-{epoch:04d}.npy"


def write_losses(folder: Path, trial: str, epoch: int, losses: np.ndarray) -> None:
    """Keep the losses (N,) of an epoch; InputError where the disk refuses."""
    content = io.BytesIO()
    np.save(content, losses, allow_pickle=False)
    durable.write_bytes(losses_path(folder, trial, epoch), content.getvalue())


def read_losses(folder: Path, trial: str, epoch: int) -> np.ndarray | None:
    """What was kept; None where it is not there, or not whole."""
    try:
        found = np.load(losses_path(folder, trial, epoch), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype == np.float32 else None


def forget_losses(folder: Path, trial: str) -> None:
    """Remove what was kept of a trial that nobody will be held against any more."""
    for path in (folder / trial).glob("losses-*.npy"):
        durable.remove(path)
