"""Metrics of predicted probabilities: log loss, Brier score, calibration error, and all of them in one pass.

Shapes: N rows, C classes, B calibration bins. Probabilities are float32 or float64 (integers count as
float64) and every sum is float64. See kernels.metrics for NaN and errors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import Array, check_option
from kernels.errors import OptionError, ShapeError
from kernels.measures import labels as codes_
from kernels.measures import moments
from kernels.measures.pointwise import confidence_and_outcome
from kernels.metrics import inputs
from kernels.primitives import BinarySums, MulticlassSums

STRATEGIES = ("uniform", "quantile")


class BinaryScores(NamedTuple):
    """Everything that one pass over labels and probabilities of two classes yields; see binary_scores."""

    log_loss: Any  # float64 ()
    brier_score_loss: Any  # float64 ()
    expected_calibration_error: Any  # float64 ()
    confusion_matrix: Any  # int64 (2, 2), at the threshold
    bin_rows: Any  # int64 (B,): the reliability diagram
    bin_outcome: Any  # float64 (B,): share of positives; NaN in an empty bin
    bin_confidence: Any  # float64 (B,): mean probability; NaN in an empty bin


def binary_scores(
    y_true: Array, y_proba: Array, *, n_bins: int = 15, threshold: float = 0.5, nan_policy: str = "raise",
    backend: str | None = None,
) -> BinaryScores:  # fmt: skip
    """Log loss, Brier score, calibration error with its diagram, and the confusion matrix, in one pass.

    y_true (N,) of two labels, the greater being positive; y_proba (N,) in [0, 1]; predicted positive when
    y_proba >= threshold. Values are those of the single metrics.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    data = _data(y_true, y_proba, None, nan_policy, backend, ndims=(1,))
    _check_bins(n_bins)
    sums = _binary_sums(data, codes_.binary_codes(data.y_true, data.backend), n_bins, threshold)
    rows = sums.rows
    total = rows.sum()
    ece = moments.calibration_error(sums.positives, sums.confidence, rows)
    values = (
        _or_nan(moments.mean(sums.log_loss, total), data.undefined),
        _or_nan(moments.mean(sums.squared_error, total), data.undefined),
        _or_nan(ece, data.undefined),
        sums.confusion,
        rows,
        moments.mean(sums.positives, rows),
        moments.mean(sums.confidence, rows),
    )
    return BinaryScores(*(inputs.result(value, y_proba) for value in values))


def log_loss(
    y_true: Array, y_proba: Array, *, normalize: bool = True, sample_weight: Array | None = None,
    labels: Array | None = None, nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean of -log(probability of the true class), natural logarithm; the sum when normalize is False.

    y_proba (N,) for the greater of two labels, or (N, C) in the order of the sorted labels. Probabilities are
    clipped to [eps, 1 - eps], eps of their dtype, as in scikit-learn. OptionError outside [0, 1] or, with (N,
    C), for rows that do not sum to one (scikit-learn only warns).

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    data = _data(y_true, y_proba, sample_weight, nan_policy, backend, ndims=(1, 2))
    eps = float(np.finfo(data.y_pred.dtype).eps)
    if data.weight is not None:
        truth = _truth(data, labels)
        loss = inputs.primitive("scores", data.backend).negative_log(np.clip(truth, eps, 1.0 - eps))
        total, weight = (loss * data.weight).sum(), data.weight.sum()
    elif data.y_pred.ndim == 1:
        sums = _binary_sums(data, _two_codes(data, labels), 1, 0.5)
        total, weight = sums.log_loss, sums.rows.sum()
    else:
        many = _multiclass_sums(data, labels, 1)
        total, weight = many.log_loss, many.rows.sum()
    value = moments.mean(total, weight) if normalize else total
    return inputs.result(_or_nan(value, data.undefined), y_proba)


def brier_score_loss(
    y_true: Array, y_proba: Array, *, sample_weight: Array | None = None, pos_label: Any = None,
    labels: Array | None = None, scale_by_half: bool | str = "auto", nan_policy: str = "raise",
    backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean squared error of probabilities (Brier 1950): (N,) for two classes, or (N, C).

    The sum over classes is halved when scale_by_half is True, or when it is "auto" and there are two classes.
    pos_label names the label that y_proba (N,) is about; by default the greater one.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    data = _data(y_true, y_proba, sample_weight, nan_policy, backend, ndims=(1, 2))
    two = data.y_pred.ndim == 1
    half = (two or data.y_pred.shape[1] < 3) if scale_by_half == "auto" else bool(scale_by_half)
    if two:
        codes = codes_.binary_codes(data.y_true, data.backend, pos_label=pos_label)
        sums = _binary_sums(data, codes, 1, 0.5)
        square, weight = 2.0 * sums.squared_error, sums.rows.sum()
        if data.weight is not None:
            square = (2.0 * (codes - data.y_pred.astype(np.float64)) ** 2 * data.weight).sum()
            weight = data.weight.sum()
    else:
        many = _multiclass_sums(data, labels, 1)
        square, weight = many.squared_error, many.rows.sum()
        if data.weight is not None:
            proba = data.y_pred.astype(np.float64)
            hot = _codes(data, labels)[:, None] == np.asarray(np.arange(proba.shape[1]), like=proba)
            square, weight = (((hot - proba) ** 2).sum(axis=1) * data.weight).sum(), data.weight.sum()
    value = moments.mean(square * (0.5 if half else 1.0), weight)
    return inputs.result(_or_nan(value, data.undefined), y_proba)


def expected_calibration_error(
    y_true: Array, y_proba: Array, *, n_bins: int = 15, strategy: str = "uniform", norm: str = "l1",
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean gap between confidence and outcome over bins of confidence (Naeini et al. 2015; Guo et al. 2017).

    With (N,) the confidence is y_proba and the outcome the positive label; with (N, C) they are the largest
    probability and whether its class is right. strategy "uniform": bin b holds (b / B, (b + 1) / B], 0 goes
    to the first (scikit-learn's calibration_curve); "quantile": edges at quantiles of the confidence, equal
    edges merged. norm "l1", "l2" or "max". The estimate is biased upwards by noise of order sqrt(B / N);
    compare models at equal N and B. NaN without rows.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    _check_bins(n_bins)
    check_option(strategy, "strategy", STRATEGIES)
    check_option(norm, "norm", moments.NORMS)
    data = _data(y_true, y_proba, None, nan_policy, backend, ndims=(1, 2))
    if strategy == "quantile":
        return inputs.result(_or_nan(_quantile_error(data, n_bins, norm), data.undefined), y_proba)
    if data.y_pred.ndim == 1:
        sums = _binary_sums(data, codes_.binary_codes(data.y_true, data.backend), n_bins, 0.5)
        value = moments.calibration_error(sums.positives, sums.confidence, sums.rows, norm=norm)
    else:
        many = _multiclass_sums(data, None, n_bins)
        value = moments.calibration_error(many.correct, many.confidence, many.rows, norm=norm)
    return inputs.result(_or_nan(value, data.undefined), y_proba)


def _quantile_error(data: inputs.Rows, n_bins: int, norm: str) -> Any:
    codes = codes_.binary_codes(data.y_true, data.backend) if data.y_pred.ndim == 1 else _codes(data, None)
    confidence, outcome = confidence_and_outcome(codes, data.y_pred)
    if not confidence.size or data.undefined:
        return np.full_like(data.y_pred, np.nan, shape=(), dtype=np.float64)
    levels = np.asarray(np.linspace(0.0, 1.0, n_bins + 1), like=confidence)
    edges = np.unique(np.quantile(confidence, levels))
    bins = np.searchsorted(edges[1:-1], confidence, side="left")
    count = max(int(edges.shape[0]) - 1, 1)
    rows = np.bincount(bins, minlength=count)
    hits, sure = (np.bincount(bins, weights=x, minlength=count) for x in (outcome, confidence))
    return moments.calibration_error(hits, sure, rows, norm=norm)


def _data(
    y_true: Array, y_proba: Array, weight: Array | None, nan_policy: str, backend: str | None,
    ndims: tuple[int, ...],
) -> inputs.Rows:  # fmt: skip
    data = inputs.rows(y_true, y_proba, weight, nan_policy=nan_policy, backend=backend, ndims=ndims)
    return data._replace(y_pred=inputs.floating(data.y_pred, "y_proba"))


def _binary_sums(data: inputs.Rows, codes: Any, n_bins: int, threshold: float) -> BinarySums:
    eps = float(np.finfo(data.y_pred.dtype).eps)
    scores = inputs.primitive("scores", data.backend)
    sums: BinarySums = scores.binary_sums(codes, data.y_pred, n_bins=n_bins, threshold=threshold, eps=eps)
    _check_range(sums.outside)
    return sums


def _multiclass_sums(data: inputs.Rows, labels: Any, n_bins: int) -> MulticlassSums:
    eps = float(np.finfo(data.y_pred.dtype).eps)
    scores = inputs.primitive("scores", data.backend)
    sums: MulticlassSums = scores.multiclass_sums(_codes(data, labels), data.y_pred, n_bins=n_bins, eps=eps)
    _check_range(sums.outside)
    if int(sums.unnormalised):  # synchronises
        raise OptionError(f"y_proba: {int(sums.unnormalised)} rows do not sum to one - pass probabilities, not scores")
    return sums


def _check_range(outside: Any) -> None:
    if int(outside):  # synchronises
        raise OptionError(f"y_proba: {int(outside)} values outside [0, 1] - pass probabilities, not scores")


def _check_bins(n_bins: int) -> None:
    if n_bins < 1:
        raise OptionError(f"n_bins: {n_bins} - pass at least 1")


def _two_codes(data: inputs.Rows, labels: Any) -> Any:
    if labels is None:
        return codes_.binary_codes(data.y_true, data.backend)
    classes = np.unique(np.asarray(labels, like=data.y_true))
    if classes.shape[0] != 2:
        raise OptionError(f"labels: {classes.shape[0]} classes for one column of y_proba - pass two labels")
    codes = codes_.encode(data.y_true, classes, "y_true")
    if codes.size and int(codes.min()) < 0:
        raise OptionError("y_true: a label that is not in labels - name every class in labels")
    return codes.astype(np.uint8)


def _codes(data: inputs.Rows, labels: Any) -> Any:
    """Class codes (N,) for the columns of y_proba (N, C)."""
    columns = int(data.y_pred.shape[1])
    classes = codes_.classes_of(data.y_true) if labels is None else np.unique(np.asarray(labels, like=data.y_true))
    if classes.shape[0] != columns:
        raise ShapeError(
            f"y_proba: {columns} columns for {int(classes.shape[0])} classes - pass one column a "
            "class, or name all classes in labels"
        )
    codes = codes_.encode(data.y_true, classes, "y_true")
    if codes.size and int(codes.min()) < 0:
        raise OptionError("y_true: a label that is not in labels - name every class in labels")
    return codes


def _truth(data: inputs.Rows, labels: Any) -> Any:
    """The probability (N,) float64 given to the true class, range and sum checked."""
    proba = data.y_pred.astype(np.float64)
    if proba.ndim == 1:
        codes = _two_codes(data, labels)
        _binary_sums(data, codes, 1, 0.5)
        return np.where(codes == 1, proba, 1.0 - proba)
    _multiclass_sums(data, labels, 1)
    return np.take_along_axis(proba, _codes(data, labels)[:, None], axis=1)[:, 0]


def _or_nan(value: Any, undefined: bool) -> Any:
    return np.full_like(value, np.nan, dtype=np.float64) if undefined else value
