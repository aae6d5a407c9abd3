"""What single rows contribute to a metric.

Shapes: N rows, C classes, Q queries, D documents.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.errors import OptionError


def confidence_and_outcome(y_true: Any, proba: Any) -> tuple[Any, Any]:
    """Confidence and outcome (N,) float64 of each row: codes (N,) with proba (N,), or (N, C) by its
    largest."""
    if proba.ndim == 1:
        return proba.astype(np.float64), y_true.astype(np.float64)
    return proba.max(axis=1).astype(np.float64), (proba.argmax(axis=1) == y_true).astype(np.float64)


def row_loss(loss: str, true: Any, pred: Any, alpha: float) -> Any:
    """The loss of each row, float64 (N,): "absolute", "squared", "root" (squared before its mean) or
    "pinball"."""
    apart = true - pred
    if loss == "absolute":
        return np.abs(apart)
    if loss == "pinball":
        return np.where(apart >= 0, alpha * apart, (alpha - 1.0) * apart)
    return np.square(apart)


def ndcg_by_query(gain: Any, score: Any, *, k: int | None, ignore_ties: bool) -> Any:
    """NDCG of each query: gain and score (Q, D) -> float64 (Q,)."""
    gain = gain.astype(np.float64)
    if gain.size and gain.min() < 0:
        raise OptionError("y_true: a negative gain - NDCG takes gains of 0 and above")
    places = gain.shape[1]
    discount = 1.0 / np.log2(np.arange(places, dtype=np.float64) + 2.0)
    discount[min(k or places, places) :] = 0.0
    discount = np.zeros_like(gain, shape=(places,)) + _like(discount, gain)
    order = np.argsort(score, axis=1)[:, ::-1]
    ranked = np.take_along_axis(gain, order, axis=1)
    if not ignore_ties:
        ranked = _share_ties(ranked, np.take_along_axis(score, order, axis=1))
    best = (np.sort(gain, axis=1)[:, ::-1] * discount).sum(axis=1)
    reached = (ranked * discount).sum(axis=1)
    return np.where(best > 0, reached / np.where(best > 0, best, 1.0), 0.0)


def _like(host: Any, template: Any) -> Any:
    """A small host array on the device of template."""
    return host if isinstance(template, np.ndarray) else np.asarray(host, like=template)


def _share_ties(ranked: Any, score: Any) -> Any:
    """Give every document of a tie group, adjacent along axis 1, the group's mean gain."""
    queries, places = ranked.shape
    new = np.ones_like(score, dtype=bool)
    new[:, 1:] = score[:, 1:] != score[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    size = np.bincount(group).astype(np.float64)
    total = np.bincount(group, weights=ranked.ravel())
    return (total / size)[group].reshape(queries, places)
