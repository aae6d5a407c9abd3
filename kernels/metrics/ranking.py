"""Ranking metrics: AUROC, average precision, NDCG. Ties are exact; counts are integers.

Shapes: N rows, C classes. Every function takes NumPy, CuPy or torch arrays on one device and returns a
float64 scalar (or (C,) for average=None) in their library, on their device. See kernels.metrics for NaN and
errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arrays import Array, as_working, check_option
from kernels.errors import OptionError, ShapeError
from kernels.measures import labels as codes_
from kernels.measures import moments
from kernels.measures.pointwise import ndcg_by_query
from kernels.metrics import inputs
from kernels.sums import SortedColumns

AVERAGES = ("macro", "weighted", "micro", None)


def roc_auc_score(
    y_true: Array, y_score: Array, *, average: str | None = "macro", sample_weight: Array | None = None,
    multi_class: str = "raise", labels: Array | None = None, nan_policy: str = "raise",
    backend: str | None = None,
) -> Any:  # fmt: skip
    """Area under the ROC curve: P(score of a positive > score of a negative) + P(tie) / 2.

    y_true (N,) labels, y_score (N,) for two classes, of which the greater label is the positive one, or (N,
    C) with multi_class="ovr" (one against the rest) or "ovo" (Hand and Till 2001), columns in the order of
    the sorted labels. average is "macro", "weighted" (by rows of the class), "micro" (ovr only) or None (ovr
    only).

    NaN when a class has no rows (scikit-learn warns and says NaN as well). Cost: two sorts of keys and one
    merge a class; with weights one sort that carries the row number.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    check_option(average, "average", AVERAGES)
    data = inputs.rows(
        y_true, y_score, sample_weight, nan_policy=nan_policy, backend=backend, ndims=(1, 2)
    )  # fmt: skip
    score = as_working(data.y_pred, "y_score")
    if data.undefined:
        return inputs.result(np.full_like(score, np.nan, shape=(), dtype=np.float64), y_score)
    if score.ndim == 1:
        codes = codes_.binary_codes(data.y_true, data.backend, alone=True)  # one class has no AUROC
        return inputs.result(_binary_auroc(codes, score, data.weight, data.backend), y_score)
    check_option(multi_class, "multi_class", ("ovr", "ovo"))
    codes, count = _class_codes(data.y_true, score, labels)
    if multi_class == "ovo":
        if data.weight is not None or average not in ("macro", "weighted"):
            raise OptionError("multi_class: 'ovo' takes no sample_weight and averages by 'macro' or 'weighted'")
        return inputs.result(_one_against_one(codes, score, count, average, data.backend), y_score)
    return inputs.result(
        _one_against_rest(_binary_auroc, codes, score, count, average, data.weight, data.backend), y_score
    )


def average_precision_score(
    y_true: Array, y_score: Array, *, average: str | None = "macro", pos_label: Any = 1,
    sample_weight: Array | None = None, nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Average precision: sum over score levels of (gain in recall) x precision, without interpolation.

    y_true (N,) labels, y_score (N,) for two classes (pos_label is the positive one) or (N, C) for one against
    the rest. average as for roc_auc_score. NaN when a class has no positive row, where scikit-learn warns and
    says 0.0. Cost: one sort and one walk a class.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    check_option(average, "average", AVERAGES)
    data = inputs.rows(
        y_true, y_score, sample_weight, nan_policy=nan_policy, backend=backend, ndims=(1, 2)
    )  # fmt: skip
    score = as_working(data.y_pred, "y_score")
    if data.undefined:
        return inputs.result(np.full_like(score, np.nan, shape=(), dtype=np.float64), y_score)
    if score.ndim == 1:
        codes = codes_.binary_codes(data.y_true, data.backend, pos_label=pos_label)
        return inputs.result(_binary_precision(codes, score, data.weight, data.backend), y_score)
    codes, count = _class_codes(data.y_true, score, None)
    return inputs.result(
        _one_against_rest(_binary_precision, codes, score, count, average, data.weight, data.backend), y_score
    )


def ndcg_score(
    y_true: Array, y_score: Array, *, k: int | None = None, sample_weight: Array | None = None,
    ignore_ties: bool = False, nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Normalised discounted cumulative gain: y_true and y_score (queries, documents), gains not negative.

    k counts only the first k places. Documents with equal scores share the mean of their discounts (McSherry
    and Najork 2008) unless ignore_ties. A query without any gain counts 0.0, as in scikit-learn. The sample
    weight is by query. NaN without queries.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    data = inputs.rows(
        y_true, y_score, sample_weight, nan_policy=nan_policy, backend=backend, ndims=(2,), true_ndims=(2,)
    )
    if data.y_true.shape != data.y_pred.shape:
        raise ShapeError(
            f"y_score: shape {tuple(data.y_pred.shape)} is not that of y_true {tuple(data.y_true.shape)} - "
            "pass one score per document"
        )
    if data.y_pred.shape[1] < 2:
        raise ShapeError(f"y_score: {data.y_pred.shape[1]} documents a query - pass at least 2, for one has no order")
    if k is not None and k < 1:
        raise OptionError(f"k: {k} - pass at least 1, or None for all places")
    values = ndcg_by_query(data.y_true, data.y_pred, k=k, ignore_ties=ignore_ties)
    weight = np.ones_like(values) if data.weight is None else data.weight
    value = moments.mean((values * weight).sum(), weight.sum())
    return inputs.result(np.where(np.array(data.undefined), np.nan, value) if data.undefined else value, y_score)


def _sorted_sides(codes: Any, score: Any, backend: str) -> tuple[Any, Any]:
    """Scores of negatives and of positives as sorted columns; both sorts run at once."""
    ordering, rank = inputs.primitive("ordering", backend), inputs.primitive("rank", backend)
    both = rank.sort_columns(ordering.partition(codes, score))
    down, up = (SortedColumns((both.values[k],), both.n[k : k + 1], both.missing[k : k + 1]) for k in (0, 1))
    return down, up


def _binary_auroc(codes: Any, score: Any, weight: Any, backend: str) -> Any:
    if weight is None:
        down, up = _sorted_sides(codes, score, backend)
        counts = inputs.primitive("rank", backend).rank_counts(down, up)
        return moments.ranking(counts.u2[0], counts.n[0], counts.m[0])
    tp, fp, _ = _weighted_walk(codes, score, weight, backend)
    # Rates instead of weights: a product of two tiny or huge weights would leave float64.
    tpr, fpr = moments.mean(tp, tp[-1:].sum()), moments.mean(fp, fp[-1:].sum())
    before = np.concatenate([np.zeros_like(tpr[:1]), tpr[:-1]])
    area = (np.diff(fpr, prepend=np.zeros_like(fpr[:1])) * (before + tpr)).sum() / 2.0
    return area if tpr.shape[0] else np.full_like(area, np.nan)


def _binary_precision(codes: Any, score: Any, weight: Any, backend: str) -> Any:
    if weight is None:
        down, up = _sorted_sides(codes, score, backend)
        total = inputs.primitive("ordering", backend).precision_sum(down.values[0], up.values[0])
        return moments.mean(total, up.n[0])
    tp, fp, _ = _weighted_walk(codes, score, weight, backend)
    gain = np.diff(tp, prepend=np.zeros_like(tp[:1]))
    return moments.mean((gain * moments.mean(tp, tp + fp))[gain > 0].sum(), tp[-1:].sum())


def _weighted_walk(codes: Any, score: Any, weight: Any, backend: str) -> tuple[Any, Any, Any]:
    """Weight of positives and of negatives down to the end of every tie group, and the groups' numbers."""
    order = inputs.primitive("ordering", backend).order(score)
    group = order.groups
    label, w = codes[order.rows], weight[order.rows]
    count = int(group[-1]) + 1 if group.shape[0] else 0
    tp = np.cumsum(np.bincount(group, weights=w * label, minlength=count))
    fp = np.cumsum(np.bincount(group, weights=w * (1 - label), minlength=count))
    return tp, fp, group


def _class_codes(y_true: Any, score: Any, labels: Any) -> tuple[Any, int]:
    classes = codes_.classes_of(y_true) if labels is None else np.asarray(labels, like=y_true)
    if labels is not None and not bool((classes[1:] > classes[:-1]).all()):  # synchronises
        raise OptionError("labels: not ascending, or one twice - name each class once, in ascending order")
    if classes.shape[0] != score.shape[1]:
        raise ShapeError(
            f"y_score: {score.shape[1]} columns for {classes.shape[0]} classes - pass one column a class, or "
            "name all classes in labels"
        )
    codes = codes_.encode(y_true, classes, "y_true")
    if codes.size and int(codes.min()) < 0:
        raise OptionError("y_true: a label that is not in labels - name every class in labels, sorted")
    return codes, int(classes.shape[0])


def _one_against_rest(
    metric: Any, codes: Any, score: Any, count: int, average: str | None, weight: Any, backend: str
) -> Any:
    if average == "micro":
        flat = (codes[:, None] == np.asarray(np.arange(count), like=codes)).astype(np.uint8).ravel()
        repeated = None if weight is None else np.repeat(weight, count)
        return metric(flat, score.ravel(), repeated, backend)
    columns = [(codes == c).astype(np.uint8) for c in range(count)]
    values = np.stack([
        metric(column, score[:, c].copy(), weight, backend)
        for c, column in enumerate(columns)
    ])  # fmt: skip
    if average is None:
        return values
    if average == "macro":
        return values.mean()
    share = np.stack([(column if weight is None else column * weight).sum() for column in columns])
    return moments.mean(np.where(share > 0, values * share, 0.0).sum(), share.sum())


def _one_against_one(codes: Any, score: Any, count: int, average: str | None, backend: str) -> Any:
    values, shares = [], []
    for a in range(count):
        for b in range(a + 1, count):
            pair = (codes == a) | (codes == b)
            is_a = (codes[pair] == a).astype(np.uint8)
            ab = _binary_auroc(is_a, score[pair, a], None, backend)
            ba = _binary_auroc(1 - is_a, score[pair, b], None, backend)
            values.append((ab + ba) / 2.0)
            shares.append(pair.mean())
    value, share = np.stack(values), np.stack(shares)
    return value.mean() if average == "macro" else moments.mean((value * share).sum(), share.sum())
