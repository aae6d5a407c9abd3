"""Exact bounds of shares that few rows decide: accuracy, recall, precision, F1 and the balanced accuracy of one model.

Percentiles of few events miss by their skewness: of 300 rows with nine that are sought, a floor of accuracy was
cleared falsely in 7 % instead of 2.5 %. Each of these metrics is a share of counted rows, or made of two, and a share
k of m has the bounds of Clopper and Pearson (1934), which err at most as often as stated:

    accuracy           right of all rows
    recall             hits of the rows that are sought
    precision          hits of the rows that were taken for it
    F1                 2 J / (1 + J), J: hits of the rows that are sought or were taken for it (Jaccard)
    balanced accuracy  mean of two independent shares; their bounds go together (MOVER: Zou and Donner 2008)
"""

from __future__ import annotations

import math

import numpy as np

from engine.scoring import student

COUNTED = frozenset({"accuracy_score", "recall_score", "precision_score", "f1_score", "balanced_accuracy_score"})
"""Metrics that have such bounds."""
FEW = 300
"""Rows of the rarer answer, hit or miss, from which resampling knows a share as well."""


def exact_ends(metric: str, truth: np.ndarray, label: np.ndarray, level: float) -> tuple[float, float] | None:
    """Bounds of a metric of labels (N,) int64 of independent rows, of which 1 is sought; None where none is known, or
    where events are enough for resampling. Accuracy is that of any number of classes.
    """
    alpha = (1.0 - level) / 2.0
    right = label == truth
    if metric == "accuracy_score":
        return _few_share(int(right.sum()), len(right), alpha)
    sought, taken = truth == 1, label == 1
    hits, positives = int((sought & taken).sum()), int(sought.sum())
    if metric == "recall_score":
        return _few_share(hits, positives, alpha)
    if metric == "precision_score":
        return _few_share(hits, int(taken.sum()), alpha)
    if metric == "f1_score":
        found = _few_share(hits, int((sought | taken).sum()), alpha)
        return None if found is None else (2.0 * found[0] / (1.0 + found[0]), 2.0 * found[1] / (1.0 + found[1]))
    if metric == "balanced_accuracy_score":
        negatives = len(truth) - positives
        return _mean_of(((hits, positives), (int(right.sum()) - hits, negatives)), alpha)
    return None


def share_bounds(hits: int, of: int, alpha: float) -> tuple[float, float]:
    """Clopper and Pearson: the shares at which as many hits or more, and as many or fewer, have the chance alpha."""
    low = 0.0 if hits == 0 else _beta_quantile(alpha, hits, of - hits + 1)
    high = 1.0 if hits == of else _beta_quantile(1.0 - alpha, hits + 1, of - hits)
    return low, high


def _few_share(hits: int, of: int, alpha: float) -> tuple[float, float] | None:
    return share_bounds(hits, of, alpha) if min(hits, of - hits) < FEW else None


def _mean_of(parts: tuple[tuple[int, int], tuple[int, int]], alpha: float) -> tuple[float, float] | None:
    """Of the mean of two independent shares (hits, of)."""
    if all(min(hits, of - hits) >= FEW for hits, of in parts):
        return None
    values = [hits / of if of else 0.5 for hits, of in parts]
    bounds = [share_bounds(hits, of, alpha) for hits, of in parts]
    middle = sum(values) / 2.0
    below = math.hypot(*(value - low for value, (low, _) in zip(values, bounds, strict=True))) / 2.0
    above = math.hypot(*(high - value for value, (_, high) in zip(values, bounds, strict=True))) / 2.0
    return middle - below, middle + above


def _beta_quantile(share: float, a: int, b: int) -> float:
    """By bisection, to 1e-12."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if student.beta(a, b, middle) < share else (low, middle)
    return (low + high) / 2.0
