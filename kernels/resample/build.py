"""From a metric's name and its arguments to a problem of its family.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kernels.arrays import as_working, check_ndim
from kernels.dispatch import load
from kernels.errors import OptionError, ShapeError
from kernels.measures import confusion, moments, pointwise
from kernels.measures.labels import classes_of, encode, two_labels
from kernels.measures.table import FAMILY, MetricOptions
from kernels.primitives import CalibrationSums
from kernels.resample.cells import MANY_ROWS, CalibrationCells, Cells
from kernels.resample.inputs import Paired, host
from kernels.resample.problems import Problem
from kernels.resample.ranks import Part, Ranked, Ranks
from kernels.resample.sums import Calibration, Columns, Sums

AVERAGED = ("f1_score", "precision_score", "recall_score")
OUTSIDE = "y_score: values outside [0, 1] - pass probabilities, not scores"
DIRECT_CELLS = 4096
"""Joint cells up to this number are counted directly; above it only those that occur are numbered."""


def build_cells(name: str, rows: Paired, options: MetricOptions) -> CalibrationCells | None:
    """The calibration error of many independent rows without slices, by cell; None for everything else."""
    n = int(rows.y_true.shape[0])
    if name != "expected_calibration_error" or rows.clustered or rows.slices or len(rows.scores) > 1 or n < MANY_ROWS:
        return None
    proba = as_working(rows.scores[0], "y_score")
    if proba.ndim == 1:
        outcome = rows.labels()
    else:
        _probabilities(proba)
        proba, outcome = proba.max(axis=1), (proba.argmax(axis=1) == _columns_of(rows, proba)).astype(np.uint8)
    confidence = proba if proba.dtype.kind == "f" else proba.astype(np.float64)
    sums = load("scores", rows.backend).calibration_sums(outcome, confidence, n_bins=options.n_bins)
    if int(sums.outside):  # synchronises
        raise OptionError(OUTSIDE)
    return CalibrationCells(CalibrationSums(*(host(x) for x in sums)), options.norm)


def build(name: str, rows: Paired, options: MetricOptions) -> Problem:
    """The problem of metric `name` on these rows; errors name the argument."""
    makers: dict[str, Callable[[str, Paired, MetricOptions], Problem]] = {
        "cells": _cells,
        "sums": _sums,
        "ranks": _ranks,
    }
    if name != "ndcg_score":
        check_ndim(rows.y_true, "y_true", 1)
    return makers[FAMILY[name]](name, rows, options)


def _cells(name: str, rows: Paired, options: MetricOptions) -> Cells:
    predicted = [_predicted(rows, score, options.threshold) for score in rows.scores]
    classes = classes_of(rows.y_true, *predicted)
    if classes.shape[0] == 1 and options.average in ("auto", "binary") and name in AVERAGED:
        classes = np.asarray(two_labels(classes[0]), like=classes)  # or a 0 alone would be taken for positive
    count = max(int(classes.shape[0]), 1)
    codes = encode(rows.y_true, classes, "y_true")
    for labels in predicted:
        codes = codes * count + encode(labels, classes, "y_score")
    joint = np.arange(count ** (1 + len(predicted)))
    if joint.shape[0] > DIRECT_CELLS:
        present, codes = np.unique(codes, return_inverse=True)
        joint = host(present)
    matrix_of = []
    for model in range(len(predicted)):
        behind = count ** (len(predicted) - 1 - model)
        matrix_of.append(joint // count ** len(predicted) * count + joint // behind % count)
    return Cells(codes, matrix_of, count, _matrix_score(name, count, options), rows.backend)


def _predicted(rows: Paired, score: Any, threshold: float) -> Any:
    """Labels (N,): scores (N,) of integers are labels; floating ones are cut at the threshold; (N, C) by the
    largest column."""
    if score.ndim == 1 and score.dtype.kind != "f":
        return score
    classes = classes_of(rows.y_true)
    if score.ndim == 2:
        if classes.shape[0] != score.shape[1]:
            raise ShapeError(
                f"y_score: {score.shape[1]} columns for {int(classes.shape[0])} classes in y_true - pass one "
                "column a class, or labels (N,)"
            )
        return classes[score.argmax(axis=1)]
    if classes.shape[0] > 2:
        raise OptionError("y_score: floats (N,) for more than two classes - pass labels (N,) or scores (N, C)")
    if not classes.shape[0]:
        return score.astype(np.int64)
    low, high = (classes[0], classes[-1]) if classes.shape[0] == 2 else two_labels(classes[0])
    return np.where(score >= threshold, high, low)


def _matrix_score(name: str, count: int, options: MetricOptions) -> Callable[[Any], Any]:
    average = options.average
    if average == "auto":
        average = "binary" if count <= 2 else "macro"
    if average == "binary" and count > 2:
        raise OptionError(f"average: 'binary' with {count} classes - use macro, weighted or micro")
    averaged: dict[str, Any] = {"average": average, "positive": min(1, count - 1)}
    scores: dict[str, Callable[[Any], Any]] = {
        "accuracy_score": confusion.accuracy,
        "balanced_accuracy_score": confusion.balanced_accuracy,
        "matthews_corrcoef": confusion.matthews,
        "precision_score": partial(confusion.precision, **averaged),
        "recall_score": partial(confusion.recall, **averaged),
        "f1_score": partial(confusion.f1, **averaged),
    }
    return scores[name]


def _ranks(name: str, rows: Paired, options: MetricOptions) -> Ranks:
    if options.average not in ("auto", "binary", "macro", "weighted"):
        raise OptionError(f"average: {options.average!r} for {name} - use macro or weighted")
    if options.multi_class == "ovo" and name != "roc_auc_score":
        raise OptionError(f"multi_class: 'ovo' for {name} - only roc_auc_score knows it")
    models = []
    for raw in rows.scores:
        score = as_working(raw, "y_score")
        if score.ndim == 1:
            models.append(Ranked([Part(rows.labels(alone=name == "roc_auc_score"), score)]))
            continue
        codes, count = _columns_of(rows, score), int(score.shape[1])
        if options.multi_class == "ovo":
            models.append(Ranked(_against_each_other(codes, score)))
        else:
            models.append(Ranked([Part((codes == c).astype(np.uint8), score[:, c].copy()) for c in range(count)]))
    return Ranks(models, name == "average_precision_score", options.average == "weighted", rows.backend)


def _against_each_other(codes: Any, score: Any) -> list[Part]:
    """Every pair of classes, both ways: class a by its column among the rows of a and b (Hand and Till 2001)."""
    columns = range(int(score.shape[1]))
    return [
        Part((codes == a).astype(np.uint8), score[:, a].copy(), (codes == a) | (codes == b))
        for a in columns
        for b in columns
        if a != b
    ]


def _columns_of(rows: Paired, score: Any) -> Any:
    """The column (N,) of each row's true class in scores (N, C)."""
    classes = classes_of(rows.y_true)
    if classes.shape[0] != score.shape[1]:
        raise ShapeError(
            f"y_score: {score.shape[1]} columns for {int(classes.shape[0])} classes in y_true - pass one column a class"
        )
    return encode(rows.y_true, classes, "y_true")


def _sums(name: str, rows: Paired, options: MetricOptions) -> Sums:
    makers: dict[str, Callable[[Paired, Any, MetricOptions], Columns]] = {
        "log_loss": _log_loss,
        "brier_score_loss": _brier,
        "ndcg_score": _ndcg,
        "r2_score": _determination,
    }
    if name == "expected_calibration_error":
        return Calibration([_calibration(rows, score, options) for score in rows.scores], rows.backend, options.norm)
    if name in makers:
        return Sums([makers[name](rows, score, options) for score in rows.scores], rows.backend)
    loss = {"mean_absolute_error": "absolute", "mean_pinball_loss": "pinball"}.get(name, "squared")
    score_of = _first_root_mean if name == "root_mean_squared_error" else _first_mean
    return Sums([_loss(rows, score, loss, options.alpha, score_of) for score in rows.scores], rows.backend)


def _first_mean(sums: Any, weight: Any) -> Any:
    return moments.mean(sums[..., 0, 0], weight[..., 0])


def _first_root_mean(sums: Any, weight: Any) -> Any:
    return moments.root_mean(sums[..., 0, 0], weight[..., 0])


def _one_column(values: Any, score: Callable[[Any, Any], Any] = _first_mean) -> Columns:
    return Columns(values.astype(np.float64)[:, None], None, 1, score)


def _loss(rows: Paired, score: Any, loss: str, alpha: float, score_of: Callable[[Any, Any], Any]) -> Columns:
    check_ndim(score, "y_score", 1)
    return _one_column(
        pointwise.row_loss(loss, _values(rows.y_true, "y_true"), _values(score, "y_score"), alpha), score_of
    )


def _values(x: Any, name: str) -> Any:
    """Numbers as float64; DTypeError for text and complex ones."""
    return as_working(x, name).astype(np.float64)


def _determination(rows: Paired, score: Any, options: MetricOptions) -> Columns:
    check_ndim(score, "y_score", 1)
    true = _values(rows.y_true, "y_true")
    apart = true - (np.clip(true.mean(), true.min(), true.max()) if true.shape[0] else 0.0)
    residual = np.square(true - _values(score, "y_score"))
    return Columns(np.stack([residual, apart, np.square(apart)]).T, None, 1, _determination_of)


def _determination_of(sums: Any, weight: Any) -> Any:
    return moments.determination(sums[..., 0, 0], sums[..., 0, 1], sums[..., 0, 2], weight[..., 0])


def _probabilities(score: Any) -> Any:
    """Scores as float32 or float64 probabilities; OptionError outside [0, 1]."""
    proba = score if score.dtype in (np.float32, np.float64) else _values(score, "y_score")
    if proba.size and (proba.min() < 0 or proba.max() > 1):  # synchronises
        raise OptionError(OUTSIDE)
    return proba


def _log_loss(rows: Paired, score: Any, options: MetricOptions) -> Columns:
    proba = _probabilities(score)
    eps = float(np.finfo(proba.dtype).eps)
    wide = proba.astype(np.float64)
    if proba.ndim == 1:
        truth = np.where(rows.labels() == 1, wide, 1.0 - wide)
    else:
        truth = np.take_along_axis(wide, _columns_of(rows, proba)[:, None], axis=1)[:, 0]
    return _one_column(load("scores", rows.backend).negative_log(np.clip(truth, eps, 1.0 - eps)))


def _brier(rows: Paired, score: Any, options: MetricOptions) -> Columns:
    proba = _probabilities(score).astype(np.float64)
    if proba.ndim == 1:
        return _one_column(np.square(rows.labels() - proba))
    columns = np.arange(proba.shape[1])
    hot = _columns_of(rows, proba)[:, None] == np.asarray(columns, like=proba)
    half = 0.5 if proba.shape[1] < 3 else 1.0
    return _one_column(np.square(hot - proba).sum(axis=1) * half)


def _calibration(rows: Paired, score: Any, options: MetricOptions) -> Columns:
    proba = _probabilities(score)
    codes = rows.labels() if proba.ndim == 1 else _columns_of(rows, proba)
    confidence, outcome = pointwise.confidence_and_outcome(codes, proba)
    bins = load("scores", rows.backend).bin_of(confidence, options.n_bins)
    return Columns(np.stack([outcome, confidence]).T, bins, options.n_bins, partial(_calibration_of, norm=options.norm))


def _calibration_of(sums: Any, weight: Any, *, norm: str) -> Any:
    return moments.calibration_error(sums[..., 0], sums[..., 1], weight, norm=norm)


def _ndcg(rows: Paired, score: Any, options: MetricOptions) -> Columns:
    check_ndim(rows.y_true, "y_true", 2)
    if score.shape != rows.y_true.shape:
        raise ShapeError(
            f"y_score: shape {tuple(score.shape)} is not that of y_true {tuple(rows.y_true.shape)} - "
            "pass one score per document"
        )
    return _one_column(pointwise.ndcg_by_query(rows.y_true, score, k=options.k, ignore_ties=False))
