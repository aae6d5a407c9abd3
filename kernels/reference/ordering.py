"""Orders by score in NumPy: the executable definition of the ordering primitive. See kernels.primitives.

Shapes: N rows, S segments (runs of rows that share a slice).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.primitives import GROUP_END, POSITIVE, TIED, Order, RankingSums


def order(scores: Any) -> Order:
    """Order scores (N,) of a working dtype without NaN; -0.0 equals 0.0 and +-inf are ordered."""
    values, inverse = np.unique(scores, return_inverse=True)
    descending = values.shape[0] - 1 - inverse.astype(np.int64)
    rows = np.argsort(descending, kind="stable")
    return Order(rows, descending[rows], np.array([0, rows.shape[0]], np.int64))


def split(ordered: Order, codes: Any, n_segments: int) -> Order:
    """The order within each segment: codes (N,) int64 in [0, S), or -1 for rows in no segment."""
    code = codes[ordered.rows]
    kept = np.argsort(code, kind="stable")[np.count_nonzero(code < 0) :]
    counts = np.bincount(code[code >= 0], minlength=n_segments)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Order(ordered.rows[kept], ordered.groups[kept], offsets)


def flags(ordered: Order, labels: Any) -> Any:
    """Row flags for the resampling kernels, in order: uint8 (N,) of POSITIVE | TIED | GROUP_END."""
    label = labels[ordered.rows].astype(np.int64)
    group, count = _groups(ordered)
    size, positives = np.bincount(group, minlength=count), np.bincount(group, label, minlength=count)
    tied = ((size > 1) & (positives > 0))[group]
    end = np.append(group[1:] != group[:-1], True)[: group.shape[0]]
    return (POSITIVE * label + TIED * tied + GROUP_END * (tied & end)).astype(np.uint8)


def ranking_sums(ordered: Order, labels: Any) -> RankingSums:
    """Walk every segment once: labels (N,) uint8 by row."""
    segments = ordered.offsets.shape[0] - 1
    group, count = _groups(ordered)
    segment = np.repeat(np.arange(segments), np.diff(ordered.offsets))
    label = labels[ordered.rows].astype(np.int64)
    tp_group, fp_group = _by(group, label, count), _by(group, 1 - label, count)
    segment_of_group = np.zeros(count, np.int64)
    segment_of_group[group] = segment
    tp, fp = _within(tp_group, segment_of_group), _within(fp_group, segment_of_group)
    pairs = fp_group * (2 * (tp - tp_group) + tp_group)
    precision = tp_group * tp / np.maximum(tp + fp, 1)
    return RankingSums(
        _by(segment_of_group, pairs, segments),
        _by(segment, label, segments),
        _by(segment, 1 - label, segments),
        np.bincount(segment_of_group, precision, minlength=segments),
    )


def partition(labels: Any, scores: Any) -> tuple[Any, Any]:
    """Scores (N,) of negatives and of positives, each in row order; labels (N,) uint8."""
    positive = labels != 0
    return scores[~positive], scores[positive]


def precision_sum(down: Any, up: Any) -> float:
    """Sum over positives of the precision at their score, from ascending scores of negatives and
    positives."""
    tp = up.size - np.searchsorted(up, up, "left")
    fp = down.size - np.searchsorted(down, up, "left")
    return float((tp / np.maximum(tp + fp, 1)).sum())


def placements(ordered: Order, labels: Any) -> Any:
    """Twice each row's placement, int64 (N,) by row, within its segment.

    For a positive: 2 * negatives below + negatives tied; for a negative: 2 * positives above + positives
    tied. Rows in no segment get 0. Example: scores [1, 2, 2], labels [0, 1, 0] -> [2, 3, 1].
    """
    out = np.zeros(labels.shape[0], np.int64)
    for first, last in zip(ordered.offsets[:-1], ordered.offsets[1:], strict=True):
        rows, groups = ordered.rows[first:last], ordered.groups[first:last]
        label = labels[rows].astype(bool)
        up, down = groups[label], groups[~label]
        out[rows[label]] = 2 * (down.size - np.searchsorted(down, up, "right"))
        out[rows[label]] += np.searchsorted(down, up, "right") - np.searchsorted(down, up, "left")
        out[rows[~label]] = np.searchsorted(up, down, "left") + np.searchsorted(up, down, "right")
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
    scale = np.where(positive, scale_up, scale_down)
    product = (a * scale - center_a) * (b * scale - center_b)
    up = (product * positive).sum()
    return up, product.sum() - up


def _groups(ordered: Order) -> tuple[Any, int]:
    """Tie groups numbered along the order, a new number at every segment's border."""
    n = ordered.rows.shape[0]
    new = np.ones(n, bool)
    new[1:] = ordered.groups[1:] != ordered.groups[:-1]
    new[ordered.offsets[(ordered.offsets < n) & (ordered.offsets >= 0)]] = True
    group = np.cumsum(new) - 1
    return group, int(new.sum())


def _by(code: Any, weight: Any, count: int) -> Any:
    out = np.zeros(count, np.int64)
    np.add.at(out, code, weight)
    return out


def _within(values: Any, segment: Any) -> Any:
    """Running sum of values, starting anew at every segment."""
    total = np.cumsum(values)
    first = np.append(True, segment[1:] != segment[:-1])[: segment.shape[0]]
    before = (total - values)[first]
    return total - before[np.cumsum(first) - 1]
