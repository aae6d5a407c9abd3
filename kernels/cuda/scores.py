"""Pointwise scores on CUDA: one launch a call. See kernels.primitives.

Shapes: N rows, C classes, B calibration bins. Counts equal the reference's; float sums agree to 1e-12 (summed
probabilities have 40 bits behind the point). Only `binary_labels` waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.cuda.source import launch, module, suffix
from kernels.primitives import BinarySums, CalibrationSums, MulticlassSums, RegressionSums

THREADS = 256  # kThreads, kRows, kClassThreads and kFixed of scores.cu
ROWS = 8192
CLASS_THREADS = 128
CLASS_ROWS = 512
FIXED = float(1 << 40)


def binary_sums(labels: Any, proba: Any, *, n_bins: int, threshold: float, eps: float) -> BinarySums:
    """labels (N,) uint8 in {0, 1}; proba (N,) float32 or float64. Bin b holds (b / B, (b + 1) / B]; 0 is in
    0."""
    xp = module()
    rows, cells = int(labels.shape[0]), 4 * n_bins
    blocks = max(1, -(-rows // ROWS))
    floats = xp.zeros((blocks, 2), np.float64)
    words = xp.zeros(2 * cells + 2, np.uint64)
    args = (
        xp.ascontiguousarray(labels), xp.ascontiguousarray(proba), np.int64(rows), xp.asarray(_edges(n_bins)),
        np.int32(n_bins), np.float64(threshold), np.float64(eps), floats, words,
    )  # fmt: skip
    shared = 8 * int(words.shape[0])
    launch("scores", f"scores_binary_{suffix(proba.dtype)}", (blocks, 1), THREADS, args, shared)
    loss, square = floats.sum(axis=0)
    counts = words.astype(np.int64)
    by_cell = counts[:cells].reshape(n_bins, 2, 2)  # (bin, label, predicted)
    confidence = counts[cells : 2 * cells].reshape(n_bins, 4).sum(axis=1) / FIXED
    return BinarySums(
        loss, square, by_cell.sum(axis=(1, 2)), by_cell[:, 1].sum(axis=1), confidence, by_cell.sum(axis=0),
        counts[2 * cells], counts[2 * cells + 1],
    )  # fmt: skip


def multiclass_sums(codes: Any, proba: Any, *, n_bins: int, eps: float) -> MulticlassSums:
    """codes (N,) int64 in [0, C); proba (N, C) float32 or float64."""
    xp = module()
    rows, classes = int(proba.shape[0]), int(proba.shape[1])
    blocks = max(1, -(-rows // CLASS_ROWS))
    floats = xp.zeros((blocks, 2), np.float64)
    words = xp.zeros(3 * n_bins + 3, np.uint64)
    args = (
        xp.ascontiguousarray(codes), xp.ascontiguousarray(proba), np.int64(rows), np.int32(classes),
        xp.asarray(_edges(n_bins)), np.int32(n_bins), np.float64(eps),
        np.float64(np.sqrt(np.finfo(proba.dtype).eps)), np.int64(CLASS_ROWS), floats, words,
    )  # fmt: skip
    shared = 8 * int(words.shape[0])
    launch("scores", f"scores_multiclass_{suffix(proba.dtype)}", (blocks, 1), CLASS_THREADS, args, shared)
    loss, square = floats.sum(axis=0)
    counts = words.astype(np.int64)
    return MulticlassSums(
        loss, square, counts[:n_bins], counts[n_bins : 2 * n_bins], counts[2 * n_bins : 3 * n_bins] / FIXED,
        *counts[3 * n_bins :],
    )  # fmt: skip


def calibration_sums(outcome: Any, confidence: Any, *, n_bins: int) -> CalibrationSums:
    """outcome (N,) uint8 in {0, 1}; confidence (N,) float32 or float64. Bins as for binary_sums."""
    xp = module()
    p = confidence.astype(np.float64)
    cell = 2 * bin_of(p, n_bins) + outcome
    rows, first, second = (
        xp.bincount(cell, weights=w, minlength=2 * n_bins).reshape(n_bins, 2) for w in (None, p, p * p)
    )
    return CalibrationSums(rows.astype(np.int64), first, second, (~((p >= 0) & (p <= 1))).sum())


def regression_sums(y_true: Any, y_pred: Any, *, alpha: float) -> RegressionSums:
    """Both (N,) float64; pinball is the sum of the quantile loss at level alpha."""
    xp = module()
    rows = int(y_true.shape[0])
    blocks = max(1, -(-rows // ROWS))
    floats = xp.zeros((blocks, 3), np.float64)
    missing = xp.zeros(1, np.uint64)
    args = (
        xp.ascontiguousarray(y_true), xp.ascontiguousarray(y_pred), np.int64(rows), np.float64(alpha), floats,
        missing,
    )  # fmt: skip
    launch("scores", "scores_regression", (blocks, 1), THREADS, args)
    absolute, squared, pinball = floats.sum(axis=0)
    return RegressionSums(absolute, squared, pinball, missing.astype(np.int64)[0])


def negative_log(p: Any) -> Any:
    """-log of p (N,), every p a positive normal number; the same bits as on every backend."""
    xp = module()
    p = xp.ascontiguousarray(p).astype(np.float64, copy=False)
    out = xp.empty(p.shape[0], np.float64)
    if p.shape[0]:
        blocks = -(-int(p.shape[0]) // THREADS)
        launch("scores", "scores_negative_log", (blocks, 1), THREADS, (p, np.int64(p.shape[0]), out))
    return out


def bin_of(p: Any, n_bins: int) -> Any:
    """The bin of each probability (N,), int64: b with b / B < p <= (b + 1) / B; the ends take what lies
    beyond."""
    xp = module()
    inner = xp.asarray(np.linspace(0.0, 1.0, n_bins + 1)[1:-1])
    return xp.searchsorted(inner, p.astype(np.float64), side="left").astype(np.int64)


def binary_labels(values: Any) -> Any:
    """values (N,) as uint8 when all are 0 or 1, else None. # synchronises"""
    known = bool(((values == 0) | (values == 1)).all())
    return values.astype(np.uint8) if known else None


def cell_counts(codes: Any, n_cells: int) -> Any:
    """Rows by code: codes (N,) integers in [0, n_cells) -> int64 (n_cells,)."""
    return module().bincount(codes, minlength=n_cells).astype(np.int64)


def joint_counts(true: Any, pred: Any, low: int, span: int) -> Any:
    """Rows by pair of integer labels (N,), each in [low, low + span): int64 (span, span)."""
    codes = (true.astype(np.int64) - low) * span + (pred.astype(np.int64) - low)
    return cell_counts(codes, span * span).reshape(span, span)


def _edges(n_bins: int) -> Any:
    """Edges of equal bins of [0, 1], whose ends take what lies beyond."""
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    edges[0], edges[-1] = -np.inf, np.inf
    return edges
