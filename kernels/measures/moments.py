"""Metrics that are functions of sums over rows, vectorised over leading axes.

Shapes: sums and weights are (...); by calibration bin (..., B). All arithmetic is float64; NaN when
undefined.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NORMS = ("l1", "l2", "max")
FLAT = 2.0**-30
"""A spread below this share of its second moment is rounding: the values are constant."""


def mean(total: Any, weight: Any) -> Any:
    """total / weight; NaN where the weight is zero."""
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)


def root_mean(total: Any, weight: Any) -> Any:
    """Square root of total / weight."""
    return np.sqrt(mean(total, weight))


def determination(residual: Any, first: Any, second: Any, weight: Any) -> Any:
    """R^2 = 1 - residual / (second - first^2 / weight).

    first and second are sums of (y - c) and (y - c)^2 for one constant c near the mean of y, without which
    the difference would cancel. NaN without rows of weight and for constant y (up to rounding, see FLAT),
    where scikit-learn says 0.0 or 1.0.
    """
    spread = second - mean(first, weight) * first
    known = spread > FLAT * second
    return np.where(known & (weight > 0), 1.0 - residual / np.where(known, spread, 1.0), np.nan)


def calibration_error(outcome: Any, confidence: Any, rows: Any, *, norm: str = "l1") -> Any:
    """Gap between mean outcome and mean confidence of bins (..., B), weighted by rows.

    "l1" is the expected calibration error (Naeini et al. 2015), "l2" its root mean square form, "max" the
    largest gap over bins that have rows.
    """
    gap = np.where(rows > 0, np.abs(outcome - confidence) / np.where(rows > 0, rows, 1.0), 0.0)
    total = rows.sum(axis=-1)
    if norm == "max":
        return np.where(total > 0, gap.max(axis=-1), np.nan)
    if norm == "l2":
        return np.sqrt(mean((rows * gap * gap).sum(axis=-1), total))
    return mean((rows * gap).sum(axis=-1), total)


def ranking(pairs: Any, positives: Any, negatives: Any) -> Any:
    """AUROC from twice the pairs in order; NaN when a class has no rows."""
    return mean(pairs.astype(np.float64), 2.0 * positives.astype(np.float64) * negatives.astype(np.float64))
