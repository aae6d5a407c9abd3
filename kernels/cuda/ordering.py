"""The ordering primitive on CUDA: radix sorts and scans of CuPy. See kernels.primitives.

Shapes: N rows, S segments (runs of rows that share a slice). Nothing here waits for the device, except
`partition`, `split` and the walks over tie groups, whose output sizes depend on the data (marked). Sums are
integers or sums of CuPy over a fixed tree, never atomics on floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.cuda.source import module
from kernels.primitives import GROUP_END, POSITIVE, TIED, Order, RankingSums


def order(scores: Any) -> Order:
    """Order scores (N,) of a working dtype without NaN; -0.0 equals 0.0 and +-inf are ordered."""
    xp = module()
    keys = scores + scores.dtype.type(0) if scores.dtype.kind == "f" else scores  # -0.0 + 0.0 is 0.0
    rows = xp.argsort(keys)[::-1].astype(np.int64)
    along = keys[rows]
    new = xp.zeros(rows.shape[0], np.int64)
    new[1:] = along[1:] != along[:-1]
    return Order(rows, xp.cumsum(new), xp.asarray(np.array([0, rows.shape[0]], np.int64)))


def split(ordered: Order, codes: Any, n_segments: int) -> Order:
    """The order within each segment: codes (N,) int64 in [0, S), or -1 for rows in no segment."""
    xp = module()
    code = codes[ordered.rows]
    outside = int((code < 0).sum())  # synchronises
    kept = xp.argsort(code, kind="stable")[outside:]
    offsets = xp.zeros(n_segments + 1, np.int64)
    offsets[1:] = xp.cumsum(xp.bincount(code[kept], minlength=n_segments))
    return Order(ordered.rows[kept], ordered.groups[kept], offsets)


def flags(ordered: Order, labels: Any) -> Any:
    """Row flags for the resampling kernels, in order: uint8 (N,) of POSITIVE | TIED | GROUP_END."""
    xp = module()
    label = labels[ordered.rows].astype(np.int64)
    if not label.shape[0]:
        return label.astype(np.uint8)
    group, size = _groups(ordered)
    positives = _sum_by(label, size)
    tied = ((size > 1) & (positives > 0))[group]
    end = xp.ones(label.shape[0], bool)
    end[:-1] = group[1:] != group[:-1]
    return (POSITIVE * label + TIED * tied + GROUP_END * (tied & end)).astype(np.uint8)


def ranking_sums(ordered: Order, labels: Any) -> RankingSums:
    """Walk every segment once: labels (N,) uint8 by row."""
    xp = module()
    label = labels[ordered.rows].astype(np.int64)
    rows = ordered.offsets[1:] - ordered.offsets[:-1]
    if not label.shape[0]:
        return RankingSums(rows, rows, rows, rows.astype(np.float64))
    _, size = _groups(ordered)
    tp_group = _sum_by(label, size)
    end = xp.cumsum(size)
    segment = xp.searchsorted(ordered.offsets, end - size, side="right") - 1
    before = _running(label)[ordered.offsets]  # positives of all segments before
    above = xp.cumsum(tp_group) - before[segment]
    reached = end - ordered.offsets[segment]
    pairs = (size - tp_group) * (2 * (above - tp_group) + tp_group)
    precision = tp_group * (above / reached)
    border = xp.searchsorted(end - size, ordered.offsets)
    positives = before[1:] - before[:-1]
    return RankingSums(_between(pairs, border), positives, rows - positives, _between(precision, border))


def partition(labels: Any, scores: Any) -> tuple[Any, Any]:
    """Scores (N,) of negatives and of positives, each in row order; labels (N,) uint8. # synchronises"""
    positive = labels != 0
    return scores[~positive], scores[positive]


def precision_sum(down: Any, up: Any) -> Any:
    """Sum over positives of the precision at their score, from ascending scores of negatives and
    positives."""
    xp = module()
    tp = up.shape[0] - xp.searchsorted(up, up, side="left")
    fp = down.shape[0] - xp.searchsorted(down, up, side="left")
    return (tp / xp.maximum(tp + fp, 1)).sum()


def placements(ordered: Order, labels: Any) -> Any:
    """Twice each row's placement, int64 (N,) by row, within its segment; see the reference."""
    xp = module()
    out = xp.zeros(labels.shape[0], np.int64)
    label = labels[ordered.rows].astype(np.int64)
    if not label.shape[0]:
        return out
    group, size = _groups(ordered)
    tp_group = _sum_by(label, size)
    end = xp.cumsum(size)
    segment = xp.searchsorted(ordered.offsets, end - size, side="right") - 1
    before = _running(label)[ordered.offsets]
    tp = xp.cumsum(tp_group) - tp_group - before[segment]  # positives above the group
    fp_group = size - tp_group
    fp = end - size - ordered.offsets[segment] - tp
    negatives = (ordered.offsets[1:] - ordered.offsets[:-1]) - (before[1:] - before[:-1])
    up = 2 * (negatives[segment] - fp - fp_group) + fp_group
    down = 2 * tp + tp_group
    out[ordered.rows] = xp.where(label == 1, up[group], down[group])
    return out


def placements_of(scores: Sequence[Any], labels: Any) -> list[Any]:
    """The placements of each model's scores (N,), all rows one segment."""
    return [placements(order(score), labels) for score in scores]


def comoments(
    a: Any, b: Any, labels: Any, scale_up: float, scale_down: float, center_a: float, center_b: float
) -> tuple[Any, Any]:
    """Sums over positives and over negatives of (a[i] * size - center_a) * (b[i] * size - center_b), float64.

    a and b (N,) are placements; size is scale_up for a positive and scale_down for a negative.
    """
    positive = labels == 1
    scale = module().where(positive, scale_up, scale_down)
    product = (a * scale - center_a) * (b * scale - center_b)
    up = (product * positive).sum()
    return up, product.sum() - up


def _groups(ordered: Order) -> tuple[Any, Any]:
    """The tie group of each place, numbered from 0 with a new number at every segment, and the groups'
    sizes."""
    xp = module()
    rows = ordered.rows.shape[0]
    new = xp.ones(rows, bool)
    new[1:] = ordered.groups[1:] != ordered.groups[:-1]
    inner = xp.minimum(ordered.offsets, rows - 1)
    # A border behind the last row falls on that row, which must not start a group for it.
    new[inner] |= ordered.offsets < rows
    first = xp.nonzero(new)[0]  # synchronises
    end = xp.concatenate([first[1:], xp.asarray(np.array([rows]))])
    return xp.cumsum(new.astype(np.int64)) - 1, (end - first).astype(np.int64)


def _running(values: Any) -> Any:
    """Sums of the first 0, 1, ..., N values."""
    xp = module()
    out = xp.zeros(values.shape[0] + 1, values.dtype)
    out[1:] = xp.cumsum(values)
    return out


def _sum_by(values: Any, size: Any) -> Any:
    """Sums of values over runs of the given sizes; exact for integers."""
    total = _running(values)
    end = module().cumsum(size)
    return total[end] - total[end - size]


def _between(values: Any, border: Any) -> Any:
    """Sums of values between borders; a float sum is a difference of running sums, to 1e-15 of the total."""
    total = _running(values)[border]
    return total[1:] - total[:-1]
