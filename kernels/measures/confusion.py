"""Metrics that are functions of a confusion matrix, vectorised over leading axes.

Shapes: a matrix is (..., C, C), rows are true classes, columns predicted ones; values are (...) or (..., C).
Counts may be int64 or float64 (weighted, or replicates). All arithmetic is float64. An undefined value is
NaN, never a silent 0.0 or 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

AVERAGES = ("binary", "macro", "weighted", "micro", None)


def accuracy(matrix: Any) -> Any:
    """Share of rows whose predicted class is the true one; NaN without rows."""
    matrix = matrix.astype(np.float64)
    return _ratio(_diagonal(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy(matrix: Any, *, adjusted: bool = False) -> Any:
    """Mean recall over the classes that have rows; adjusted: 0 is chance and 1 is perfect."""
    matrix = matrix.astype(np.float64)
    recalls = _ratio(_diagonal(matrix), matrix.sum(axis=-1))
    score = _mean_known(recalls)
    if not adjusted:
        return score
    chance = _ratio(np.ones_like(score), (~np.isnan(recalls)).sum(axis=-1).astype(np.float64))
    return _ratio(score - chance, 1.0 - chance)


def precision(matrix: Any, *, average: str | None, positive: int = 1, zero_division: float = np.nan) -> Any:
    """True positives over predicted positives; see `_averaged` for average and zero_division."""
    return _averaged(matrix, average, positive, zero_division, lambda tp, true, pred: (tp, pred))


def recall(matrix: Any, *, average: str | None, positive: int = 1, zero_division: float = np.nan) -> Any:
    """True positives over true rows; see `_averaged` for average and zero_division."""
    return _averaged(matrix, average, positive, zero_division, lambda tp, true, pred: (tp, true))


def f1(matrix: Any, *, average: str | None, positive: int = 1, zero_division: float = np.nan) -> Any:
    """2 TP / (2 TP + FP + FN); see `_averaged` for average and zero_division."""
    return _averaged(matrix, average, positive, zero_division, lambda tp, true, pred: (2.0 * tp, true + pred))


def matthews(matrix: Any) -> Any:
    """Matthews correlation (Gorodkin 2004 for C classes); NaN when all rows share a true or a predicted
    class."""
    matrix = matrix.astype(np.float64)
    true, pred = matrix.sum(axis=-1), matrix.sum(axis=-2)
    rows, correct = true.sum(axis=-1), _diagonal(matrix).sum(axis=-1)
    covariance = correct * rows - (true * pred).sum(axis=-1)
    spread = (rows**2 - (pred**2).sum(axis=-1)) * (rows**2 - (true**2).sum(axis=-1))
    varied = ((true > 0).sum(axis=-1) > 1) & ((pred > 0).sum(axis=-1) > 1)  # weights may round to a spread
    return np.where(varied, _ratio(covariance, np.sqrt(np.maximum(spread, 0.0))), np.nan)


def _averaged(
    matrix: Any,
    average: str | None,
    positive: int,
    zero_division: float,
    parts: Callable[[Any, Any, Any], Any],
) -> Any:
    """One value a class (average None), of the class `positive` ("binary"), or their mean.

    "macro" is the plain mean over classes and "weighted" the mean by true rows, both over the classes whose
    value is defined when zero_division is NaN, as in scikit-learn; "micro" pools the counts of all classes.
    """
    matrix = matrix.astype(np.float64)
    tp, true, pred = _diagonal(matrix), matrix.sum(axis=-1), matrix.sum(axis=-2)
    if average == "binary":
        tp, true, pred = tp[..., positive], true[..., positive], pred[..., positive]
    elif average == "micro":
        tp, true, pred = tp.sum(axis=-1), true.sum(axis=-1), pred.sum(axis=-1)
    over, under = parts(tp, true, pred)
    values = np.where(under > 0, over / np.where(under > 0, under, 1.0), zero_division)
    if average == "macro":
        return _mean_known(values)
    if average == "weighted":
        return weighted_mean(values, true)
    return values


def weighted_mean(values: Any, weight: Any) -> Any:
    """Mean of the values (..., C) that are defined; their plain mean when no weight is left, as in scikit-learn."""
    weight = np.where(np.isnan(values), 0.0, weight)
    total = weight.sum(axis=-1)
    mean = _ratio((weight * np.where(weight > 0, values, 0.0)).sum(axis=-1), total)
    return np.where(total > 0, mean, _mean_known(values))


def _diagonal(matrix: Any) -> Any:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(over: Any, under: Any) -> Any:
    return np.where(under > 0, over / np.where(under > 0, under, 1.0), np.nan)


def _mean_known(values: Any) -> Any:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))
