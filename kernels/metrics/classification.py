"""Metrics of predicted classes: the confusion matrix and what follows from it.

Shapes: N rows, C classes. Counts are int64 and exact; weighted counts are float64. Every function takes
NumPy, CuPy or torch arrays on one device and returns in their library, on their device. See kernels.metrics
for NaN and errors. Cost: one pass over the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arrays import Array, check_option
from kernels.errors import OptionError
from kernels.measures import confusion
from kernels.measures import labels as codes_
from kernels.metrics import inputs

NORMALIZE = ("true", "pred", "all", None)


def confusion_matrix(
    y_true: Array, y_pred: Array, *, labels: Array | None = None, sample_weight: Array | None = None,
    normalize: str | None = None, nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Counts by true class (rows) and predicted class (columns), (C, C); int64 without weights.

    Classes are the sorted labels of both arguments, or `labels` in their order (rows with another label are
    then left out). normalize divides by the true rows, the predicted columns or all; empty rows give 0.0 as
    in scikit-learn.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    check_option(normalize, "normalize", NORMALIZE)
    matrix, undefined = _matrix(y_true, y_pred, labels, sample_weight, nan_policy, backend)
    if normalize is not None:
        axis = {"true": 1, "pred": 0, "all": None}[normalize]
        total = matrix.sum(axis=axis, keepdims=True)
        matrix = np.where(total > 0, matrix / np.where(total > 0, total, 1), 0.0)
    return inputs.result(_undefined(matrix, undefined), y_pred)


def accuracy_score(
    y_true: Array, y_pred: Array, *, normalize: bool = True, sample_weight: Array | None = None,
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Share of rows whose predicted class is the true one; their number when normalize is False.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    data = inputs.rows(y_true, y_pred, sample_weight, nan_policy=nan_policy, backend=backend)
    right = (data.y_true == data.y_pred).astype(np.float64)
    weight = np.ones_like(right) if data.weight is None else data.weight
    total = weight.sum()
    value = (right * weight).sum()
    if normalize:
        value = np.where(total > 0, value / np.where(total > 0, total, 1.0), np.nan)
    return inputs.result(_undefined(value, data.undefined), y_pred)


def balanced_accuracy_score(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, adjusted: bool = False,
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean recall over the classes of y_true; adjusted moves chance to 0.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    matrix, undefined = _matrix(y_true, y_pred, None, sample_weight, nan_policy, backend)
    return inputs.result(_undefined(confusion.balanced_accuracy(matrix, adjusted=adjusted), undefined), y_pred)


def precision_score(
    y_true: Array, y_pred: Array, *, labels: Array | None = None, pos_label: Any = 1,
    average: str | None = "binary", sample_weight: Array | None = None, zero_division: float = np.nan,
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """TP / (TP + FP). average: "binary" (class pos_label), "macro", "weighted", "micro" or None (one a
    class).

    Where nothing was predicted positive the value is zero_division: NaN by default, where scikit-learn warns
    and says 0.0. A mean over classes leaves NaN ones out, as scikit-learn does with zero_division=nan; a
    weighted mean without any weight left is the plain mean, or NaN.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    return _averaged(
        confusion.precision, y_true, y_pred, labels, pos_label, average, sample_weight, zero_division,
        nan_policy, backend,
    )  # fmt: skip


def recall_score(
    y_true: Array, y_pred: Array, *, labels: Array | None = None, pos_label: Any = 1,
    average: str | None = "binary", sample_weight: Array | None = None, zero_division: float = np.nan,
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """TP / (TP + FN); arguments as for precision_score, undefined where the class has no rows.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    return _averaged(
        confusion.recall, y_true, y_pred, labels, pos_label, average, sample_weight, zero_division,
        nan_policy, backend,
    )  # fmt: skip


def f1_score(
    y_true: Array, y_pred: Array, *, labels: Array | None = None, pos_label: Any = 1,
    average: str | None = "binary", sample_weight: Array | None = None, zero_division: float = np.nan,
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """2 TP / (2 TP + FP + FN); arguments as for precision_score, undefined where the class occurs nowhere.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    return _averaged(
        confusion.f1, y_true, y_pred, labels, pos_label, average, sample_weight, zero_division,
        nan_policy, backend,
    )  # fmt: skip


def matthews_corrcoef(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, nan_policy: str = "raise",
    backend: str | None = None,
) -> Any:  # fmt: skip
    """Correlation of true and predicted class (Gorodkin 2004), -1 to 1.

    NaN when all rows share a true or a predicted class, where scikit-learn says 0.0.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    matrix, undefined = _matrix(y_true, y_pred, None, sample_weight, nan_policy, backend)
    return inputs.result(_undefined(confusion.matthews(matrix), undefined), y_pred)


def _averaged(
    metric: Any, y_true: Array, y_pred: Array, labels: Any, pos_label: Any, average: str | None,
    sample_weight: Array | None, zero_division: float, nan_policy: str, backend: str | None,
) -> Any:  # fmt: skip
    check_option(average, "average", confusion.AVERAGES)
    data = inputs.rows(y_true, y_pred, sample_weight, nan_policy=nan_policy, backend=backend)
    everything, matrix = _table(data, extra=None if average == "binary" else labels)
    positive = 1
    if average == "binary":
        positive = _positive_index(everything, pos_label)
        if positive < 0:  # the positive label occurs nowhere: no true, no predicted rows of it
            return inputs.result(
                _undefined(np.full_like(matrix, zero_division, shape=(), dtype=np.float64), data.undefined),
                y_pred,
            )
    elif labels is not None:
        # Only the named classes are scored, yet rows of the others still make false positives and negatives.
        kept = np.searchsorted(everything, np.asarray(labels, like=everything))
        return inputs.result(
            _undefined(_some_classes(metric, matrix, kept, average, zero_division), data.undefined), y_pred
        )
    value = metric(matrix, average=average, positive=positive, zero_division=float(zero_division))
    return inputs.result(_undefined(value, data.undefined), y_pred)


def _some_classes(metric: Any, matrix: Any, kept: Any, average: str | None, zero_division: float) -> Any:
    """Score the classes `kept` alone, by folding every other class into one that is not averaged."""
    values = metric(matrix, average=None, zero_division=float(zero_division))[kept]
    if average is None:
        return values
    if average == "micro":
        tp = matrix.diagonal()[kept].sum()
        true, pred = matrix.sum(axis=1)[kept].sum(), matrix.sum(axis=0)[kept].sum()
        pooled = np.stack([np.zeros_like(tp), pred - tp, true - tp, tp]).reshape(2, 2).astype(np.float64)
        return metric(pooled, average="binary", positive=1, zero_division=float(zero_division))
    return confusion.weighted_mean(values, matrix.sum(axis=1)[kept] if average == "weighted" else 1.0)


def _positive_index(classes: Any, pos_label: Any) -> int:
    values = classes.tolist()
    if len(values) > 2:
        raise OptionError(f"average: 'binary' with {len(values)} classes - use 'macro', 'weighted', 'micro' or None")
    if pos_label in values:
        return int(values.index(pos_label))
    if len(values) == 2:
        raise OptionError(f"pos_label: {pos_label!r} is not a label - use one of {values}")
    return -1


def _matrix(
    y_true: Array,
    y_pred: Array,
    labels: Any,
    sample_weight: Array | None,
    nan_policy: str,
    backend: str | None,
) -> tuple[Any, bool]:
    """The confusion matrix over `labels`, or over all classes, and whether a NaN was met and propagates."""
    data = inputs.rows(y_true, y_pred, sample_weight, nan_policy=nan_policy, backend=backend)
    if labels is None:
        return _table(data)[1], data.undefined
    wanted = np.asarray(labels, like=data.y_true)
    classes = np.unique(wanted)
    if classes.shape[0] != wanted.shape[0] or not classes.shape[0]:
        raise OptionError("labels: empty, or a label twice - name each class once")
    if data.y_true.shape[0] and int(codes_.encode(data.y_true, classes, "y_true").max()) < 0:  # synchronises
        raise OptionError("labels: none of them occurs in y_true - name at least one that does")
    place = np.argsort(np.argsort(wanted))
    return _count(data, classes)[place][:, place], data.undefined


def _table(data: inputs.Rows, extra: Any = None) -> tuple[Any, Any]:
    """All classes, sorted, with those of `extra` added, and the counts (C, C)."""
    span = None if data.weight is not None or extra is not None else codes_.span_of(data.y_true, data.y_pred)
    if span is not None:
        low, width = span
        joint = inputs.primitive("scores", data.backend).joint_counts(data.y_true, data.y_pred, low, width)
        present = np.nonzero(joint.sum(axis=0) + joint.sum(axis=1))[0]
        return present + low, joint[present][:, present]
    classes = codes_.classes_of(data.y_true, data.y_pred)
    if extra is not None:
        classes = np.unique(np.concatenate([classes, np.asarray(extra, like=classes)]))
    return classes, _count(data, classes)


def _count(data: inputs.Rows, classes: Any) -> Any:
    """Counts (C, C) by sorted class; rows with a label outside `classes` are left out."""
    count = int(classes.shape[0])
    true, pred = codes_.encode(data.y_true, classes, "y_true"), codes_.encode(data.y_pred, classes, "y_pred")
    cell = true * count + pred
    known = (true >= 0) & (pred >= 0)
    weight = data.weight
    if not known.all():  # synchronises
        cell, weight = cell[known], None if weight is None else weight[known]
    if weight is not None:
        return np.bincount(cell, weights=weight, minlength=count * count).reshape(count, count)
    counts = inputs.primitive("scores", data.backend).cell_counts(cell, count * count)
    return counts.reshape(count, count)


def _undefined(value: Any, undefined: bool) -> Any:
    return np.full_like(value, np.nan, dtype=np.float64) if undefined else value
