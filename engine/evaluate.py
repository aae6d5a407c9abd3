"""Stage 6, evaluate: how good is a model on held-out rows, with intervals, beside the champion on the same rows.

Every interval resamples the same rows with the same weights for both models, so that their difference is paired. Where
the rows come in clusters (flights of one day share its weather) whole clusters are resampled: by row the interval
would be several times too narrow. AUROC of independent rows takes DeLong's closed form instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from engine.errors import ConfigError
from engine.intervals import Rows, difference, estimate
from engine.records import Estimate, EvaluationReport, SliceEstimate, Task
from engine.scores import check_metric


@dataclass(kw_only=True, slots=True)
class EvaluateConf:
    """Which metrics, how sure, by which slices."""

    primary: str = "roc_auc_score"
    """The metric that decides: the slices, the decision and the report show it."""
    metrics: list[str] = field(
        default_factory=lambda: [
            "roc_auc_score",
            "average_precision_score",
            "log_loss",
            "brier_score_loss",
            "expected_calibration_error",
        ]
    )
    """All that are computed; names of kernels.metrics."""
    confidence_level: float = 0.95
    """Of every interval."""
    n_resamples: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap's weights."""
    min_slice_rows: int = 500
    """A slice with fewer labelled rows is undecidable, and says so."""

    def __post_init__(self) -> None:
        if self.primary not in self.metrics:
            raise ConfigError("evaluate.primary", f"{self.primary!r} is not computed", "add it to evaluate.metrics")
        if not 0.5 <= self.confidence_level < 1:
            cure = "choose one from 0.5 up to 0.999"
            raise ConfigError("evaluate.confidence_level", f"{self.confidence_level} is no level", cure)
        if self.n_resamples < 100:
            raise ConfigError("evaluate.n_resamples", f"{self.n_resamples} is too few", "use 100 or more")
        if not 0 <= self.seed < 2**64:
            raise ConfigError("evaluate.seed", f"{self.seed} is no seed", "choose one from 0 to 2**64 - 1")
        if self.min_slice_rows < 2:
            raise ConfigError("evaluate.min_slice_rows", f"{self.min_slice_rows} is too few", "use 2 or more")
        if len(set(self.metrics)) < len(self.metrics):
            raise ConfigError("evaluate.metrics", "names a metric twice", "name it once")


def evaluate(
    *,
    model: str,
    champion: str,
    window: str,
    fingerprint: str,
    task: Task,
    target: np.ndarray,
    rows: np.ndarray,
    cluster: np.ndarray | None,
    prediction: np.ndarray,
    champion_prediction: np.ndarray | None,
    slices: Mapping[str, np.ndarray],
    conf: EvaluateConf,
) -> EvaluationReport:
    """Report on N labelled rows.

    Args:
        model, champion: ids; champion is empty where there is none.
        window, fingerprint: which rows these are.
        task: what the label is.
        target: (N,) labels.
        rows: (N,) int64 row ids: the resampling weights are keyed by them.
        cluster: (N,) int64 codes of clusters that are resampled whole; None: rows are independent.
        prediction, champion_prediction: (N,) or (N, C), as models give them.
        slices: column -> (N,) levels as text.
        conf: metrics and intervals.

    Raises:
        ConfigError: a metric that says nothing about this task. What the rows themselves forbid is no error: it is an
            Estimate of NaN with its reason.
    """
    for metric in conf.metrics:
        check_metric(metric, task, "evaluate.metrics")
    every = Rows(task=task, target=target, ids=rows, cluster=cluster)
    differences: tuple[Estimate, ...] = ()
    champion_metrics: tuple[Estimate, ...] = ()
    if champion_prediction is not None:
        differences = tuple(difference(m, every, champion_prediction, prediction, conf) for m in conf.metrics)
        champion_metrics = tuple(estimate(m, every, champion_prediction, conf) for m in conf.metrics)
    return EvaluationReport(
        model=model,
        champion=champion,
        window=window,
        fingerprint=fingerprint,
        n_rows=len(target),
        metrics=tuple(estimate(m, every, prediction, conf) for m in conf.metrics),
        champion_metrics=champion_metrics,
        differences=differences,
        slices=tuple(
            _slice(column, level, levels == level, every, prediction, champion_prediction, conf)
            for column, levels in slices.items()
            for level in np.unique(levels).tolist()
        ),
    )


def _slice(
    column: str,
    level: str,
    mask: np.ndarray,
    rows: Rows,
    prediction: np.ndarray,
    champion_prediction: np.ndarray | None,
    conf: EvaluateConf,
) -> SliceEstimate:
    """The primary metric on the rows of one level; undecidable below `min_slice_rows`."""
    part = rows.take(mask)
    if len(part) < conf.min_slice_rows:
        nothing = undecidable(conf, len(part), f"too few rows ({len(part)} of {conf.min_slice_rows})")
        return SliceEstimate(
            column=column,
            level=level,
            estimate=nothing,
            difference=None if champion_prediction is None else nothing,
        )
    return SliceEstimate(
        column=column,
        level=level,
        estimate=estimate(conf.primary, part, prediction[mask], conf),
        difference=None
        if champion_prediction is None
        else difference(conf.primary, part, champion_prediction[mask], prediction[mask], conf),
    )


def undecidable(conf: EvaluateConf, n: int, reason: str) -> Estimate:
    """The primary metric where it cannot be known."""
    return Estimate(
        name=conf.primary,
        value=float("nan"),
        low=float("nan"),
        high=float("nan"),
        n=n,
        confidence_level=conf.confidence_level,
        method="",
        reason=reason,
    )
