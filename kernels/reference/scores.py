"""Pointwise scores in NumPy float64: the executable definition of the scores primitive. See
kernels.primitives.

Shapes: N rows, C classes, B calibration bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.primitives import BinarySums, CalibrationSums, MulticlassSums, RegressionSums

LN2_HIGH = 0.6931471803691238  # the upper 32 bits of ln 2, so that exponent * LN2_HIGH is exact
LN2_LOW = 1.9082149292705877e-10


def binary_sums(labels: Any, proba: Any, *, n_bins: int, threshold: float, eps: float) -> BinarySums:
    """labels (N,) uint8 in {0, 1}; proba (N,) float32 or float64. Bin b holds (b / B, (b + 1) / B]; 0 is in
    0."""
    known = ~np.isnan(proba)
    p = proba[known].astype(np.float64)
    y = labels[known].astype(np.int64)
    bins = bin_of(p, n_bins)
    truth = np.clip(np.where(y == 1, p, 1.0 - p), eps, 1.0 - eps)
    return BinarySums(
        log_loss=negative_log(truth).sum(),
        squared_error=np.square(y - p).sum(),
        rows=np.bincount(bins, minlength=n_bins),
        positives=np.bincount(bins[y == 1], minlength=n_bins),
        confidence=np.bincount(bins, p, minlength=n_bins),
        confusion=np.bincount(2 * y + (p >= threshold), minlength=4).reshape(2, 2),
        missing=np.int64((~known).sum()),
        outside=np.int64(((p < 0) | (p > 1)).sum()),
    )


def multiclass_sums(codes: Any, proba: Any, *, n_bins: int, eps: float) -> MulticlassSums:
    """codes (N,) int64 in [0, C); proba (N, C) float32 or float64."""
    known = ~np.isnan(proba).any(axis=1)
    p = proba[known].astype(np.float64)
    y = codes[known]
    top = p.max(axis=1)
    bins = bin_of(top, n_bins)
    correct = p.argmax(axis=1) == y
    truth = np.clip(p[np.arange(y.shape[0]), y], eps, 1.0 - eps)
    tolerance = np.sqrt(np.finfo(proba.dtype).eps)
    return MulticlassSums(
        log_loss=negative_log(truth).sum(),
        squared_error=np.square(p - (y[:, None] == np.arange(p.shape[1]))).sum(),
        rows=np.bincount(bins, minlength=n_bins),
        correct=np.bincount(bins[correct], minlength=n_bins),
        confidence=np.bincount(bins, top, minlength=n_bins),
        missing=np.int64((~known).sum()),
        outside=np.int64(((p < 0) | (p > 1)).any(axis=1).sum()),
        unnormalised=np.int64((np.abs(p.sum(axis=1) - 1.0) > tolerance).sum()),
    )


def calibration_sums(outcome: Any, confidence: Any, *, n_bins: int) -> CalibrationSums:
    """outcome (N,) uint8 in {0, 1}; confidence (N,) float32 or float64. Bins as for binary_sums."""
    p = confidence.astype(np.float64)
    cell = 2 * bin_of(p, n_bins) + outcome
    rows, first, second = (
        np.bincount(cell, weights=w, minlength=2 * n_bins).reshape(n_bins, 2) for w in (None, p, p * p)
    )
    return CalibrationSums(rows.astype(np.int64), first, second, (~((p >= 0) & (p <= 1))).sum())


def regression_sums(y_true: Any, y_pred: Any, *, alpha: float) -> RegressionSums:
    """Both (N,) float64; pinball is the sum of the quantile loss at level alpha."""
    known = ~(np.isnan(y_true) | np.isnan(y_pred))
    d = y_true[known] - y_pred[known]
    return RegressionSums(
        absolute=np.abs(d).sum(),
        squared=np.square(d).sum(),
        pinball=np.where(d >= 0, alpha * d, (alpha - 1.0) * d).sum(),
        missing=np.int64((~known).sum()),
    )


def bin_of(p: Any, n_bins: int) -> Any:
    """The bin b with b / B < p <= (b + 1) / B; the ends take what lies beyond them."""
    return np.searchsorted(np.linspace(0.0, 1.0, n_bins + 1)[1:-1], p, side="left")


def negative_log(p: Any) -> Any:
    """-log of p (N,), every p a positive normal number, from portable operations: equal bits on every
    backend.

    With p = 2^e m, m in (sqrt(1/2), sqrt(2)] and s = (m - 1) / (m + 1): log p = e ln 2 + 2 (s + s^3/3 + ...).
    """
    p = np.ascontiguousarray(p, dtype=np.float64)
    m, e = np.frexp(p)
    m, e = 2.0 * m, e - 1.0
    high = m > 1.4142135623730951
    m, e = np.where(high, m * 0.5, m), np.where(high, e + 1.0, e)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    q = np.full_like(z, 1.0 / 23.0)
    for odd in range(21, 2, -2):
        q = q * z + 1.0 / odd
    tail = 2.0 * s * (z * q) + e * LN2_LOW
    return -(e * LN2_HIGH + (2.0 * s + tail))


def binary_labels(values: Any) -> Any:
    """values (N,) as uint8 when all are 0 or 1, else None."""
    return values.astype(np.uint8) if np.isin(values, (0, 1)).all() else None


def cell_counts(codes: Any, n_cells: int) -> Any:
    """Rows by code: codes (N,) integers in [0, n_cells) -> int64 (n_cells,)."""
    return np.bincount(codes, minlength=n_cells).astype(np.int64)


def joint_counts(true: Any, pred: Any, low: int, span: int) -> Any:
    """Rows by pair of integer labels (N,), each in [low, low + span): int64 (span, span)."""
    codes = (true.astype(np.int64) - low) * span + (pred.astype(np.int64) - low)
    return cell_counts(codes, span * span).reshape(span, span)
