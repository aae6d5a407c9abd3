"""A kernel metric with its interval, and the paired difference of two models: what evaluate and monitor both say."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Protocol

import numpy as np

from engine.records import Estimate, Task
from engine.scoring import scores, student
from engine.scoring.agreement import agreement
from engine.scoring.firm import RANKINGS, firm
from engine.scoring.scores import AVERAGED, BY_ROW, absent, as_scored, as_truth, row_losses, score
from kernels.resample import BootstrapResult, MetricOptions, bootstrap, delong, influence

NORMAL = NormalDist()
MIN_CLUSTERS = 5  # so few resampled units give replicates of a handful of values, and no interval that covers
MIN_CLASS_ROWS = 20  # of either class, for an interval of an AUROC; of the one that is sought, of an average precision
MIN_EVENTS = 10  # of either class, for an interval of any other metric of two classes
OF_TAKEN = ("precision_score", "f1_score", "matthews_corrcoef")  # rows that a model takes for the class count, too
MANY = 5000  # of the rarest class: from here neither skewness nor Student's t shows


class IntervalConf(Protocol):
    """What an interval needs of a config; EvaluateConf is one."""

    confidence_level: float
    n_resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Labelled rows: target (N,), ids (N,) int64, cluster (N,) int64 codes or None; the names of classes, if any."""

    task: Task
    target: np.ndarray
    ids: np.ndarray
    cluster: np.ndarray | None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def units(self) -> int:
        """Independent ones: clusters, or rows where they do not come in clusters. Counted once, for it sorts."""
        return len(self) if self.cluster is None else len(np.unique(self.cluster))

    @cached_property
    def rarest(self) -> int:
        """Rows of the rarest label."""
        return int(np.unique(self.target, return_counts=True)[1].min())

    def take(self, mask: np.ndarray) -> Rows:
        """The rows where `mask` (N,) is True, or at these places."""
        cluster = None if self.cluster is None else self.cluster[mask]
        return replace(self, target=self.target[mask], ids=self.ids[mask], cluster=cluster)


def estimate(metric: str, rows: Rows, prediction: np.ndarray, conf: IntervalConf) -> Estimate:
    """The metric of predictions (N,) or (N, C), with its interval.

    DeLong (1988) for AUROC of independent rows, else a bootstrap with Poisson weights keyed by row or cluster: its
    percentiles, or for the calibration error an inverted test, whose interval need not hold the value; rows without any
    error have the exact lower bound of their number. Below MANY rows of a class, and in any regression, it is widened
    to what engine/scoring/firm.py finds that few or skewed rows allow.

    NaN with its reason where it cannot be known: one class only, too few rows of a class or clusters, an error so heavy
    of tail that a few rows make it, a prediction that is not finite; nothing raises because of the rows.
    """
    found = _interval(metric, rows, prediction, None, conf)
    own = [] if found.reason else _contributions(metric, rows, prediction, None)
    return _firm(found, rows, (prediction,), own)


def difference(metric: str, rows: Rows, champion: np.ndarray, challenger: np.ndarray, conf: IntervalConf) -> Estimate:
    """metric(challenger) - metric(champion), paired by row; NaN with its reason as for `estimate`.

    Where the models differ on few rows or none, no narrower than engine/scoring/agreement.py knows it.
    """
    models = champion, challenger
    found = _interval(metric, rows, *models, conf)
    own = [] if found.reason else _contributions(metric, rows, *models)
    return _firm(_honest(found, rows, models), rows, models, own)


def compare(
    metric: str, rows: Rows, champion: np.ndarray, challenger: np.ndarray, conf: IntervalConf
) -> tuple[Estimate, Estimate, Estimate]:
    """(difference, estimate of the champion, estimate of the challenger) as above, in one pass where all three are
    decidable: the weights of a resample are drawn once for all of them.

    A metric of counts is resampled by cells of both models then, so that the intervals of one model come from other
    draws than those of `estimate`; all others are equal to its bits.
    """
    if _undecidable(metric, rows, champion, challenger) or _few(metric, rows, champion, challenger):
        old, new = (estimate(metric, rows, prediction, conf) for prediction in (champion, challenger))
        return difference(metric, rows, champion, challenger, conf), old, new
    models, own = (champion, challenger), _contributions(metric, rows, champion, challenger)
    if _exact(metric, rows):
        found = delong(as_truth(rows.task, rows.target), champion, challenger, confidence_level=conf.confidence_level)
        far = NORMAL.inv_cdf(0.5 + conf.confidence_level / 2.0)
        halves = [far * math.sqrt(found.covariance[m][m]) for m in range(2)]
        ends = [(v, max(v - h, 0.0), min(v + h, 1.0)) for v, h in zip(found.estimates, halves, strict=True)]
        both = (found.estimate, found.low, found.high)
        one, first, second = (_estimate(metric, rows, conf, *numbers, "DeLong") for numbers in (both, *ends))
    else:
        result = _bootstrap(metric, rows, champion, challenger, conf, each=True)
        values = [score(metric, rows.task, rows.target, prediction) for prediction in models]
        alone = zip(values, result.models, strict=True)
        first, second = (_estimate(metric, rows, conf, v, m.low, m.high, _method(rows, conf, m.note)) for v, m in alone)
        method = _method(rows, conf, result.note)
        one = _estimate(metric, rows, conf, result.estimate, result.low, result.high, method)
    return (
        _firm(_honest(one, rows, models), rows, models, own),
        _firm(first, rows, models[:1], own[:1]),
        _firm(second, rows, models[1:], own[1:]),
    )


def _honest(found: Estimate, rows: Rows, models: tuple[np.ndarray, np.ndarray]) -> Estimate:
    """A paired difference, its interval no narrower than the few rows allow on which the models differ."""
    if found.reason:
        return found
    certain, level = found.low == found.high, found.confidence_level
    few = agreement(found.name, rows.task, rows.target, rows.cluster, models, level=level, certain=certain)
    if few is None:
        return found
    if few.reason:
        return replace(found, low=math.nan, high=math.nan, reason=few.reason)
    low, high = min(found.low, found.value - few.below), max(found.high, found.value + few.above)
    return replace(found, low=low, high=high, method=f"{found.method}; {few.note}")


def _firm(found: Estimate, rows: Rows, models: tuple[np.ndarray, ...], own: list[np.ndarray]) -> Estimate:
    return firm(found, rows.task, rows.target, rows.cluster, models, own)


def _contributions(metric: str, rows: Rows, first: np.ndarray, second: np.ndarray | None) -> list[np.ndarray]:
    """What each row weighs (N,) in the metric of each model; empty where nothing is gained by it."""
    if metric == "expected_calibration_error":
        return []
    if rows.task is not Task.REGRESSION and min(rows.rarest, rows.units) >= MANY:
        return []
    name, truth, a, b = _resampled(metric, rows, first, second)
    own = influence(name, truth, a, b, options=_options(metric, rows.task))
    return own if all(np.isfinite(u).all() for u in own) else []


def _interval(metric: str, rows: Rows, first: np.ndarray, second: np.ndarray | None, conf: IntervalConf) -> Estimate:
    reason = _undecidable(metric, rows, first, second)
    if reason:
        return _estimate(metric, rows, conf, math.nan, math.nan, math.nan, "", reason)
    if few := _few(metric, rows, first, second):
        value = score(metric, rows.task, rows.target, first if second is None else second)
        value -= 0.0 if second is None else score(metric, rows.task, rows.target, first)
        return _estimate(metric, rows, conf, value, math.nan, math.nan, "", few)
    if _exact(metric, rows):
        truth = as_truth(rows.task, rows.target)
        exact = delong(truth, first, second, confidence_level=conf.confidence_level)
        return _estimate(metric, rows, conf, exact.estimate, exact.low, exact.high, "DeLong")
    result = _bootstrap(metric, rows, first, second, conf)
    value = score(metric, rows.task, rows.target, first) if second is None else result.estimate
    return _estimate(metric, rows, conf, value, result.low, result.high, _method(rows, conf, result.note))


def _exact(metric: str, rows: Rows) -> bool:
    """Is there a closed form."""
    return metric == "roc_auc_score" and rows.task is Task.BINARY and rows.cluster is None


def _few(metric: str, rows: Rows, *models: np.ndarray | None) -> str:
    """Why an interval of a metric of two classes says nothing, where one has few rows; empty where it may.

    Of two equal models the challenger is seen to be better in 10 % instead of 2.5 %: by DeLong's normal law at two rows
    of a class, by resampled average precisions at three rows of 300 (3.5 % at ten), by log loss in 8 % at three of 100
    where one model pays on the rare class what it wins on the other. Rows that a model takes for the class are as few.
    """
    if rows.task is not Task.BINARY or metric in ("accuracy_score", "expected_calibration_error"):
        return ""
    counts = np.bincount(as_truth(rows.task, rows.target), minlength=2)
    few = int(counts[1]) if metric == "average_precision_score" else int(counts.min())
    least = MIN_CLASS_ROWS if metric in RANKINGS else MIN_EVENTS
    if few < least:
        return f"too few rows of a class ({few} of {least})"
    if metric in OF_TAKEN and models[-1] is not None:
        taken = min(int(as_scored(metric, rows.task, model).sum()) for model in models if model is not None)
        return f"too few rows that a model takes for the class ({taken} of {least})" if taken < least else ""
    return ""


def _bootstrap(
    metric: str,
    rows: Rows,
    first: np.ndarray,
    second: np.ndarray | None,
    conf: IntervalConf,
    *,
    each: bool = False,
) -> BootstrapResult:
    name, truth, a, b = _resampled(metric, rows, first, second)
    return bootstrap(
        name,
        truth,
        a,
        other=b,
        cluster=rows.cluster,
        n_resamples=conf.n_resamples,
        confidence_level=_expanded(conf.confidence_level, rows),
        seed=conf.seed,
        row_ids=rows.ids,
        options=_options(metric, rows.task),
        each=each,
    )


def _expanded(level: float, rows: Rows) -> float:
    """The level whose percentiles cover at `level` where G clusters are resampled.

    Percentiles are too narrow twice: a resample's variance lacks the factor G / (G - 1), and its normal law has not the
    tails of Student's t with G - 1 degrees of freedom (Hesterberg 2015, "What Teachers Should Know about the
    Bootstrap", The American Statistician 69, 5.3). Simulated false passes of a mean at 2.5 %: 5 % with six clusters
    without it, 1.5 to 3 % with it.
    """
    if rows.cluster is None:
        return level
    groups = rows.units
    far = student.ppf(0.5 + level / 2.0, groups - 1) * math.sqrt(groups / (groups - 1))
    return min(2.0 * NORMAL.cdf(far) - 1.0, 1.0 - 1e-9)


def _method(rows: Rows, conf: IntervalConf, note: str) -> str:
    kind = "cluster bootstrap" if rows.cluster is not None else "bootstrap"
    method = f"{kind}, {conf.n_resamples} resamples"
    return f"{method}; {note}" if note else method  # a calibration error may lie above its own interval


def _resampled(
    metric: str, rows: Rows, first: np.ndarray, second: np.ndarray | None
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray | None]:
    """(name, truth, one model, the other) as the bootstrap takes them: a mean of losses by row where that is what
    a metric of many classes is.
    """
    if rows.task is Task.MULTICLASS and metric in BY_ROW:
        a, b = (None if p is None else row_losses(metric, rows.target, p) for p in (first, second))
        assert a is not None  # there is always a first model
        return "mean_absolute_error", np.zeros(len(rows)), a, b
    a, b = (None if p is None else as_scored(metric, rows.task, p) for p in (first, second))
    assert a is not None
    return metric, as_truth(rows.task, rows.target), a, b


def _options(metric: str, task: Task) -> MetricOptions | None:
    """The average over classes that `score` takes, also in a slice where only two of many classes occur."""
    return MetricOptions(average="macro") if task is Task.MULTICLASS and metric in AVERAGED else None


def _undecidable(metric: str, rows: Rows, first: np.ndarray, second: np.ndarray | None) -> str:
    """Why no number can be given; empty where one can."""
    if len(rows) < 2:
        return f"too few rows ({len(rows)})"
    if rows.task is not Task.REGRESSION and len(np.unique(rows.target)) < 2:
        return "the labels are all the same"
    if not all(np.isfinite(p).all() for p in (first, second) if p is not None):
        return "a prediction is not finite"
    if rows.cluster is not None and rows.units < MIN_CLUSTERS:
        return f"too few clusters ({rows.units} of {MIN_CLUSTERS})"
    return absent(metric, rows.task, rows.target, first, rows.classes)


def _lowest_unseen(metric: str, rows: Rows, level: float) -> float:
    """How low a share may truly be of which m independent rows show no miss: ((1 - level) / 2) ** (1 / m), exactly
    (Clopper and Pearson 1934); about 1 - 3.7 / m at 95 %.

    Resampling rows without an error gives rows without an error: an interval without width, which would clear any
    bound. m counts the rows that could have shown one: of the rarer label where the metric looks at one label, pairs
    without a common row for a ranking, whole clusters where rows come in them.
    """
    units = len(rows) if metric == "accuracy_score" else rows.rarest
    if rows.cluster is not None:
        units = min(units, rows.units)
    return float(((1.0 - level) / 2.0) ** (1.0 / units))


def _estimate(
    metric: str,
    rows: Rows,
    conf: IntervalConf,
    value: float,
    low: float,
    high: float,
    method: str,
    reason: str = "",
) -> Estimate:
    if not reason and not all(map(math.isfinite, (value, low, high))):
        reason = "the metric is undefined on too many resamples"
    if not reason and low == high == value == 1.0 and metric in scores.SHARES:
        low = _lowest_unseen(metric, rows, conf.confidence_level)
        method += "; no error was seen: the exact bound of as many rows"
    return Estimate(
        name=metric,
        value=float(value),
        low=float(low),
        high=float(high),
        n=len(rows),
        confidence_level=conf.confidence_level,
        method=method,
        reason=reason,
    )
