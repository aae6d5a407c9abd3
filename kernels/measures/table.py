"""One explicit table: metric name -> the family of its sufficient statistics.

cells   counts by (true class, predicted class): resampled by cell, at a cost that does not grow with rows
sums    sums of per-row columns, by bin for the calibration error: resampled by row
ranks   the order of the scores: sorted once, resampled by row along the order
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernels.errors import OptionError

FAMILY: dict[str, str] = {
    "accuracy_score": "cells",
    "average_precision_score": "ranks",
    "balanced_accuracy_score": "cells",
    "brier_score_loss": "sums",
    "expected_calibration_error": "sums",
    "f1_score": "cells",
    "log_loss": "sums",
    "matthews_corrcoef": "cells",
    "mean_absolute_error": "sums",
    "mean_pinball_loss": "sums",
    "mean_squared_error": "sums",
    "ndcg_score": "sums",
    "precision_score": "cells",
    "r2_score": "sums",
    "recall_score": "cells",
    "roc_auc_score": "ranks",
    "root_mean_squared_error": "sums",
}

GREATER_IS_BETTER: dict[str, bool] = {
    name: not name.endswith(("_error", "_loss")) for name in FAMILY
}  # every error and loss is to be small, every score and coefficient large


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricOptions:
    """Options of a metric where it is named instead of called; each is used by the metrics that know it."""

    average: str = "auto"
    """Classes: "auto" is "binary" for two (the greater label is positive) and "macro" for more."""
    multi_class: str = "ovr"
    """AUROC of scores (N, C): "ovr" is each class against the rest, "ovo" each against each."""
    threshold: float = 0.5
    """A floating score (N,) is a probability, and predicts the greater label from this value on."""
    n_bins: int = 15
    norm: str = "l1"
    alpha: float = 0.5
    k: int | None = None

    def __post_init__(self) -> None:
        if self.average not in ("auto", "binary", "macro", "weighted", "micro"):
            raise OptionError(f"average: {self.average!r} - use auto, binary, macro, weighted or micro")
        if self.multi_class not in ("ovr", "ovo"):
            raise OptionError(f"multi_class: {self.multi_class!r} - use ovr or ovo")
        if self.n_bins < 1:
            raise OptionError(f"n_bins: {self.n_bins} - pass at least 1")
        if not 0.0 <= self.alpha <= 1.0:
            raise OptionError(f"alpha: {self.alpha} - pass a quantile level within [0, 1]")
        if self.norm not in ("l1", "l2", "max"):
            raise OptionError(f"norm: {self.norm!r} - use l1, l2 or max")
        if self.k is not None and self.k < 1:
            raise OptionError(f"k: {self.k} - pass at least 1, or None for all places")


def metric_name(metric: str | Callable[..., Any]) -> str:
    """The name of a metric given by name or as a function of kernels.metrics; OptionError when unknown."""
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
    ours = isinstance(metric, str) or getattr(metric, "__module__", "").startswith("kernels.metrics")
    if name not in FAMILY or not ours:
        raise OptionError(f"metric: {name!r} is not known - use one of {', '.join(sorted(FAMILY))}")
    return name
