"""Metrics of rows whose labels are not known, only their probabilities: what the metric is expected to be.

Each row i has a label of its own, drawn with probability y_prob[i] and independent of the others given these. The
expectation of a mean over rows is exact. A metric that is a ratio of sums (AUROC, recall, F1) is the ratio of their
expectations, which is the expectation of the metric up to O(1 / M). A label that is known is a probability of 0 or 1:
then every function gives the value of its namesake without `expected_`.

Shapes: M rows, C classes, R sets of probabilities over the same rows (say of a bootstrap): y_prob is (M,) or (R, M),
(M, C) or (R, M, C), and the result float64 () or (R,). Arrays of one library on one device; weights are counts of a
row, (M,) or (R, M): all copies of a row share its label. Cost: one sort of M scores, and O(R M) after it, without R
copies of the scores. NaN: MissingValueError, as a model that answers NaN is not to be scored on the rest in silence.

Source: confidence-based performance estimation (Guillory et al. 2021, Bialek et al. 2024); a row is not paired with
itself here, which matters where rows are few.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arrays import Array, as_working, check_ndim, common_device, missing_rows, namespace, refuse_missing
from kernels.errors import OptionError, ShapeError
from kernels.measures import moments
from kernels.metrics import inputs


def expected_roc_auc_score(y_prob: Array, y_score: Array, *, sample_weight: Array | None = None) -> Any:
    """P(score of a positive > score of a negative) + P(tie) / 2 over pairs of different rows: binary, y_prob (M,) or
    (R, M), y_score (M,). NaN where no pair of a positive and a negative is possible."""
    rows = _binary(y_prob, y_score, sample_weight)
    order, start, stop = _ordered(rows.xp, rows.score)
    positive = rows.positive[:, order]
    # Of two positive rows one is above the other: their pairs, which are none, are half of all pairs of positives.
    if rows.weight is None:
        above = positive @ (0.5 * (start + stop - 1))  # rows below, ties half
    else:
        weight = rows.weight[..., order] + 0.0 * positive
        below = _running(rows.xp, weight)
        above = (positive * (0.5 * (below[:, start] + below[:, stop] - weight))).sum(axis=1)
    total, squares = positive.sum(axis=1), (positive * positive).sum(axis=1)
    pairs = above - 0.5 * (total * total - squares)
    itself = (positive * rows.negative[:, order]).sum(axis=1) if rows.weight is not None else total - squares
    return rows.result(moments.mean(pairs, total * (rows.total - total) - itself), y_prob)


def expected_average_precision_score(y_prob: Array, y_score: Array, *, sample_weight: Array | None = None) -> Any:
    """Sum over score levels of (gain in recall) x precision: binary, y_prob (M,) or (R, M), y_score (M,).

    A positive row is above itself for certain: it counts 1 in its own precision, not its probability.
    """
    rows = _binary(y_prob, y_score, sample_weight)
    order, start, _ = _ordered(rows.xp, rows.score)
    positive, itself = rows.positive[:, order], rows.negative[:, order]
    below = _running(rows.xp, positive)
    true = below[:, -1:] - below[:, start]
    if rows.weight is None:
        gained = ((true + itself) * positive) @ (1.0 / (positive.shape[1] - start))
    else:
        heavier = _running(rows.xp, rows.weight[..., order] + 0.0 * positive)
        gained = (positive * moments.mean(true + itself, heavier[:, -1:] - heavier[:, start])).sum(axis=1)
    return rows.result(moments.mean(gained, positive.sum(axis=1)), y_prob)


def expected_log_loss(y_prob: Array, y_score: Array, *, sample_weight: Array | None = None) -> Any:
    """Mean of -log(score of the label): exact. y_prob (..., M) with y_score (M,), or (..., M, C) with (M, C)."""
    rows = _any(y_prob, y_score, sample_weight)
    least = float(np.finfo(rows.dtype).eps)  # a score that is closer to 0 or 1 counts as this, as in log_loss
    score = rows.xp.clip(rows.score, least, 1.0 - least)
    if score.ndim == 2:
        loss = -(rows.positive * rows.xp.log(score)).sum(axis=(1, 2))
    else:
        loss = rows.sum_of(-rows.xp.log(score), -rows.xp.log1p(-score))
    return rows.result(moments.mean(loss, rows.total), y_prob)


def expected_brier_score_loss(y_prob: Array, y_score: Array, *, sample_weight: Array | None = None) -> Any:
    """Mean squared distance of score and label: exact. Shapes as for `expected_log_loss`; with C > 2 classes the
    squares are summed over them, as `brier_score_loss` does."""
    rows = _any(y_prob, y_score, sample_weight)
    score = rows.score
    if score.ndim == 2:
        apart = (score * score).sum(axis=1, keepdims=True) - 2.0 * score + 1.0  # (M, C): of a row of each class
        loss = (rows.positive * apart).sum(axis=(1, 2)) / (2.0 if score.shape[1] == 2 else 1.0)
    else:
        loss = rows.sum_of((1.0 - score) ** 2, score * score)
    return rows.result(moments.mean(loss, rows.total), y_prob)


def expected_confusion_matrix(y_prob: Array, y_pred: Array, *, sample_weight: Array | None = None) -> Any:
    """Expected rows by true class (rows) and predicted class (columns): exact, float64 (..., C, C).

    y_prob (..., M) for two classes with y_pred (M,) of 0 and 1, or (..., M, C) with codes 0..C-1. Metrics that are
    functions of a confusion matrix take it: kernels.measures.confusion.
    """
    device = namespace(common_device(*(x for x in (y_prob, y_pred, sample_weight) if x is not None)))
    prob = as_working(y_prob, "y_prob").astype(np.float64, copy=False)
    codes = as_working(y_pred, "y_pred")
    check_ndim(codes, "y_pred", 1)
    several = prob.ndim >= 2 and prob.shape[-2:-1] == codes.shape and prob.shape[-1:] != codes.shape
    rows = _rows(device, prob, codes, sample_weight, classes=several)
    count = prob.shape[-1] if several else 2
    if codes.size and not (int(codes.min()) >= 0 and int(codes.max()) < count):  # synchronises
        raise OptionError(f"y_pred: a code outside 0..{count - 1} - pass the place of the predicted class")
    hit = (codes[:, None] == device.arange(count)[None, :]).astype(np.float64)  # (M, C)
    if several:
        return rows.result(device.einsum("rmt,mp->rtp", rows.positive, hit), y_prob)
    true = rows.positive @ hit
    every = hit.sum(axis=0)[None] if rows.weight is None else rows.weight @ hit
    return rows.result(device.stack([every - true, true], axis=1), y_prob)


class _Rows:
    """Checked arguments: probabilities with a leading axis of sets, weighted, and their complement."""

    def __init__(self, xp: Any, prob: Any, score: Any, weight: Any, *, many: bool) -> None:
        self.xp, self.many = xp, many
        self.dtype = score.dtype if score.dtype.kind == "f" else np.dtype(np.float64)
        self.score = score.astype(np.float64, copy=False) if score.dtype.kind == "f" else score
        self.positive = prob if weight is None else prob * weight.reshape(*weight.shape, *(1,) * (prob.ndim - 2))
        self.total = np.full_like(prob, len(score), shape=(1,)) if weight is None else weight.sum(axis=-1).reshape(-1)
        self.weight = weight

    def sum_of(self, positive: Any, negative: Any) -> Any:
        """Sum (R,) of what a row (M,) adds when it is positive, and when it is negative."""
        rest = negative.sum() if self.weight is None else self.weight @ negative
        return self.positive @ (positive - negative) + rest

    @property
    def negative(self) -> Any:
        """Weight (R, M) of the negatives."""
        return (1.0 if self.weight is None else self.weight) - self.positive

    def result(self, value: Any, template: Array) -> Any:
        """Without the axis of sets where none was given."""
        return inputs.result(value if self.many else value[0], template)


def _binary(y_prob: Array, y_score: Array, sample_weight: Array | None) -> _Rows:
    xp = namespace(common_device(*(x for x in (y_prob, y_score, sample_weight) if x is not None)))
    prob = as_working(y_prob, "y_prob").astype(np.float64, copy=False)
    score = as_working(y_score, "y_score")
    check_ndim(score, "y_score", 1)
    return _rows(xp, prob, score, sample_weight, classes=False)


def _any(y_prob: Array, y_score: Array, sample_weight: Array | None) -> _Rows:
    xp = namespace(common_device(*(x for x in (y_prob, y_score, sample_weight) if x is not None)))
    prob = as_working(y_prob, "y_prob").astype(np.float64, copy=False)
    score = as_working(y_score, "y_score")
    check_ndim(score, "y_score", 1, 2)
    return _rows(xp, prob, score, sample_weight, classes=score.ndim == 2)


def _rows(xp: Any, prob: Any, score: Any, sample_weight: Array | None, *, classes: bool) -> _Rows:
    """Probabilities (R, M) or (R, M, C) that fit the scores, or an error that names the argument."""
    own = 2 if classes else 1
    check_ndim(prob, "y_prob", own, own + 1)
    wanted = score.shape if score.ndim == own else (*score.shape, prob.shape[-1])
    if prob.shape[prob.ndim - own :] != wanted:
        raise ShapeError(f"y_prob: shape {tuple(prob.shape)} does not end with {tuple(wanted)} - pass one for each row")
    missing = missing_rows(score)  # synchronises
    if not isinstance(missing, bool):
        refuse_missing(int(missing.sum()), "y_score")
    if prob.size and not (float(prob.min()) >= 0.0 and float(prob.max()) <= 1.0):  # synchronises; False for NaN
        raise OptionError("y_prob: a value outside 0..1 or missing - pass probabilities of the labels")
    weight = None
    if sample_weight is not None:
        weight = as_working(sample_weight, "sample_weight").astype(np.float64, copy=False)
        check_ndim(weight, "sample_weight", 1, 2)
        if weight.size and not (float(weight.min()) >= 0.0 and float(weight.max()) < np.inf):  # synchronises
            raise OptionError("sample_weight: a weight below 0, infinite or missing - pass counts of 0 and above")
    many = prob.ndim > own
    whole = prob if many else prob[None]
    if weight is not None and weight.ndim == 2:
        many = True
    return _Rows(xp, whole, score, weight, many=many)


def _ordered(xp: Any, score: Any) -> tuple[Any, Any, Any]:
    """Order (M,) by rising score, a slice where they rise already, and where the ties of each row begin and end."""
    rises = bool((score[1:] >= score[:-1]).all())  # synchronises; rows in order need not be copied
    order = slice(None) if rises else xp.argsort(score)
    sorted_ = score[order]
    return order, xp.searchsorted(sorted_, sorted_, side="left"), xp.searchsorted(sorted_, sorted_, side="right")


def _running(xp: Any, values: Any) -> Any:
    """Cumulated sums (R, M + 1) of (R, M), beginning with 0."""
    return xp.concatenate([xp.zeros((values.shape[0], 1)), xp.cumsum(values, axis=1)], axis=1)
