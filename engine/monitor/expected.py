"""Engine metrics of rows that have probabilities for labels: which kernels compute, and which metric has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import numpy as np

from engine.records import Task
from engine.scoring.scores import AVERAGED, BY_ROW, OF_LABELS, as_scored
from kernels import metrics
from kernels.measures import confusion

LOSSES = {  # regression: the loss of a row whose mean the metric is
    "mean_absolute_error": "absolute",
    "mean_pinball_loss": "absolute",  # at its default alpha of 0.5 half of it
    "mean_squared_error": "squared",
    "root_mean_squared_error": "squared",
}
NO_EXPECTATION = MappingProxyType(
    {
        "expected_calibration_error": "it measures what an estimate without labels has to take for granted",
        "r2_score": "it needs the spread of the labels, which no loss tells",
    }
)
RANKED: dict[str, Callable[..., Any]] = {
    "roc_auc_score": metrics.expected_roc_auc_score,
    "average_precision_score": metrics.expected_average_precision_score,
}
MEANS: dict[str, Callable[..., Any]] = {
    "log_loss": metrics.expected_log_loss,
    "brier_score_loss": metrics.expected_brier_score_loss,
}


def no_expectation(metric: str) -> str:
    """Why a metric is not estimated without labels; empty where it is."""
    why = NO_EXPECTATION.get(metric)
    return f"not estimated without labels: {why}" if why else ""


def expected(
    names: Iterable[str], task: Task, probability: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Each metric (R,) of sets of probabilities (R, M), or (R, M, C), for predictions (M,), or (M, C).

    Averages over classes are those of engine/scoring/scores.py; NaN where it is undefined. Weights are (M,) or (R, M).
    """
    found: dict[str, np.ndarray] = {}
    matrix: Any = None
    for metric in names:
        if metric in OF_LABELS:
            if matrix is None:  # one for all of them
                codes = as_scored(metric, task, prediction)
                matrix = metrics.expected_confusion_matrix(probability, codes, sample_weight=weight)
            found[metric] = np.atleast_1d(_of_counts(metric, task, matrix))
        elif metric in BY_ROW:
            found[metric] = np.atleast_1d(MEANS[metric](probability, prediction, sample_weight=weight))
        else:
            found[metric] = np.atleast_1d(_ranked(RANKED[metric], task, probability, prediction, weight))
    return found


def _ranked(
    function: Callable[..., Any], task: Task, probability: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None
) -> Any:
    """A metric of ranks; of several classes the mean of each against the rest."""
    if task is Task.BINARY:
        return function(probability, prediction, sample_weight=weight)
    classes = range(prediction.shape[1])
    return np.mean([function(probability[..., k], prediction[:, k], sample_weight=weight) for k in classes], axis=0)


def _of_counts(metric: str, task: Task, matrix: Any) -> Any:
    average = "binary" if task is Task.BINARY else "macro"
    if metric in AVERAGED:
        function = {"precision_score": confusion.precision, "recall_score": confusion.recall}.get(metric, confusion.f1)
        return function(matrix, average=average)
    plain: dict[str, Callable[[Any], Any]] = {
        "accuracy_score": confusion.accuracy,
        "balanced_accuracy_score": confusion.balanced_accuracy,
        "matthews_corrcoef": confusion.matthews,
    }
    return plain[metric](matrix)
